"""Alerts: what an operator is told of, when it begins and when it is over, without Prometheus.

`rules` evaluates, `messages` writes the texts in the operator's language, `channels` sends, `monitor` runs
them in a thread. What has been sent is kept in the store.
"""
