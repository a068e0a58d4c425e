"""Consumer health: whether this worker's Celery consumers take wake-ups. No I/O.

The wake-ups taken are measured. Celery's own report is not used, because a consumer may be connected and
answer pings without taking any message.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STALLED_SECONDS = 20.0
"""Celery needs up to 16 s to consume again after its broker was away."""
STALLED_DRAINS = 3
ELSEWHERE_SECONDS = 30.0
ELSEWHERE_WAKE_UPS = 50
"""A broker serves the consumer that waits longest, so a healthy worker rarely misses that many in a row."""


@dataclass(frozen=True, slots=True)
class HealthChange:
    """A change of consumer health: stalled for `seconds` so far, or recovered after `seconds`."""

    stalled: bool
    seconds: float


class ConsumerHealth:
    """Detects stalled consumers by counting a worker's wake-ups and the drains of its sweep.

    `clock` returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._idle_since = clock()
        self._untaken: list[float] = []
        self._elsewhere: int | None = None
        self._missed = 0
        self._reported_stalled_since: float | None = None
        self.active = 0
        self.stalled_since: float | None = None
        self.taken_at: float | None = None
        self.taken = 0
        self.swept = 0

    @contextmanager
    def taking(self) -> Iterator[None]:
        """Count a wake-up as taken. The worker is not stalled while it handles a wake-up."""
        with self._lock:
            self.taken_at = self._clock()
            self.taken += 1
            self.active += 1
            self._untaken.clear()
            self._missed = 0
            self.stalled_since = None
        try:
            yield
        finally:
            with self._lock:
                self.active -= 1
                self._idle_since = self._clock()

    def untaken(self) -> None:
        """Count a drain that the sweep made because no worker had taken the queue's wake-up."""
        with self._lock:
            self.swept += 1
            self._untaken.append(self._clock())
            del self._untaken[1:-STALLED_DRAINS]

    def evaluate(self, elsewhere: int) -> HealthChange | None:
        """Return the change since the last call, None without a change.

        `elsewhere` is the number of wake-ups that other workers have taken so far.
        """
        with self._lock:
            now = self._clock()
            self._note_others(elsewhere)
            if self.stalled_since is None and not self.active:
                self.stalled_since = self._found_stalled(now)
            was, self._reported_stalled_since = self._reported_stalled_since, self.stalled_since
        if was is None and self._reported_stalled_since is not None:
            return HealthChange(stalled=True, seconds=now - self._reported_stalled_since)
        if was is not None and self._reported_stalled_since is None:
            return HealthChange(stalled=False, seconds=now - was)
        return None

    def _note_others(self, elsewhere: int) -> None:
        took = 0 if self._elsewhere is None else max(0, elsewhere - self._elsewhere)
        self._elsewhere = elsewhere
        self._missed += took
        if took:
            # Other workers take wake-ups, so the sweep drained queues whose wake-ups were lost.
            self._untaken.clear()

    def _found_stalled(self, now: float) -> float | None:
        if len(self._untaken) >= STALLED_DRAINS and now - self._untaken[0] >= STALLED_SECONDS:
            return self._untaken[0]
        if self._missed >= ELSEWHERE_WAKE_UPS and now - self._idle_since >= ELSEWHERE_SECONDS:
            return self._idle_since
        return None
