"""Ends a process whose event loop stops; the server starts another in its place.

All limits count what this process really ran, not what the clock says. So a process that was suspended,
stopped or short of processor time is not ended for it.
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

    The process ends when the loop does not turn in ten looks of a thread, a tenth of `stalled_seconds` apart.
    Where something holds the interpreter's lock (a regular expression, a C extension) no thread can look;
    then it ends after `stalled_seconds` of processor time. Either way the frames of all threads are written
    to standard error, without values.
    """

    LOOKS = 10

    def __init__(self, stalled_seconds: float = STALLED_SECONDS) -> None:
        self._seconds = stalled_seconds
        self._stopped = threading.Event()
        self._turned = False

    def start(self) -> None:
        """Watch the loop that runs now."""
        faulthandler.register(signal.SIGPROF, all_threads=True, chain=True)  # chained: it ends the process
        self._turn(asyncio.get_running_loop())
        threading.Thread(target=self._look, name="loop-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no longer."""
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
