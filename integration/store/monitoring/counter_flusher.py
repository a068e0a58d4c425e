"""Adds the counters of a process to the totals in the store, which every web process can read.

A thread flushes the counters every second, in one round trip. A failed flush is repeated under the same
number, and the store adds each number only once. While the store is unavailable, counts accumulate. The
remaining counts are flushed at exit. The thread ends after IDLE_SECONDS without counts, unless it was
started with `always`. The next count starts it again, also in a forked child.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
from collections import Counter
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

import orjson
import structlog

from integration.domain.errors import StoreAwayError
from integration.store.monitoring.time_series import TOTALS

if TYPE_CHECKING:
    from integration.store.client import Store
    from integration.telemetry.counters import Counted, Counters

log = structlog.get_logger("ringback.counters")

EVERY_SECONDS = 1.0
IDLE_SECONDS = 10.0
LOST = "lost:"


def totals(store: Store) -> dict[str, int]:
    """Return the totals of all counters since the store was created. Raise StoreAwayError."""
    counts = store.guarded(lambda: store.client.hgetall(store.key("counts")))
    return {name: int(value) for name, value in counts.items()}


class CounterFlusher:
    """Flushes the counters of one process to the store."""

    def __init__(self, store: Store, counters: Counters) -> None:
        self._store = store
        self._counters = counters
        self._always = False
        self._begin()

    def _begin(self) -> None:
        self._process = secrets.token_hex(8)
        self._number = 0
        self._unsent: Counted = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._flushing = threading.Lock()
        self._hurry = threading.Event()

    def start(self, *, always: bool = False) -> None:
        """Flush the counters in a thread and at the end of the process.

        With `always` the thread runs until `stop`, and also records minutes without counts.
        """
        _running.add(self)
        self._always = always
        self._counters.wake_with(self._start)
        self._start()

    def stop(self) -> None:
        """Let the thread flush at once, and end after IDLE_SECONDS without counts."""
        self._always = False
        self._hurry.set()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="counters", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        idle_since = time.monotonic()
        while True:
            self._hurry.wait(EVERY_SECONDS)
            self._hurry.clear()
            if not self._nothing_to_do():
                idle_since = time.monotonic()
            elif not self._always:
                if self._ends(idle_since):
                    return
                continue
            try:
                self.flush()
            except StoreAwayError as error:
                log.debug("the counters were not flushed; they are sent again", reason=str(error))
            except Exception:
                log.exception(
                    "the counters were not flushed because of an unexpected error; they are sent again"
                )

    def _nothing_to_do(self) -> bool:
        return not self._unsent and self._counters.empty()

    def _ends(self, idle_since: float) -> bool:
        # `_start` takes the same lock: a count made meanwhile is either seen here or starts a new thread.
        with self._starting:
            over = not self._always and time.monotonic() - idle_since > IDLE_SECONDS
            if over and self._nothing_to_do():
                self._thread = None
                return True
        return False

    def unsaved_losses(self) -> dict[str, int]:
        """Return by source the number of lost deliveries that this process has not flushed yet."""
        unsaved = Counter(self._unsent.get("source_requests", {}))
        unsaved.update(self._counters.counted("source_requests"))
        return {name.removeprefix(LOST): number for name, number in unsaved.items() if name.startswith(LOST)}

    def flush(self) -> None:
        """Flush the counts. Raise StoreAwayError; the counts are then kept and flushed later."""
        with self._flushing:
            waited = bool(self._unsent)
            self._send()
            if waited:
                self._send()

    def _send(self) -> None:
        if not self._unsent:
            self._unsent = self._counters.take()
            self._number += bool(self._unsent)
        flush = {**self._unsent, "totals": TOTALS}
        self._store.call("flush_counters", self._process, self._number, orjson.dumps(flush))
        self._unsent = {}

    def forked(self) -> None:
        """Reset the state in a forked child process. The parent flushes the counts made before."""
        self._begin()

    def finish(self) -> None:
        """Flush the remaining counts at the end of the process. A StoreAwayError is only logged."""
        if self._nothing_to_do():
            return
        # Not in a thread: Python 3.12 starts none at exit. The time limits of the store's client apply.
        try:
            self.flush()
        except StoreAwayError as error:
            log.warning(
                "the last counts of the process are lost, because the store is unavailable", reason=str(error)
            )


_running: weakref.WeakSet[CounterFlusher] = weakref.WeakSet()


def _forked() -> None:
    for flusher in _running:
        flusher.forked()


def _finish_all() -> None:
    for flusher in list(_running):
        flusher.finish()


os.register_at_fork(after_in_child=_forked)
# At exit. Children of multiprocessing skip atexit, but run Finalize.
Finalize(None, _finish_all, exitpriority=10)
