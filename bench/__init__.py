"""How fast Ringback is, measured."""
