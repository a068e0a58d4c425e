"""Ends a process whose event loop has stalled; the server starts a new one.

The limits count the time for which this process ran, not the wall clock. So a process that was suspended,
stopped or short of processor time is not ended.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import threading

import structlog

_log = structlog.get_logger("ringback.web")

STALLED_SECONDS = 10.0


class LoopWatchdog:
    """Watches the running event loop, from `start` to `stop`.

    A thread checks the loop every tenth of `stalled_seconds`, and ends the process after ten checks without
    progress. If the interpreter's lock is held (by a regular expression or a C extension), no thread can run;
    then the process ends after `stalled_seconds` of processor time. In both cases the stacks of all threads
    are written to standard error, without values.
    """

    LOOKS = 10

    def __init__(self, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._seconds = stalled_seconds
        self._stopped = threading.Event()
        self._turned = False

    def start(self) -> None:
        """Start watching the event loop that is running."""
        # The handler is chained, so that the signal still ends the process.
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)
        self._turn(asyncio.get_running_loop())
        threading.Thread(target=self._look, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopped.set()
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._stopped.is_set():
            self._turned = True
            signal.setitimer(signal.ITIMER_PROF, self._seconds)
            loop.call_later(self._seconds / self.LOOKS, self._turn, loop)

    def _look(self) -> None:
        missed = 0
        while not self._stopped.wait(self._seconds / self.LOOKS):
            missed = 0 if self._turned else missed + 1
            self._turned = False
            if missed >= self.LOOKS:
                _log.error("the event loop has stalled; this process ends", seconds=self._seconds)
                os.kill(os.getpid(), signal.SIGPROF)
