"""Alerts: notify an operator when a condition begins and when it ends, without Prometheus.

`rules` evaluates the conditions, `lifecycle` decides which alerts begin and end, `messages` writes the texts
in the operator's language, `channels` sends them, and `monitor` runs all of this in a thread. The store keeps
the state.
"""
