"""Runs templates and searches in the fork server, where work that takes too long is killed.

`client` is the side of the web process, `__main__` the program of the fork server, `functions` are what it
runs, and `plain_values` the values that are handed over.
"""
