"""Commands that start processes: `ringback up`, `web` and `sandbox`."""
