"""The sweep: finds due queues, lookups, bulk jobs and old records, about twice a second.

It publishes wake-ups for due work. If a queue's wake-up is not taken although threads are free, the sweep
drains the queue itself. This keeps the delay short when a wake-up is lost, or when consumers stall after
a broker outage.
"""

from __future__ import annotations

import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog

from integration.config.source_models import lookup_of
from integration.domain.errors import StoreAwayError
from integration.store.deliveries import PURGED
from integration.telemetry.counters import SWEEP, SWEEP_LAG
from integration.webhooks.resend_many import resend_step
from workers.drain import utc_now
from workers.lookups import digest_of_lookup

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from integration.services.container import Services
    from integration.services.heartbeat import Heartbeat
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.token_queue import WakeUp
    from integration.telemetry.reporter import Reporter

log = structlog.get_logger("ringback.sweeper")

SWEEP_SECONDS = 0.5
STALLED_SECONDS = 60.0
"""A step of the sweep takes less, because its calls to the store have a time limit."""
PURGE_SECONDS = 60.0
PURGE_SLICE_SECONDS = 0.1
CHECK_IN_SECONDS = 60.0
# After a broker outage Celery's consumers may be stalled for 16 s; these threads drain queues meanwhile.
SWEEP_DRAINS = 16


def purge(services: Services, now: datetime) -> int:
    """Remove records older than the configured retention, a bounded number per call.

    Entries of the audit log are kept for the longest retention of any record. `now` is aware. Return the
    number of removed records, without entries of the delivery log. Raise StoreAwayError.
    """
    config = services.config
    listed = timedelta(days=max(1, config.store.raw_retention_days))
    services.delivery_log.trim(config.sources, before=now - listed)
    before = {kind: now - timedelta(days=config.store.days_of(kind)) for kind in PURGED}
    return services.deliveries.purge(before=before) + services.audit.purge(before=min(before.values()))


class Sweeper:
    """The sweep of one worker process. `drain` is called with a wake-up to drain its queue."""

    def __init__(
        self,
        services: Services,
        wake_ups: WakeUpPublisher,
        heartbeat: Heartbeat,
        reporter: Reporter,
        drain: Callable[[WakeUp], None],
        stopping: threading.Event,
    ) -> None:
        # Number of wake-ups handled at a time; Celery reports it when it is ready.
        self.threads = 0
        self._services = services
        self._wake_ups = wake_ups
        self._heartbeat = heartbeat
        self._reporter = reporter
        self._drain = drain
        self._stopping = stopping
        self._drainers = ThreadPoolExecutor(SWEEP_DRAINS, thread_name_prefix="sweep-drain")
        self._draining: list[Future[None]] = []
        self._purged_at = -PURGE_SECONDS
        self._steps = (
            *(services.binding.bind, self._sweep_queues, self._sweep_lookups),
            *(self._start_jobs, self._purge),
        )
        self._name = secrets.token_hex(8)
        self._jobs = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._job_free = threading.Semaphore(1)
        self._checked_in_at = -CHECK_IN_SECONDS
        self._step_at: float | None = None

    def start(self) -> None:
        """Start the sweep in a thread. The thread ends when `stopping` is set."""
        threading.Thread(target=self._run, name="sweep", daemon=True).start()

    def stop(self) -> None:
        """Cancel drains and bulk jobs that have not begun."""
        self._drainers.shutdown(wait=False, cancel_futures=True)
        self._jobs.shutdown(wait=False, cancel_futures=True)

    def has_stalled(self, now: float) -> bool:
        """Return True if the current step began a minute ago or earlier. `now` is in monotonic seconds.

        Return False before the first step, and while the worker stops.
        """
        began = self._step_at
        return began is not None and now - began >= STALLED_SECONDS and not self._stopping.is_set()

    def _run(self) -> None:
        planned = time.monotonic() + SWEEP_SECONDS
        while not self._stopping.wait(SWEEP_SECONDS):
            began = time.monotonic()
            self._services.counters.observe(SWEEP_LAG, max(0.0, began - planned))
            for step in self._steps:
                self._step_at = time.monotonic()
                self._run_step(step)
            self._heartbeat.swept()
            self._services.store.epoch.keep()
            took = time.monotonic() - began
            self._services.counters.observe(SWEEP, took)
            self._run_step(lambda: self._report_sweep(took))  # noqa: B023  (called at once)
            planned = began + SWEEP_SECONDS

    def _run_step(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StoreAwayError as error:
            log.warning("the store is away", during=getattr(step, "__name__", "sweep"), error=str(error))
        except Exception:
            # The sweep finds lost work, so an error of one step must not end it.
            name = getattr(step, "__name__", "sweep")
            log.exception("a sweep step failed; it runs again in the next sweep", during=name)

    def _report_sweep(self, seconds: float) -> None:
        """Report the sweep and its duration to Sentry, at most once a minute over all workers."""
        now = time.monotonic()
        if now - self._checked_in_at < CHECK_IN_SECONDS:
            return
        self._checked_in_at = now
        if self._services.alerts.first_this_minute("sweep"):
            self._reporter.swept(seconds)

    def _sweep_queues(self) -> None:
        for wake_up, times in self._services.queues.sweep(self._room()):
            self._wake_ups.publish(wake_up)
            if times > 1 and len(self._draining) < SWEEP_DRAINS:
                self._heartbeat.consumer_health.untaken()
                self._draining.append(self._drainers.submit(self._drain_safely, wake_up))

    def _room(self) -> int:
        """Return the number of untaken wake-ups for which Celery or the sweep has a free thread."""
        self._draining = [each for each in self._draining if not each.done()]
        if self._crowded():
            return 0
        return max(SWEEP_DRAINS - len(self._draining), self.threads - self._heartbeat.consumer_health.active)

    def _crowded(self) -> bool:
        """Return True if Celery's threads are busy. An eighth of them counts as about to be used."""
        return 0 < self.threads <= self._heartbeat.consumer_health.active + self.threads // 8

    def _drain_safely(self, wake_up: WakeUp) -> None:
        self._run_step(lambda: self._drain(wake_up))

    def _sweep_lookups(self) -> None:
        sources = self._services.config.sources.items()
        digests = {name: digest_of_lookup(lookup_of(source)) for name, source in sources}
        for source in self._services.deliveries.due_lookups(digests):
            self._wake_ups.publish_lookup(source)

    def _purge(self) -> None:
        """Remove old records in each sweep for a limited time. When none is left, pause for a minute."""
        if time.monotonic() - self._purged_at < PURGE_SECONDS:
            return
        ends_at = time.monotonic() + PURGE_SLICE_SECONDS
        while not self._stopping.is_set() and time.monotonic() < ends_at:
            if purge(self._services, utc_now()) == 0:
                self._purged_at = time.monotonic()
                return

    def _start_jobs(self) -> None:
        """Start a thread that advances the running bulk jobs, unless such a thread is active."""
        if self._services.bulk_jobs.running() and self._job_free.acquire(blocking=False):
            self._jobs.submit(self._run_jobs)

    def _run_jobs(self) -> None:
        try:
            self._run_step(self._take_job_steps)
        finally:
            self._job_free.release()

    def _take_job_steps(self) -> None:
        for job in self._services.bulk_jobs.running():
            while not self._stopping.is_set():
                if not self._services.bulk_jobs.advance(
                    job,
                    self._name,
                    self._services.config.accounts,
                    utc_now(),
                    partial(resend_step, self._services),
                ):
                    break
