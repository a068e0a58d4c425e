"""What runs on one machine: supervisor, embedded store, sandbox, demo."""
