"""Finds a server process whose event loop has stalled. Its parent process watches it.

So a process is also found that is stopped, or whose interpreter lock is held. The parent counts its looks and
not the time: no process is ended because the machine was suspended.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

LOOK_SECONDS: Final = 1.0
STALLED_LOOKS: Final = 10
START_LOOKS: Final = 60
"""The looks that a process has to start. It opens its connections before its event loop runs."""


class TurnCounter:
    """Counts the turns of an event loop in memory that a process shares with its parent.

    Create it before the fork. `value` is 0 until the loop runs.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    @property
    def value(self) -> int:
        """The number of turns, modulo 255 and not 0 after the first."""
        return self._memory[0]

    def count(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a turn now, and another one every second for as long as the loop runs."""
        self._memory[0] = self._memory[0] % 255 + 1
        loop.call_later(LOOK_SECONDS, self.count, loop)


@dataclass(slots=True)
class ProcessWatch:
    """The looks of a parent at one process."""

    turns: TurnCounter
    stalled_looks: int = STALLED_LOOKS
    _missed: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)

    def look(self) -> int:
        """Compare the turns with the last look. Return 0 while the loop turns.

        Otherwise return the number of looks beyond the limit in a row.
        """
        value = self.turns.value
        self._missed = self._missed + 1 if value == self._last else 0
        self._last = value
        limit = self.stalled_looks if value else START_LOOKS
        return max(0, self._missed - limit + 1)
