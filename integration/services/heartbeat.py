"""The heartbeat: a thread of every web and worker that says every few seconds that the process is there.

It runs beside the sweep and beside Celery, so that it tells when either of them stands still.
"""

from __future__ import annotations

import os
import platform
import threading
import time
from importlib import metadata
from typing import TYPE_CHECKING, Any

import structlog

from integration.domain.errors import StoreAwayError
from integration.services.consumer_health import ConsumerHealth

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.services.consumer_health import HealthChange
    from integration.store.monitoring.process_registry import ProcessRegistry
    from integration.telemetry.reporter import Reporter

log = structlog.get_logger("ringback.heartbeat")

HEARTBEAT_SECONDS = 3.0


class Heartbeat:
    """The heartbeat of one process. `clock` gives steady seconds."""

    def __init__(
        self,
        processes: ProcessRegistry,
        who: str,
        watcher: Reporter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`who` names the process, its kind first: "worker:3f9a77c1".

        Web processes, which consume no Celery tasks, have no `watcher`.
        """
        self._processes = processes
        self._watcher = watcher
        self._clock = clock
        self._who = who
        self._started = clock()
        self._swept: float | None = None
        self._told = (0, 0)
        self._stopped = threading.Event()
        self.name = f"{platform.node()}:{os.getpid()}"
        self.consumer_health = ConsumerHealth(clock)

    def start(self) -> None:
        """Begin, in a thread that ends with the process."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Give no heartbeat any more."""
        self._stopped.set()

    def swept(self) -> None:
        """Note that a sweep was made."""
        self._swept = self._clock()

    def send(self) -> None:
        """Send a heartbeat, and find out whether the consumers are stalled. Raise StoreAwayError."""
        health = self.consumer_health
        wake_ups, sweeps = health.taken, health.swept
        new = {"wake_ups": wake_ups - self._told[0], "sweeps": sweeps - self._told[1]}
        taken = self._processes.heartbeat(self._who, {**self._facts(wake_ups, sweeps), **new})
        self._told = (wake_ups, sweeps)
        if self._watcher is not None and (heard := health.evaluate(taken - wake_ups)) is not None:
            self._tell(heard, self._watcher)

    def _facts(self, wake_ups: int, sweeps: int) -> dict[str, Any]:
        moments = {
            "started": self._started,
            "swept": self._swept,
            "wake_up": self.consumer_health.taken_at,
            "stalled": self.consumer_health.stalled_since,
        }
        now = self._clock()
        return {
            "kind": self._who.partition(":")[0],
            "host": platform.node(),
            "pid": os.getpid(),
            "version": metadata.version("ringback"),
            "by_wake_up": wake_ups,
            "by_sweep": sweeps,
            **{name: round((now - at) * 1000) for name, at in moments.items() if at is not None},
        }

    def _tell(self, heard: HealthChange, watcher: Reporter) -> None:
        if heard.stalled:
            reason = "the sweep drains its queues, seconds later; restart it if this goes on"
            log.error("this worker takes no wake-ups", seconds=round(heard.seconds), reason=reason)
            watcher.consumers_stalled(self.name, heard.seconds)
        else:
            log.warning("this worker takes wake-ups again", seconds=round(heard.seconds))
            watcher.consumers_recovered(self.name, heard.seconds)

    def _run(self) -> None:
        while True:
            try:
                self.send()
            except StoreAwayError as error:
                log.debug("no heartbeat: the store is away", error=str(error))
            except Exception:
                # Nobody starts this thread again.
                log.exception("the heartbeat goes on after a fault")
            if self._stopped.wait(HEARTBEAT_SECONDS):
                return
