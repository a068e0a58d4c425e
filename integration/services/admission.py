"""Stores what follows from a delivery, or from a request of `/v1`, and publishes wake-ups."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.domain.errors import UnboundError
from integration.store.deliveries import RetentionTerms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.domain.delivery import Delivery
    from integration.domain.recall import RecallRequest
    from integration.mapping.planner import Outcome
    from integration.services.binding import QueueBinding
    from integration.services.configuration import Configuration
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.deliveries import Admitted, DeliveryStore, StoredEvents


class Admission:
    """Admits recalls to their queues. Every method raises StoreAwayError."""

    def __init__(
        self,
        configuration: Configuration,
        binding: QueueBinding,
        deliveries: DeliveryStore,
        wake_ups: WakeUpPublisher,
    ) -> None:
        self._configuration = configuration
        self._binding = binding
        self._deliveries = deliveries
        self._wake_ups = wake_ups

    def keeping(self, source: str) -> RetentionTerms:
        """Return how events of a source are remembered."""
        config = self._configuration.current
        return RetentionTerms(
            dedup_hours=config.sources[source].dedup_hours,
            raw_retention_days=config.store.raw_retention_days,
            config_digest=config.digest,
        )

    def admit(self, delivery: Delivery, outcomes: Sequence[Outcome], raw: bytes) -> Admitted:
        """Store what follows from a delivery and publish wake-ups. `raw` is the body as it is kept."""
        keeping = self.keeping(delivery.source)
        admitted = self._bound_first(lambda: self._deliveries.admit(delivery, outcomes, keeping, raw=raw))
        self._wake(admitted)
        return admitted

    def admit_one(
        self, request: RecallRequest, *, expired: str | None, key: str, fingerprint: str
    ) -> Admitted:
        """Store one recall that was asked for directly, and publish wake-ups."""
        admitted = self._bound_first(
            lambda: self._deliveries.admit_one(request, expired=expired, key=key, fingerprint=fingerprint)
        )
        self._wake(admitted)
        return admitted

    def resolve(self, kept: StoredEvents, outcomes: Sequence[Outcome], *, parked: bool) -> Admitted | None:
        """Store what kept events turned out to be, in their place, and publish wake-ups.

        Return None if another process did so first.
        """
        self._binding.bind()
        keeping = self.keeping(kept.delivery.source)
        admitted = self._deliveries.resolve(kept, outcomes, keeping, parked=parked)
        if admitted is not None:
            self._wake(admitted)
        return admitted

    def _bound_first(self, act: Callable[[], Admitted]) -> Admitted:
        self._binding.bind()
        try:
            return act()
        except UnboundError:
            # The store is another one than it was: emptied, or restored from before.
            self._binding.forget()
            self._binding.bind()
            return act()

    def _wake(self, admitted: Admitted) -> None:
        for wake_up in admitted.wake_ups:
            self._wake_ups.publish(wake_up)
        if admitted.lookup is not None:
            self._wake_ups.publish_lookup(admitted.lookup)
