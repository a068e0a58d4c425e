"""What a process has seen of the store's history, so that a store that went back is known by it.

Kept in memory; beside the embedded store also in a file, for the case that everything was down when an old
copy was put back. The file lies outside the folder of the store: what goes back with it proves nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger("ringback.epoch")


@dataclass(frozen=True, slots=True)
class KnownEpoch:
    """A history's name, the highest tick seen of it, on which server, and how long ago that was heard of."""

    epoch: str
    revision: int
    server: str
    ago_ms: int


class StoreEpoch:
    """One process's memory of the store. `clock` gives steady seconds, `wall` epoch seconds."""

    def __init__(
        self,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Remember what the file at `path` says, if there is one."""
        self._path = path
        self._clock = clock
        self._wall = wall
        self._lock = threading.Lock()
        self._epoch, self._revision, self._server = "", 0, ""
        self._at = clock()
        self._kept: _Record | None = None
        if path is not None:
            self._read(path)

    @property
    def name(self) -> str:
        """Name the history that this process goes by; "" before it has seen any."""
        return self._epoch

    def seen(self) -> KnownEpoch:
        """Tell what was seen, for the store to hold against what it has."""
        with self._lock:
            ago_ms = max(0, round((self._clock() - self._at) * 1000))
            return KnownEpoch(self._epoch, self._revision, self._server, ago_ms)

    def note(self, epoch: str, revision: int, server: str) -> bool:
        """Remember what the store told; return True when it is another history than before.

        Replies are noted in the order of their calls, each before the next call is sent.
        """
        with self._lock:
            before = self._epoch
            self._at = self._clock()
            self._epoch, self._revision, self._server = epoch, revision, server
            return epoch != before

    def keep(self) -> None:
        """Write down what was seen, where there is a file for it. Losing that is told, and harms nothing."""
        with self._lock:
            seen = _Record(self._epoch, self._revision, self._server)
        if self._path is None or not seen.epoch or seen == self._kept:
            return
        try:
            _write(self._path, seen)
        except OSError as error:
            if self._kept is None:
                log.warning("what was seen of the store cannot be kept", reason=error.strerror)
        self._kept = seen

    def _read(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            found = _parsed(path.read_text("ascii", errors="replace"))
            if found is not None:
                self._epoch, self._revision, self._server = found
                self._at = self._clock() - max(0.0, self._wall() - path.stat().st_mtime)


class _Record(NamedTuple):
    """A line of the file."""

    epoch: str
    revision: int
    server: str


def _write(path: Path, seen: _Record) -> None:
    # Several workers of a machine may share the file: the highest tick stays.
    with path.open("a+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        found = _parsed(file.read(100))
        if found is not None and found.epoch == seen.epoch and found.revision >= seen.revision:
            return
        file.seek(0)
        file.truncate()
        file.write(f"{seen.epoch} {seen.revision} {seen.server}\n")


def _parsed(text: str) -> _Record | None:
    words = text.split()
    if len(words) not in {2, 3} or not words[0].isalnum() or not words[1].isdecimal():
        return None
    return _Record(words[0], int(words[1]), (words[2:] or [""])[0])
