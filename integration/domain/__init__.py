"""Values and pure functions of Ringback's field. The package does no I/O and reads no clock."""
