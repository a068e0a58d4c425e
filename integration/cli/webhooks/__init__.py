"""Commands about senders of webhooks: the presets, and posting a sample as a sender would."""
