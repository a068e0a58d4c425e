"""Personal data: export and erasure of the data of one person."""
