"""Reads `ringback.toml` into models, checks it, and watches it for changes."""
