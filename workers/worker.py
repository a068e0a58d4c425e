"""A worker process: its configuration, its store, its drains, its lookups, and the sweep between them.

The sweep looks about twice a second which lanes and lookups are due and publishes their wake-ups. Where one
stays untaken though threads are free, it drains the lane by itself: a lost wake-up, or consumers that stay
deaf after an outage of the broker, delay work by seconds only.
"""

from __future__ import annotations

import random
import secrets
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from integration.alerts.monitor import Watchman
from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import Line, judge
from integration.domain.errors import StoreAwayError
from integration.domain.schedule import apply
from integration.services.desk import Desk, accounts_by_lane
from integration.services.heartbeat import Pulse
from integration.store.client import Store, connect
from integration.telemetry.counters import SWEEP, SWEEP_LAG
from workers.drain import Drain, Tools, utc_now
from workers.lookups import LookupDesk

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.config.models import Config
    from integration.config.watcher import ConfigWatch
    from integration.domain.account import Account
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.epoch import Witness
    from integration.store.token_queue import WakeUp
    from integration.telemetry.counters import Tally
    from integration.telemetry.reporter import Reporter

log = structlog.get_logger("ringback.worker")

SWEEP_SECONDS = 0.5
PURGE_SECONDS = 60.0
PURGE_SLICE_SECONDS = 0.1
CHECK_IN_SECONDS = 60.0
# Celery's consumers may be deaf for 16 s after the broker was away; until then these carry the work.
SWEEP_DRAINS = 16


@dataclass(frozen=True, slots=True)
class _Known:
    """The accounts of each lane, as one configuration and the key of one store have them."""

    config: Config
    key: bytes
    lanes: dict[str, dict[str, Account]]


