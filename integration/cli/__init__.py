"""The commands of `ringback`, one module per subject. `integration.cli.main` lists them.

Only `integration.cli.main` and `integration.local.demo` import other modules of this package.
"""
