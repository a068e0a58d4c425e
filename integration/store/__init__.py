"""Reads and writes the store: one module per kind of record, one Lua script."""
