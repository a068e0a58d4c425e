"""Commands for senders of webhooks: `ringback presets`, `send` and `hubspot`."""
