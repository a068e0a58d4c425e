"""The receiver: verifies, reads, maps, stores and acknowledges webhooks."""
