"""Stores the results of deliveries and of API requests, and publishes wake-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.domain.errors import UnboundError
from integration.store.deliveries import RetentionTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.domain.delivery import Delivery
    from integration.domain.recall import Recall, RecallRequest
    from integration.mapping.planner import EventPlan
    from integration.services.binding import QueueBinding
    from integration.services.configuration import Configuration
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.deliveries import Admitted, DeliveryStore, StoredEvents
    from integration.store.monitoring.durability_watch import DurabilityWatch


class Admission:
    """Admits recalls to their queues. Methods that write to the store raise StoreAwayError."""

    def __init__(
        self,
        configuration: Configuration,
        binding: QueueBinding,
        deliveries: DeliveryStore,
        durability: DurabilityWatch,
        wake_ups: WakeUpPublisher,
    ) -> None:
        self._configuration = configuration
        self._binding = binding
        self._deliveries = deliveries
        self._durability = durability
        self._wake_ups = wake_ups

    def retention(self, source: str) -> RetentionTerms:
        """Return how long the events of a source are stored and recognized as duplicates."""
        config = self._configuration.current
        return RetentionTerms(
            dedup_hours=config.sources[source].dedup_hours,
            raw_retention_days=config.store.raw_retention_days,
            config_digest=config.digest,
        )

    def admit(self, delivery: Delivery, plans: Sequence[EventPlan], raw: bytes) -> Admitted:
        """Store the results of a delivery and publish wake-ups. `raw` is the body to be stored."""
        retention = self.retention(delivery.source)
        admitted = self._bound_first(lambda: self._deliveries.admit(delivery, plans, retention, raw=raw))
        self._wake(admitted)
        return admitted

    def admit_one(
        self, request: RecallRequest, *, expired: str | None, key: str, fingerprint: str
    ) -> Admitted:
        """Store one recall requested through the API, and publish wake-ups.

        If its date has passed and it is not queued, `expired` is the reason, else None. `key` identifies
        a repeated request, and `fingerprint` the content of the request.
        """
        admitted = self._bound_first(
            lambda: self._deliveries.admit_one(request, expired=expired, key=key, fingerprint=fingerprint)
        )
        self._wake(admitted)
        return admitted

    def admit_again(self, request: RecallRequest, recall: Recall, reason: str, key: str = "") -> Admitted:
        """Store a recall that an operator requested again, and publish wake-ups.

        `key` identifies a repeated request; it is "" if repetitions are not detected.
        """
        admitted = self._bound_first(lambda: self._deliveries.admit_again(request, recall, reason, key))
        self._wake(admitted)
        return admitted

    def resolve(
        self, stored: StoredEvents, plans: Sequence[EventPlan], *, parked: bool, wait_seconds: float = 0.0
    ) -> Admitted | None:
        """Replace stored events by the results of their plans, and publish wake-ups.

        `parked` is True for parked events, False for events of a lookup. Events whose plan is Pending
        again are looked up after `wait_seconds`. Return None if another process has resolved the events.
        """
        self._durability.require_safe()
        self._binding.bind()
        retention = self.retention(stored.delivery.source)
        admitted = self._deliveries.resolve(
            stored, plans, retention, parked=parked, wait_seconds=wait_seconds
        )
        if admitted is not None:
            self._wake(admitted)
        return admitted

    def _bound_first(self, act: Callable[[], Admitted]) -> Admitted:
        self._durability.require_safe()
        self._binding.bind()
        try:
            return act()
        except UnboundError:
            # The store was emptied, replaced or restored, and has lost the binding.
            self._binding.forget()
            self._binding.bind()
            return act()

    def _wake(self, admitted: Admitted) -> None:
        for wake_up in admitted.wake_ups:
            self._wake_ups.publish(wake_up)
        if admitted.lookup is not None:
            self._wake_ups.publish_lookup(admitted.lookup)
