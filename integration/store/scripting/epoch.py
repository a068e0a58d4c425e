"""The store's epoch and revision as last seen by this process, to detect a loss of data.

If a path is set, they are also saved in a file. With the file, a process detects an old copy of the data
that was restored while no process ran. The file belongs outside the store's folder, so that a restore of
the folder does not restore the file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger("ringback.epoch")


@dataclass(frozen=True, slots=True)
class KnownEpoch:
    """The latest epoch, revision and server seen, and the milliseconds since then.

    `epoch` is "" if none is known. `server` is the store's shortened replication id.
    """

    epoch: str
    revision: int
    server: str
    ago_ms: int


class StoreEpoch:
    """The epoch known to this process.

    `clock` returns monotonic seconds, `wall` epoch seconds. With a `path`, the epoch is loaded from that file
    if it exists, and saved there.
    """

    def __init__(
        self,
        path: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """Load the epoch from the file at `path`, if there is one."""
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
        """Return the name of the latest epoch seen, or "" if none is known."""
        return self._epoch

    def seen(self) -> KnownEpoch:
        """Return the latest epoch seen. Each run of the script compares it with the store's epoch."""
        with self._lock:
            ago_ms = max(0, round((self._clock() - self._at) * 1000))
            return KnownEpoch(self._epoch, self._revision, self._server, ago_ms)

    def note(self, epoch: str, revision: int, server: str) -> bool:
        """Record the epoch of a reply. Return True if it differs from the previous epoch.

        Call this for each reply in the order of the calls, before the next call is sent.
        """
        with self._lock:
            before = self._epoch
            self._at = self._clock()
            self._epoch, self._revision, self._server = epoch, revision, server
            return epoch != before

    def keep(self) -> None:
        """Save the epoch to the file, if `path` is set. Log an OSError only at the first save."""
        with self._lock:
            seen = _Record(self._epoch, self._revision, self._server)
        if self._path is None or not seen.epoch or seen == self._kept:
            return
        try:
            _write(self._path, seen)
        except OSError as error:
            if self._kept is None:
                log.warning(
                    "the store epoch could not be saved; check that the epoch file is writable",
                    reason=error.strerror,
                )
        self._kept = seen

    def _read(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            found = _parsed(path.read_text("ascii", errors="replace"))
            if found is not None:
                self._epoch, self._revision, self._server = found
                self._at = self._clock() - max(0.0, self._wall() - path.stat().st_mtime)


class _Record(NamedTuple):
    """The content of the file, one line."""

    epoch: str
    revision: int
    server: str


def _write(path: Path, seen: _Record) -> None:
    # Several workers of a machine may share the file: the highest revision is kept.
    with open(path, "a+", encoding="ascii", opener=partial(os.open, mode=0o600)) as file:
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
