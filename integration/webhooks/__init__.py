"""Verify, parse, map, store and acknowledge webhooks."""
