"""Retries and cancels recalls, for operators and API clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.services.bulk_jobs import retry_date

if TYPE_CHECKING:
    from datetime import datetime

    from integration.services.configuration import Configuration
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.recalls import RecallStore


class RecallService:
    """Retries and cancels recalls; `records` reads them."""

    def __init__(self, configuration: Configuration, records: RecallStore, wake_ups: WakeUpPublisher) -> None:
        self.records = records
        self._configuration = configuration
        self._wake_ups = wake_ups

    def cancel(self, recall_id: str, reason: str) -> None:
        """Cancel a queued recall. Raise UnknownError, ConflictError, StoreAwayError."""
        for wake_up in self.records.cancel(recall_id, reason):
            self._wake_ups.publish(wake_up)

    def retry(self, recall_id: str, reason: str, now: datetime) -> None:
        """Queue a dead or expired recall again, as soon as possible if its date has passed.

        Raise UnknownError, ConflictError, StoreAwayError.
        """
        recall = self.records.get(recall_id)
        date = retry_date(self._configuration.current.accounts.get(recall.account), recall, now)
        for wake_up in self.records.retry(recall_id, reason, date=date):
            self._wake_ups.publish(wake_up)