class Engine:
    """Everything a worker process shares between its threads."""

    def __init__(
        self,
        watch: ConfigWatch,
        store: Store,
        wake_ups: WakeUpPublisher,
        reporter: Reporter,
        tally: Tally | None = None,
    ) -> None:
        store.on_loss = reporter.store_lost
        self.desk = Desk(watch, store, wake_ups, tally)
        self._tally = self.desk.tally
        self.stopping = threading.Event()
        # How many wake-ups are worked on at once; Celery says so when it is ready.
        self.threads = 0
        self._wake_ups = wake_ups
        self._known: _Known | None = None
        self._knowing = threading.Lock()
        self._tools = Tools(
            lanes=self.desk.lanes,
            open_line=Line,
            judge=judge,
            reporter=reporter,
            boottime=boottime,
            now=utc_now,
            jitter=random.random,
            sleep=time.sleep,
            stopping=self.stopping.is_set,
            reschedule=apply,
            tally=self._tally,
        )
        self.lookups = LookupDesk(self.desk)
        self.watchman = Watchman(self.desk, store.who, reporter)
        self.pulse = Pulse(self.desk.processes, store.who, reporter)
        self._drainers = ThreadPoolExecutor(SWEEP_DRAINS, thread_name_prefix="sweep-drain")
        self._draining: list[Future[None]] = []
        self._sweeper: threading.Thread | None = None
        self._purged_at = -PURGE_SECONDS
        self._steps = (
            *(self.desk.bind, self._sweep_lanes, self._sweep_lookups),
            *(self._go_on, self._purge),
        )
        self._name = secrets.token_hex(8)
        self._jobs = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._job_free = threading.Semaphore(1)
        self._reporter = reporter
        self._checked_in_at = -CHECK_IN_SECONDS

    def take(self, wake_up: WakeUp) -> None:
        """Drain a lane whose wake-up Celery handed over. Never raises StoreAwayError."""
        with self.pulse.hearing.taking():
            self.drain(wake_up)

    def look_up(self, source: str) -> None:
        """Make the lookups of a source whose wake-up Celery handed over. Raises StoreAwayError."""
        with self.pulse.hearing.taking():
            self.lookups.look_up(source)

    def drain(self, wake_up: WakeUp) -> None:
        """Drain a lane for a bounded time, then publish its next wake-up if work is left."""
        accounts = None if self.stopping.is_set() else self._accounts(wake_up.lane)
        if accounts is None:
            return
        again = Drain(self._tools, wake_up.lane, accounts).run(wake_up)
        if again is not None:
            self._wake_ups.publish(again)

    def _accounts(self, lane: str) -> dict[str, Account] | None:
        """Give the accounts of a lane; None when this configuration does not have it."""
        config = self.desk.config
        known = self._known
        if known is None or known.config is not config or lane not in known.lanes:
            known = self._learn(config)
        return None if known is None else known.lanes.get(lane)

    def _learn(self, config: Config) -> _Known | None:
        """Name the lanes anew; None when that cannot be done now."""
        with self._knowing:
            known = self._known
            try:
                # Asked again: a store that was emptied or replaced meanwhile has another key.
                key = self.desk.lanes.id_key()
            except StoreAwayError:
                if known is None:
                    return None
                key = known.key
            if known is None or known.config is not config or known.key != key:
                lanes = accounts_by_lane(config, key)
                known = _Known(
                    config, key, {lane: {a.name: a for a in found} for lane, found in lanes.items()}
                )
                self._known = known
            return known

    def start(self) -> None:
        """Start the sweep, the pulse, and the counting into the store."""
        self.pulse.start()
        self.watchman.start()
        self.desk.tallies.switch_on(always=True)
        self._sweeper = threading.Thread(target=self._sweep_on, name="sweep", daemon=True)
        self._sweeper.start()

    def stop(self) -> None:
        """Let drains end after the call in flight, and no new one begin."""
        self.stopping.set()
        self.pulse.stop()
        self.watchman.stop()
        self.desk.tallies.let_end()
        self._drainers.shutdown(wait=False, cancel_futures=True)
        self._jobs.shutdown(wait=False, cancel_futures=True)

    def _sweep_on(self) -> None:
        planned = time.monotonic() + SWEEP_SECONDS
        while not self.stopping.wait(SWEEP_SECONDS):
            began = time.monotonic()
            self._tally.observe(SWEEP_LAG, max(0.0, began - planned))
            for step in self._steps:
                self._tolerantly(step)
            self.pulse.swept()
            self.desk.store.witness.keep()
            took = time.monotonic() - began
            self._tally.observe(SWEEP, took)
            self._tolerantly(lambda: self._check_in(took))  # noqa: B023  (called at once)
            planned = began + SWEEP_SECONDS

    def _tolerantly(self, step: Callable[[], object]) -> None:
        try:
            step()
        except StoreAwayError as error:
            log.warning("the store is away", during=getattr(step, "__name__", "sweep"), error=str(error))
        except Exception:
            # The sweep is what finds work that was lost; no fault of one step may end it.
            log.exception("the sweep goes on after a fault", during=getattr(step, "__name__", "sweep"))

    def _check_in(self, seconds: float) -> None:
        """Say once a minute, over all workers, that there is a sweep and how long it took."""
        now = time.monotonic()
        if now - self._checked_in_at < CHECK_IN_SECONDS:
            return
        self._checked_in_at = now
        if self.desk.alerts.first_this_minute("sweep"):
            self._reporter.swept(seconds)

    def _sweep_lanes(self) -> None:
        for wake_up, times in self.desk.lanes.sweep(self._room()):
            self._wake_ups.publish(wake_up)
            if times > 1 and len(self._draining) < SWEEP_DRAINS:
                self.pulse.hearing.untaken()
                self._draining.append(self._drainers.submit(self._drain_tolerantly, wake_up))

    def _room(self) -> int:
        """Return for how many untaken wake-ups there is a thread, of Celery or of the sweep."""
        self._draining = [each for each in self._draining if not each.done()]
        if self._crowded():
            return 0
        return max(SWEEP_DRAINS - len(self._draining), self.threads - self.pulse.hearing.active)

    def _crowded(self) -> bool:
        """Return whether all threads are busy but for those that Celery is about to use."""
        return 0 < self.threads <= self.pulse.hearing.active + self.threads // 8

    def _drain_tolerantly(self, wake_up: WakeUp) -> None:
        self._tolerantly(lambda: self.drain(wake_up))

    def _sweep_lookups(self) -> None:
        for source in self.desk.ledger.due_lookups(self.desk.config.sources):
            self._wake_ups.publish_lookup(source)

    def _purge(self) -> None:
        """Remove what is old, for a moment in each sweep, until nothing is left; then rest for a minute."""
        if time.monotonic() - self._purged_at < PURGE_SECONDS:
            return
        ends_at = time.monotonic() + PURGE_SLICE_SECONDS
        while not self.stopping.is_set() and time.monotonic() < ends_at:
            if self.desk.purge(utc_now()) == 0:
                self._purged_at = time.monotonic()
                return

    def _go_on(self) -> None:
        """Let a thread go on with the jobs there are; one that runs already finds the new ones too."""
        if self.desk.jobs.running() and self._job_free.acquire(blocking=False):
            self._jobs.submit(self._work_off_jobs)

    def _work_off_jobs(self) -> None:
        try:
            self._tolerantly(self._take_job_steps)
        finally:
            self._job_free.release()

    def _take_job_steps(self) -> None:
        for job in self.desk.jobs.running():
            while not self.stopping.is_set():
                if not self.desk.jobs.advance(job, self._name, self.desk.config.accounts, utc_now()):
                    break


def worker_store(url: str, witness: Witness) -> Store:
    """Connect a worker: it may wait longer for the store than a sender may."""
    return Store(connect(url, timeout_seconds=5.0, connect_seconds=2.0), kind="worker", witness=witness)
