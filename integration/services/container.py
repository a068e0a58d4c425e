"""The services of one process, composed for the web, the command line and the workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.services.accounts import AccountService
from integration.services.admission import Admission
from integration.services.binding import QueueBinding
from integration.services.bulk_jobs import BulkJobs
from integration.services.configuration import Configuration
from integration.services.parked import ParkedService
from integration.services.personal_data.erasure import PersonalData
from integration.services.recalls import RecallService
from integration.store.audit import AuditLog
from integration.store.deliveries import DeliveryStore
from integration.store.delivery_log import DeliveryLog
from integration.store.monitoring.alerts import AlertStore
from integration.store.monitoring.config_changes import ConfigChanges
from integration.store.monitoring.counter_flusher import CounterFlusher
from integration.store.monitoring.durability_watch import DurabilityWatch
from integration.store.monitoring.lookup_status import LookupStatusStore
from integration.store.monitoring.problem_notes import ProblemNoteStore
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.monitoring.schedule_histogram import ScheduleHistogram
from integration.store.monitoring.source_status import SourceStatusStore
from integration.store.monitoring.time_series import TimeSeries
from integration.store.parked import ParkedStore
from integration.store.recalls import RecallStore
from integration.store.search.saved_views import SavedViews
from integration.store.search.stored import StoredSearches
from integration.store.sessions import SessionStore
from integration.store.token_queue import TokenQueues
from integration.telemetry.counters import Counters

if TYPE_CHECKING:
    from integration.config.models import Config
    from integration.config.watcher import ConfigWatch
    from integration.mapping.routes import CompiledRoutes
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.client import Store


class Services:
    """The services of one process, one attribute for each subject. All threads of the process share them.

    A web app, command or worker creates the instance from a configuration watch and a store. Flask views,
    commands and tasks call its attributes, for example `services.recalls.retry(…)`. Repositories
    (`queues`, `deliveries`, …) read and write records. Services (`admission`, `accounts`, …) decide,
    store, and publish wake-ups.
    """

    def __init__(
        self,
        watch: ConfigWatch,
        store: Store,
        wake_ups: WakeUpPublisher,
        counters: Counters | None = None,
    ) -> None:
        self.store = store
        self.wake_ups = wake_ups
        self.configuration = Configuration(watch, ConfigChanges(store))
        self.counters = Counters() if counters is None else counters
        self.counter_flusher = CounterFlusher(store, self.counters)
        # Repositories, one for each kind of record.
        self.queues = TokenQueues(store)
        self.deliveries = DeliveryStore(store)
        self.delivery_log = DeliveryLog(store)
        self.audit = AuditLog(store)
        self.sessions = SessionStore(store)
        self.searches = StoredSearches(store)
        self.saved_views = SavedViews(store)
        self.alerts = AlertStore(store)
        self.problem_notes = ProblemNoteStore(store)
        self.processes = ProcessRegistry(store)
        self.schedule = ScheduleHistogram(store)
        self.source_status = SourceStatusStore(store)
        self.lookup_status = LookupStatusStore(store)
        self.time_series = TimeSeries(store)
        self.durability = DurabilityWatch(store, lambda: self.config.store.accept_loss)
        recalls = RecallStore(store)
        # Services that use them.
        self.binding = QueueBinding(self.configuration, store, self.queues, self.durability)
        self.admission = Admission(
            self.configuration, self.binding, self.deliveries, self.durability, wake_ups
        )
        self.recalls = RecallService(self.configuration, recalls, self.admission, self.durability, wake_ups)
        self.bulk_jobs = BulkJobs(store, recalls, self.durability, wake_ups.publish)
        self.personal_data = PersonalData(store, recalls)
        self.parked = ParkedService(self.configuration, ParkedStore(store), self.deliveries, self.admission)
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
        """Return the current configuration, after a check for changed files."""
        return self.configuration.current

    @property
    def routes(self) -> CompiledRoutes:
        """Return the compiled routes of the current configuration."""
        return self.configuration.routes
