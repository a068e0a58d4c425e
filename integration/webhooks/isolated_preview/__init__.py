"""Runs previews of routes in a helper process, which is killed if a template takes too long.

`previews` runs in the web process, `worker` and `work` in the helper. `plain_values` converts the values that
they exchange.
"""
