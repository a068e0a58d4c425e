"""Processes of one machine: supervisor, embedded store, wolkvox sandbox, demo."""
