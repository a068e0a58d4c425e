"""Does this worker hear its doorbells? Judged by progress: rung for and taken, not by what Celery says.

A consumer may be connected, answer pings and still take nothing. What tells is that the sweep has to take
one turn after the other itself and nobody takes the doorbells that are rung beside, or that other workers
take doorbells and this one takes none. Pure: the clock is handed in.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEAF_SECONDS = 20.0
"""Celery needs up to 16 s to hear again after its broker was away."""
DEAF_TURNS = 3
RING_SECONDS = 5.0
"""How long between doorbells that are rung only to find out whether somebody takes them."""
ELSEWHERE_SECONDS = 30.0
ELSEWHERE_DOORBELLS = 50
"""So many go to others by chance alone hardly ever: a broker serves first who has waited longest."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What changed: the worker is deaf since so many seconds, or hears again after so many."""

    deaf: bool
    seconds: float


class Hearing:
    """A worker's own turns and doorbells, counted by all its threads. `clock` gives steady seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._answering = 0
        self._silent_since = clock()
        self._turns: list[float] = []
        self._rang_at: float | None = None
        self._elsewhere: int | None = None
        self._elsewhere_then: int | None = None
        self._was_deaf_since: float | None = None
        self.deaf_since: float | None = None
        self.doorbell_at: float | None = None
        self.doorbells = 0
        self.sweeps = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a doorbell that was taken; while one is being answered, the worker is not deaf."""
        with self._lock:
            self.doorbell_at = self._clock()
            self.doorbells += 1
            self._answering += 1
            self._turns.clear()
            self._elsewhere = self._elsewhere_then = self.deaf_since = None
        try:
            yield
        finally:
            with self._lock:
                self._answering -= 1
                self._silent_since = self._clock()

    @property
    def answering_now(self) -> int:
        """How many doorbells are being answered."""
        return self._answering

    def helped(self) -> bool:
        """Count a turn that the sweep took, because its doorbell stayed untaken.

        True: ring it once more. It may never have been rung, and whether it is taken tells who hears.
        """
        with self._lock:
            now = self._clock()
            self.sweeps += 1
            if self._rang_at is not None and now - self._rang_at < RING_SECONDS:
                return False
            self._rang_at = now
            if len(self._turns) < DEAF_TURNS:
                self._turns.append(now)
            return True

    def judge(self, elsewhere: int) -> Heard | None:
        """Tell what changed since it was last asked; `elsewhere`: doorbells that all others took so far."""
        with self._lock:
            now = self._clock()
            if self._elsewhere is None or elsewhere < self._elsewhere:
                self._elsewhere = elsewhere
            self._forget_turns_if_others_hear(elsewhere)
            if self.deaf_since is None:
                self.deaf_since = self._found_deaf(now, elsewhere - self._elsewhere)
            was, self._was_deaf_since = self._was_deaf_since, self.deaf_since
        if was is None and self._was_deaf_since is not None:
            return Heard(deaf=True, seconds=now - self._was_deaf_since)
        if was is not None and self._was_deaf_since is None:
            return Heard(deaf=False, seconds=now - was)
        return None

    def _forget_turns_if_others_hear(self, elsewhere: int) -> None:
        if not self._turns:
            self._elsewhere_then = None
        elif self._elsewhere_then is None:
            self._elsewhere_then = elsewhere
        elif elsewhere > self._elsewhere_then:
            self._turns.clear()
            self._elsewhere_then = None

    def _found_deaf(self, now: float, elsewhere: int) -> float | None:
        if self._answering:
            return None
        if len(self._turns) == DEAF_TURNS and now - self._turns[0] >= DEAF_SECONDS:
            return self._turns[0]
        if elsewhere >= ELSEWHERE_DOORBELLS and now - self._silent_since >= ELSEWHERE_SECONDS:
            return self._silent_since
        return None
