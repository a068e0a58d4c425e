"""Takes what a process counts to the store, so that any web shows the sum of all processes.

A thread of the process does so every second, in one round trip. What could not be taken there is kept
and sent again under the same number, which the store adds once however often it comes; what is counted
while the store is away waits, as sums. At exit the rest goes. A thread with nothing to do ends, and the
next count starts one: also in a child that was forked later.
"""

from __future__ import annotations

import os
import secrets
import threading
import time
import weakref
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


def totals(store: Store) -> dict[str, int]:
    """Return how often each thing happened since the store was made. Raise StoreAwayError."""
    counts = store.guarded(lambda: store.client.hgetall(store.key("counts")))
    return {name: int(value) for name, value in counts.items()}


class CounterFlusher:
    """One process's way of counting into the store."""

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

    def switch_on(self, *, always: bool = False) -> None:
        """Flush by a thread from now on, and at the end of the process.

        With `always` the thread runs until `let_end`, and notes the minutes in which nothing is counted too.
        """
        _running.add(self)
        self._always = always
        self._counters.wake_with(self._start)
        self._start()

    def let_end(self) -> None:
        """Have the thread flush now, and end when there is nothing to do."""
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
                log.debug("the counts wait", reason=str(error))
            except Exception:
                log.exception("the counts wait after a fault")

    def _nothing_to_do(self) -> bool:
        return not self._unsent and self._counters.empty()

    def _ends(self, idle_since: float) -> bool:
        # Under the lock that `_start` takes: a count in between either is seen here or starts the next one.
        with self._starting:
            over = not self._always and time.monotonic() - idle_since > IDLE_SECONDS
            if over and self._nothing_to_do():
                self._thread = None
                return True
        return False

    def flush(self) -> None:
        """Take to the store what is counted until now. Raises StoreAwayError; nothing is lost by that."""
        with self._flushing:
            waited = bool(self._unsent)
            self._send()
            if waited:
                self._send()

    def _send(self) -> None:
        if not self._unsent:
            self._unsent = self._counters.take()
            self._number += bool(self._unsent)
        told = {**self._unsent, "totals": TOTALS}
        self._store.call("flush_counters", self._process, self._number, orjson.dumps(told))
        self._unsent = {}

    def forked(self) -> None:
        """Begin anew in a child process."""
        self._begin()

    def finish(self) -> None:
        """Take the rest to the store, at the end of the process."""
        if self._nothing_to_do():
            return
        # Not in a thread: Python 3.12 starts none at the end of a process. The store's time limits bound it.
        try:
            self.flush()
        except StoreAwayError as error:
            log.warning("the last counts of the process are lost", reason=str(error))


_running: weakref.WeakSet[CounterFlusher] = weakref.WeakSet()


def _forked() -> None:
    for flusher in _running:
        flusher.forked()


def _finish_all() -> None:
    for flusher in list(_running):
        flusher.finish()


os.register_at_fork(after_in_child=_forked)
# At the end of the process; children of multiprocessing leave without atexit, but not without this.
Finalize(None, _finish_all, exitpriority=10)
