"""The commands of `ringback`, one module per subject. `integration.cli.main` lists them.

`context` and `output` have the shared parts.
"""
