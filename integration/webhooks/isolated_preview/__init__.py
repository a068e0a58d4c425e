"""Runs previews of routes in the helper, where a template that takes too long is killed.

`previews` is the side of the web process, `worker` the program of the helper, `work` what it does, and
`plain_values` what passes between them.
"""
