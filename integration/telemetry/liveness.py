"""Detects stalled processes: each counts ticks in shared memory, and another process observes the count.

This also detects a process that is stopped, or whose interpreter lock is held. The observer counts its
own looks instead of measuring time, so that time in suspend does not count.
"""

from __future__ import annotations

import mmap
import os
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from integration.config.environment import LIVENESS_FILE, liveness_file
from integration.domain.errors import ENVIRONMENT, ConfigError, Fault

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

LOOK_SECONDS: Final = 1.0
STALLED_LOOKS: Final = 10
START_LOOKS: Final = 60
"""Looks allowed before the first tick of a process, which opens its connections in this time."""
_PID = struct.Struct("=I")
_PID_AT = 4
_BYTES = _PID_AT + _PID.size


class TickCounter:
    """A tick counter in memory shared by the working process and its observer."""

    def __init__(self, file: int = -1) -> None:
        """Map the counter into memory.

        `file` is a descriptor open for reading and writing. With -1 the memory is shared with forked children
        only.
        """
        if file != -1:
            os.ftruncate(file, _BYTES)
        self._memory = mmap.mmap(file, _BYTES)

    @property
    def value(self) -> int:
        """The tick count: 0 before the first tick, then 1 to 255, repeatedly."""
        return self._memory[0]

    @property
    def pid(self) -> int:
        """The id of the counting process, or 0 before `begin`."""
        return int(_PID.unpack_from(self._memory, _PID_AT)[0])

    def begin(self) -> None:
        """Start counting from 0 in this process."""
        self._memory[0] = 0
        _PID.pack_into(self._memory, _PID_AT, os.getpid())

    def tick(self) -> None:
        """Count a tick."""
        self._memory[0] = self._memory[0] % 255 + 1

    def count(self, loop: asyncio.AbstractEventLoop) -> None:
        """Count a tick now and every second while the event loop runs."""
        self.tick()
        loop.call_later(LOOK_SECONDS, self.count, loop)


def open_counter(environ: Mapping[str, str]) -> TickCounter:
    """Return the tick counter of this process, in the file named by RINGBACK_LIVENESS_FILE if that is set.

    Raise ConfigError if the file cannot be written.
    """
    path = liveness_file(environ)
    if path is None:
        return TickCounter()
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            counter = TickCounter(file)
        finally:
            os.close(file)
    except OSError as error:
        found = f"{path}: {error.strerror}"
        raise ConfigError((Fault(ENVIRONMENT, LIVENESS_FILE, found, "a file that can be written"),)) from None
    counter.begin()
    return counter


@dataclass(slots=True)
class ProcessWatch:
    """Observes the tick counter of one process."""

    stalled_looks: int = STALLED_LOOKS
    _missed: int = field(default=0, init=False)
    _last: int = field(default=0, init=False)

    def look(self, ticks: int) -> int:
        """Compare the tick count with that of the previous look.

        Return 0 while the process is not stalled, 1 at the look that finds it stalled, then 2, 3 and so on.
        A process is stalled after `stalled_looks` looks without a change, START_LOOKS before its first tick.
        """
        self._missed = self._missed + 1 if ticks == self._last else 0
        self._last = ticks
        limit = self.stalled_looks if ticks else START_LOOKS
        return max(0, self._missed - limit + 1)
