"""The commands of `ringback`, one module per subject; `integration.cli.main` lists them.

They are the outermost shell: like `integration.app`, and nothing else in this package, they import
`workers`. No other module imports them, but `integration.cli.main` and `integration.local.demo`.
"""
