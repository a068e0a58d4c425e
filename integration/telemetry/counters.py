"""What a process counts, until somebody takes it to the store: sums by name, no I/O.

A name is a family and its labels with colons between them; lua/keys.lua says where they end up. A
process that forks begins at nothing in its child, so that nothing is counted twice.
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

# What comes of a delivery. The first two prove that the sender is set up well, the next four that it is not.
TAKEN: Final = ("admitted", "again")
REFUSED: Final = ("not verified", "unreadable", "unsupported type", "too large")
RESULTS: Final = (*TAKEN, *REFUSED, "too many", "not stored")

# A push and its seconds in one number, so that 5,000 accounts take half the room: pushes * this + ms.
PUSH_UNIT: Final = 10_000_000


@dataclass(frozen=True, slots=True)
class Scale:
    """A histogram: its name among the counts, and the upper bounds of its buckets, in seconds."""

    name: str
    bounds: tuple[float, ...]


ADMIT: Final = Scale("admit seconds", (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5))
PUSH: Final = Scale("push seconds", (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 60))
GAP: Final = Scale("gap seconds", (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30))
SWEEP: Final = Scale("sweep seconds", (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10))
SWEEP_LAG: Final = Scale("sweep lag seconds", (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30))


def _nobody() -> None:
    """Wake nobody."""


class Counters:
    """The counts of one process. Costs its callers a lock and a few increments."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: Counted = defaultdict(dict)
        self._wake: Callable[[], None] = _nobody
        _flusher.add(self)

    def wake_with(self, wake: Callable[[], None]) -> None:
        """Have this called when something is counted and nothing was before."""
        self._wake = wake

    def count(self, what: str) -> None:
        """Count something by its name."""
        self._add((("counts", what, 1),))

    def observe(self, scale: Scale, seconds: float) -> None:
        """Count how long something took."""
        self._add(_observed(scale, seconds))

    def delivery(self, source: str, result: str) -> None:
        """Count what came of a delivery; `source` is a configured name."""
        said = [("counts", f"deliveries:{source}:{result}", 1), ("counts", f"results:{result}", 1)]
        if result in TAKEN:
            said.append(("heard", f"taken:{source}", 1))
        elif result in REFUSED:
            said.append(("heard", f"refused:{source}", 1))
        self._add(said)

    def pushed(self, account: str, seconds: float) -> None:
        """Count a call to wolkvox for an account, and how long it took."""
        self._add((*_observed(PUSH, seconds), ("pushed", account, PUSH_UNIT + round(seconds * 1000))))

    def _add(self, said: tuple[tuple[str, str, int], ...] | list[tuple[str, str, int]]) -> None:
        with self._lock:
            first = not self._tables
            for table, name, by in said:
                fields = self._tables[table]
                fields[name] = fields.get(name, 0) + by
        if first:
            self._wake()

    def empty(self) -> bool:
        """Tell whether nothing is counted."""
        return not self._tables

    def take(self) -> Counted:
        """Give what is counted, by table and name, and begin at nothing."""
        with self._lock:
            taken, self._tables = self._tables, defaultdict(dict)
        return dict(taken)

    def begin_anew(self) -> None:
        """Forget what is counted, and a lock that a parent process may have held while it forked."""
        self._lock = threading.Lock()
        self._tables = defaultdict(dict)


def _observed(scale: Scale, seconds: float) -> tuple[tuple[str, str, int], ...]:
    bucket = bisect_left(scale.bounds, seconds)
    bound = f"{scale.bounds[bucket]:g}" if bucket < len(scale.bounds) else "+Inf"
    # The sum in whole microseconds: the store adds whole numbers exactly.
    return (
        ("counts", f"{scale.name}:{bound}", 1),
        ("counts", f"{scale.name}:sum", round(seconds * 1_000_000)),
    )


_flusher: weakref.WeakSet[Counters] = weakref.WeakSet()


def _forked() -> None:
    for counters in _flusher:
        counters.begin_anew()


os.register_at_fork(after_in_child=_forked)
