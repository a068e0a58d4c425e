"""Alerts: what an operator is told of, when it begins and when it is over, without Prometheus.

`rules` judges, `messages` words it in the operator's language, `channels` sends. None of them remembers
anything: what has been told lies in the store, and integration/alerts/monitor.py minds it.
"""
