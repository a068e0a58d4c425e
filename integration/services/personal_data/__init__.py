"""Personal data: what is held of a person, given out or removed."""
