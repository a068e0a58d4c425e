"""A process' counts on a real store."""

from __future__ import annotations

from integration.store.client import Store, connect
from integration.store.monitoring.counter_flusher import CounterFlusher
from integration.telemetry.counters import Counters
from support import url_of


class Counting:
    """A process' counts on a real store."""

    def __init__(self, url):
        self.store = Store(connect(url, timeout_seconds=1, connect_seconds=0.4))
        self.counters = Counters()
        self.flusher = CounterFlusher(self.store, self.counters)
        self.flusher.start()


def counting(client):
    return Counting(url_of(client))


def counts(store):
    """What is counted, without what a thread of an earlier test may have brought late."""
    found = store.hgetall("{ringback}:counts").items()
    return {name: int(value) for name, value in found if not name.startswith(("epochs:", "push ", "sweep "))}
