"""The heartbeat: a thread that reports every few seconds that a web or worker process is running.

It is independent of the sweep and of Celery, so that it can report when either of them is stuck.
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
    """The heartbeat of one process. `clock` returns monotonic seconds."""

    def __init__(
        self,
        processes: ProcessRegistry,
        who: str,
        reporter: Reporter | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create the heartbeat of the process `who`.

        `who` begins with the kind of the process, for example "worker:3f9a77c1". `reporter` is None in
        web processes, which consume no Celery tasks.
        """
        self._processes = processes
        self._reporter = reporter
        self._clock = clock
        self._who = who
        self._started = clock()
        self._swept: float | None = None
        self._reported = (0, 0)
        self._stopped = threading.Event()
        self.name = f"{platform.node()}:{os.getpid()}"
        self.consumer_health = ConsumerHealth(clock)

    def start(self) -> None:
        """Start the heartbeat in a daemon thread."""
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread after its current heartbeat."""
        self._stopped.set()

    def swept(self) -> None:
        """Record the time of a completed sweep."""
        self._swept = self._clock()

    def send(self) -> None:
        """Send a heartbeat, and report a change of consumer health. Raise StoreAwayError."""
        health = self.consumer_health
        wake_ups, sweeps = health.taken, health.swept
        new = {"wake_ups": wake_ups - self._reported[0], "sweeps": sweeps - self._reported[1]}
        taken = self._processes.heartbeat(self._who, {**self._facts(wake_ups, sweeps), **new})
        self._reported = (wake_ups, sweeps)
        if self._reporter is not None and (change := health.evaluate(taken - wake_ups)) is not None:
            self._report(change, self._reporter)

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

    def _report(self, change: HealthChange, reporter: Reporter) -> None:
        if change.stalled:
            reason = (
                "the sweep drains the queues seconds later; check BROKER_URL, and restart the worker if this "
                "continues"
            )
            log.error("this worker takes no wake-ups", seconds=round(change.seconds), reason=reason)
            reporter.consumers_stalled(self.name, change.seconds)
        else:
            log.warning("this worker takes wake-ups again", seconds=round(change.seconds))
            reporter.consumers_recovered(self.name, change.seconds)

    def _run(self) -> None:
        while True:
            try:
                self.send()
            except StoreAwayError as error:
                log.debug("no heartbeat: the store is away", error=str(error))
            except Exception:
                # The thread must not end, because nothing restarts it.
                log.exception("the heartbeat failed; it is sent again in a few seconds")
            if self._stopped.wait(HEARTBEAT_SECONDS):
                return
