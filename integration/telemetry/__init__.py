"""Logging, redaction, error reports, counters and liveness checks of a process."""
