"""What the web and the workers report to an operator's error tracker."""

from __future__ import annotations

from typing import Protocol


class FailedRecall(Protocol):
    """A recall that is dead, with the values that must not leave."""

    @property
    def recall_id(self) -> str:
        """The recall's id."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def campaign_id(self) -> str:
        """The campaign; it must not leave."""

    @property
    def customer_id(self) -> str:
        """The customer; it must not leave."""

    @property
    def telephone(self) -> str:
        """The telephone number; it must not leave."""


class StoreLoss(Protocol):
    """How the store lost some of its history; `missing` counts changes, None if that is not known."""

    @property
    def how(self) -> str:
        """What happened to the store, in words."""

    @property
    def missing(self) -> int | None:
        """How many changes are missing at least; None if that is not known."""


class Reporter(Protocol):
    """Receives what an operator should know. `telemetry.sentry.SentryReporter` sends it to Sentry."""

    def dead(self, recall: FailedRecall, verdict: str, reason: str) -> None:
        """Take note of a recall that is dead."""

    def stopped(self, account: str, reason: str) -> None:
        """Take note of a queue that stopped."""

    def alert_begins(self, kind: str, subject: str) -> None:
        """Take note of an alert that begins."""

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Take note of an alert that is over."""

    def swept(self, seconds: float) -> None:
        """Take note, once a minute over all workers, that due queues are looked for; `seconds` it took."""

    def consumers_stalled(self, worker: str, seconds: float) -> None:
        """Take note of a worker that has taken no wake-up for so many seconds, though some are published."""

    def consumers_recovered(self, worker: str, seconds: float) -> None:
        """Take note of a worker that takes wake-ups again, after so many seconds."""

    def store_lost(self, loss: StoreLoss) -> None:
        """Take note that the store lost some of its history."""
