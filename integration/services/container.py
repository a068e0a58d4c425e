"""The services of one process, composed for the web, the command line and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.services.accounts import AccountService
from integration.services.admission import Admission
from integration.services.binding import QueueBinding
from integration.services.bulk_jobs import Jobs
from integration.services.configuration import Configuration
from integration.services.parked import ParkedService
from integration.services.personal_data.erasure import People
from integration.services.recalls import RecallService
from integration.store.audit import Audit
from integration.store.deliveries import Ledger
from integration.store.delivery_log import Arrivals
from integration.store.monitoring.alerts import Alerts
from integration.store.monitoring.counters import Tallies
from integration.store.monitoring.process_registry import Processes
from integration.store.monitoring.schedule_histogram import Agenda
from integration.store.monitoring.source_status import Senders
from integration.store.monitoring.time_series import Series
from integration.store.parked import Parking
from integration.store.recalls import Recalls
from integration.store.sessions import Sessions
from integration.store.token_queue import TokenQueues
from integration.telemetry.counters import Tally

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.config.watcher import ConfigWatch
    from integration.mapping.routes import RouteBook
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.client import Store


class Services:
    """One attribute per subject. It decides nothing and keeps no state of its own."""

    def __init__(
        self,
        watch: ConfigWatch,
        store: Store,
        wake_ups: WakeUpPublisher,
        counters: Tally | None = None,
    ) -> None:
        self.store = store
        self.configuration = Configuration(watch)
        self.counters = Tally() if counters is None else counters
        self.counter_flusher = Tallies(store, self.counters)
        # One kind of record each.
        self.queues = TokenQueues(store)
        self.deliveries = Ledger(store)
        self.delivery_log = Arrivals(store)
        self.audit = Audit(store)
        self.sessions = Sessions(store)
        self.alerts = Alerts(store)
        self.processes = Processes(store)
        self.schedule = Agenda(store)
        self.source_status = Senders(store)
        self.time_series = Series(store)
        recalls = Recalls(store)
        # Decisions on those records.
        self.binding = QueueBinding(self.configuration, store, self.queues)
        self.admission = Admission(self.configuration, self.binding, self.deliveries, wake_ups)
        self.recalls = RecallService(self.configuration, recalls, wake_ups)
        self.bulk_jobs = Jobs(store, recalls, wake_ups.publish)
        self.personal_data = People(store, recalls)
        self.parked = ParkedService(self.configuration, Parking(store), self.deliveries, self.admission)
        self.accounts = AccountService(
            configuration=self.configuration,
            store=store,
            queues=self.queues,
            binding=self.binding,
            processes=self.processes,
            time_series=self.time_series,
            wake_ups=wake_ups,
        )

    @property
    def config(self) -> Config:
        """The configuration that counts now; a changed file is read here."""
        return self.configuration.current

    @property
    def routes(self) -> RouteBook:
        """The compiled routes of that configuration."""
        return self.configuration.routes
