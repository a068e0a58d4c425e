"""Retries and cancels recalls, and requests ended recalls again, for operators and API clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.domain import schedule
from integration.domain.errors import ConflictError
from integration.domain.recall import ENDS
from integration.mapping.planner import request_again
from integration.services.bulk_jobs import retry_date
from integration.store.deliveries import digest_of

if TYPE_CHECKING:
    from datetime import datetime

    from integration.services.admission import Admission
    from integration.services.configuration import Configuration
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.monitoring.durability_watch import DurabilityWatch
    from integration.store.recalls import RecallStore


class RecallService:
    """Retries and cancels recalls, and requests ended recalls again. `records` reads recalls."""

    def __init__(
        self,
        configuration: Configuration,
        records: RecallStore,
        admission: Admission,
        durability: DurabilityWatch,
        wake_ups: WakeUpPublisher,
    ) -> None:
        self.records = records
        self._admission = admission
        self._durability = durability
        self._configuration = configuration
        self._wake_ups = wake_ups

    def cancel(self, recall_id: str, reason: str) -> None:
        """Cancel a queued recall. Raise NotFoundError, ConflictError, StoreAwayError.

        StoreAwayError is also raised while the store may lose the cancellation.
        """
        self._durability.require_safe()
        for wake_up in self.records.cancel(recall_id, reason):
            self._wake_ups.publish(wake_up)

    def retry(self, recall_id: str, reason: str, now: datetime) -> None:
        """Queue a dead or expired recall again, as soon as possible if its date has passed.

        Raise NotFoundError, ConflictError, StoreAwayError. StoreAwayError is also raised while the store
        may lose the retry.
        """
        self._durability.require_safe()
        recall = self.records.get(recall_id)
        date = retry_date(self._configuration.current.accounts.get(recall.account), recall, now)
        for wake_up in self.records.retry(recall_id, reason, date=date):
            self._wake_ups.publish(wake_up)

    def ask_again(self, recall_id: str, date: str, who: str, now: datetime, *, once: str = "") -> str:
        """Request an ended recall again, and return the id of the new recall.

        `date` has the form of a `recall_date`; without an offset it is in the account's zone, and ""
        means as soon as possible. `who` is the user or API key. A repeated call for the recall with the
        same `once` and `date` returns the new recall of the first call, unless `once` is "". Raise
        UnmappableError for an invalid date, ConflictError if the recall has not ended or its account is
        not in the configuration, NotFoundError, and StoreAwayError.
        """
        recall = self.records.get(recall_id)
        account = self._configuration.current.accounts.get(recall.account)
        if recall.state not in ENDS:
            raise ConflictError(recall.state)
        if account is None:
            raise ConflictError(recall.state, "the account is no longer in the configuration")
        wanted = schedule.read_date(account, date, now) if date else now.replace(microsecond=0)
        request = request_again(account, recall, wanted.astimezone(account.timezone), now)
        key = digest_of("ask again", recall.id, once, date) if once else ""
        admitted = self._admission.admit_again(request, recall, f"requested again by {who}", key)
        return admitted.answer.recalls[0]
