"""Run templates and searches in the fork server, which kills work that takes too long.

`client` runs in the web process, `__main__` and `functions` in the fork server. `plain_values` converts
the values that the two processes exchange.
"""
