"""Counters of one process, held in memory until they are flushed to the store. No I/O.

A counter's name consists of a family and labels, separated by colons. lua/keys.lua documents their place in
the store. A forked child starts with empty counters, so that nothing is counted twice.
"""

from __future__ import annotations

import os
import threading
import weakref
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    Counted = dict[str, dict[str, int]]

# The results of a delivery. TAKEN shows that the sender is configured correctly, REJECTED that it is not.
TAKEN: Final = ("admitted", "again")
REJECTED: Final = ("not verified", "unreadable", "unsupported type", "too large")
ADDRESS_VERIFIED: Final = "address verified"
# Nothing of the delivery was stored, so it is lost if its sender does not send it again. An "overloaded"
# delivery was rejected before it was read, so its sender is not verified.
TO_SEND_AGAIN: Final = ("too many", "not stored", "overloaded")
RESULTS: Final = (*TAKEN, *REJECTED, *TO_SEND_AGAIN, ADDRESS_VERIFIED)

# The pushes of an account and their milliseconds are one number: pushes * PUSH_UNIT + ms. This halves the
# size of the table.
PUSH_UNIT: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Histogram:
    """A histogram: the name of its counters, and the upper bounds of its buckets in seconds."""

    name: str
    bounds: tuple[float, ...]


ADMIT: Final = Histogram("admit seconds", (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5))
PUSH: Final = Histogram("push seconds", (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60))
PUSH_GAP: Final = Histogram(
    "gap seconds", (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30)
)
SWEEP: Final = Histogram("sweep seconds", (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
SWEEP_LAG: Final = Histogram("sweep lag seconds", (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30))


def _nothing() -> None:
    """Do nothing."""


class Counters:
    """The counters of one process. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: Counted = defaultdict(dict)
        self._wake: Callable[[], None] = _nothing
        _instances.add(self)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Register a callback for the first count after a flush."""
        self._wake = wake

    def count(self, what: str) -> None:
        """Increment the counter `what`."""
        self._add((("counts", what, 1),))

    def observe(self, histogram: Histogram, seconds: float) -> None:
        """Record a duration in seconds in a histogram."""
        self._add(_observed(histogram, seconds))

    def delivery(self, source: str, result: str, *, lost: bool = False) -> None:
        """Count the result of a delivery.

        `source` is the name of a configured source, and `result` one of RESULTS. `lost` is True if the
        delivery was not stored and its sender does not send it again.
        """
        increments = [("counts", f"deliveries:{source}:{result}", 1), ("counts", f"results:{result}", 1)]
        if result in TAKEN:
            increments.append(("source_requests", f"taken:{source}", 1))
        elif result in REJECTED:
            increments.append(("source_requests", f"refused:{source}", 1))
        elif result == ADDRESS_VERIFIED:
            increments.append(("source_requests", f"checked:{source}", 1))
        if lost:
            increments.append(("counts", f"lost:{source}:{result}", 1))
            increments.append(("source_requests", f"lost:{source}", 1))
        self._add(increments)

    def pushed(self, account: str, seconds: float) -> None:
        """Count a push to wolkvox for an account, and record its duration in seconds."""
        self._add((*_observed(PUSH, seconds), ("pushed", account, PUSH_UNIT + round(seconds * 1000))))

    def _add(self, increments: tuple[tuple[str, str, int], ...] | list[tuple[str, str, int]]) -> None:
        with self._lock:
            first = not self._tables
            for table, name, by in increments:
                fields = self._tables[table]
                fields[name] = fields.get(name, 0) + by
        if first:
            self._wake()

    def counted(self, table: str) -> dict[str, int]:
        """Return a copy of the counts of one table since the last flush."""
        with self._lock:
            return dict(self._tables.get(table, {}))

    def empty(self) -> bool:
        """Return True if nothing has been counted since the last flush."""
        return not self._tables

    def take(self) -> Counted:
        """Return the counts by table and name, and reset them to zero."""
        with self._lock:
            taken, self._tables = self._tables, defaultdict(dict)
        return dict(taken)

    def begin_anew(self) -> None:
        """Reset the counters after a fork, and replace the lock, which the parent may have held."""
        self._lock = threading.Lock()
        self._tables = defaultdict(dict)


def _observed(histogram: Histogram, seconds: float) -> tuple[tuple[str, str, int], ...]:
    bucket = bisect_left(histogram.bounds, seconds)
    bound = f"{histogram.bounds[bucket]:g}" if bucket < len(histogram.bounds) else "+Inf"
    # The sum is in whole microseconds, because the store adds integers exactly.
    return (
        ("counts", f"{histogram.name}:{bound}", 1),
        ("counts", f"{histogram.name}:sum", round(seconds * 1_000_000)),
    )


_instances: weakref.WeakSet[Counters] = weakref.WeakSet()


def _forked() -> None:
    for counters in _instances:
        counters.begin_anew()


os.register_at_fork(after_in_child=_forked)
