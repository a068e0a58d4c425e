"""Runs Ringback on one machine: supervisor, embedded store, wolkvox sandbox and demo."""
