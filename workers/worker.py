"""A worker process: drains queues and runs lookups after wake-ups from Celery, and runs the sweep."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.alerts.monitor import AlertMonitor
from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.domain.errors import StoreAwayError
from integration.domain.schedule import reschedule
from integration.services.binding import accounts_by_queue
from integration.services.container import Services
from integration.services.heartbeat import Heartbeat
from integration.store.client import Store, connect
from workers.drain import Drain, DrainDependencies, utc_now
from workers.lookups import LookupRunner
from workers.sweeper import Sweeper

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.config.watcher import ConfigWatch
    from integration.domain.account import Account
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.scripting.epoch import StoreEpoch
    from integration.store.token_queue import WakeUp
    from integration.telemetry.counters import Counters
    from integration.telemetry.reporter import Reporter


@dataclass(frozen=True, slots=True)
class _QueueAccounts:
    """The accounts of each queue, for one configuration and one key for queue ids."""

    config: Config
    key: bytes
    queues: dict[str, dict[str, Account]]


class Worker:
    """The objects that the threads of a worker process share."""

    def __init__(
        self,
        watch: ConfigWatch,
        store: Store,
        wake_ups: WakeUpPublisher,
        reporter: Reporter,
        counters: Counters | None = None,
    ) -> None:
        store.report_losses(reporter.store_lost)
        self.services = Services(watch, store, wake_ups, counters)
        self.stopping = threading.Event()
        self._wake_ups = wake_ups
        self._known: _QueueAccounts | None = None
        self._queues_lock = threading.Lock()
        self._tools = DrainDependencies(
            queues=self.services.queues,
            open_connection=WolkvoxConnection,
            verdict_of=verdict_of,
            reporter=reporter,
            boottime=boottime,
            now=utc_now,
            jitter=random.random,
            sleep=time.sleep,
            stopping=self.stopping.is_set,
            reschedule=reschedule,
            counters=self.services.counters,
        )
        self.lookups = LookupRunner(self.services)
        self.alert_monitor = AlertMonitor(self.services, store.process_id, reporter)
        self.heartbeat = Heartbeat(self.services.processes, store.process_id, reporter)
        self.sweeper = Sweeper(self.services, wake_ups, self.heartbeat, reporter, self.drain, self.stopping)

    def handle_wake_up(self, wake_up: WakeUp) -> None:
        """Drain the queue of a wake-up received from Celery.

        If the store is unavailable, raise nothing, because the sweep publishes the wake-up again.
        """
        with self.heartbeat.consumer_health.taking():
            self.drain(wake_up)

    def look_up(self, source: str) -> None:
        """Run the lookups of a source after a wake-up from Celery. Raise StoreAwayError."""
        with self.heartbeat.consumer_health.taking():
            self.lookups.look_up(source)

    def drain(self, wake_up: WakeUp) -> None:
        """Drain a queue for a bounded time, then publish its next wake-up if work is left.

        Do nothing if the worker is stopping, or if its configuration does not have the queue.
        """
        accounts = None if self.stopping.is_set() else self._accounts(wake_up.queue)
        if accounts is None:
            return
        again = Drain(self._tools, wake_up.queue, accounts).run(wake_up)
        if again is not None:
            self._wake_ups.publish(again)

    def _accounts(self, queue: str) -> dict[str, Account] | None:
        """Return the accounts of a queue by name, or None if the queue is unknown."""
        config = self.services.config
        known = self._known
        if known is None or known.config is not config or queue not in known.queues:
            known = self._read_queues(config)
        return None if known is None else known.queues.get(queue)

    def _read_queues(self, config: Config) -> _QueueAccounts | None:
        """Return the accounts by queue id.

        If the key for queue ids cannot be read, use the last key. Return None if there is no last key.
        """
        with self._queues_lock:
            known = self._known
            try:
                # Read the key again, because a store that was emptied or replaced has another one.
                key = self.services.queues.id_key()
            except StoreAwayError:
                if known is None:
                    return None
                key = known.key
            if known is None or known.config is not config or known.key != key:
                queues = accounts_by_queue(config, key)
                known = _QueueAccounts(
                    config, key, {queue: {a.name: a for a in found} for queue, found in queues.items()}
                )
                self._known = known
            return known

    def start(self) -> None:
        """Start the sweep, the heartbeat, the durability watch, the alert monitor and the counter flusher."""
        self.heartbeat.start()
        self.services.durability.start()
        self.alert_monitor.start()
        self.services.counter_flusher.start(always=True)
        self.sweeper.start()

    def stop(self) -> None:
        """Prevent further drains, and stop the sweep, heartbeat, alert monitor and counter flusher.

        Drains in progress end after the current call.
        """
        self.stopping.set()
        self.heartbeat.stop()
        self.alert_monitor.stop()
        self.services.counter_flusher.stop()
        self.sweeper.stop()


def worker_store(url: str, epoch: StoreEpoch) -> Store:
    """Return the store of a worker, with longer timeouts than the store of a web process."""
    return Store(connect(url, timeout_seconds=5.0, connect_seconds=2.0), kind="worker", epoch=epoch)
