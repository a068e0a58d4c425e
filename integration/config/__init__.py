"""Read, validate and watch `ringback.toml`."""
