"""The interface through which the web and the workers report to an error tracker."""

from __future__ import annotations

from typing import Protocol


class FailedRecall(Protocol):
    """A dead recall, including customer data that must not be sent."""

    @property
    def recall_id(self) -> str:
        """The recall's id."""

    @property
    def account(self) -> str:
        """The account's name."""

    @property
    def campaign_id(self) -> str:
        """The campaign's id. It must not be sent."""

    @property
    def customer_id(self) -> str:
        """The customer's id. It must not be sent."""

    @property
    def telephone(self) -> str:
        """The telephone number. It must not be sent."""


class StoreLoss(Protocol):
    """A loss of changes in the store."""

    @property
    def how(self) -> str:
        """A description of what happened to the store."""

    @property
    def missing(self) -> int | None:
        """The minimum number of missing changes, or None if unknown."""


class Reporter(Protocol):
    """Receives reports for the operator. `telemetry.sentry.SentryReporter` sends them to Sentry."""

    def dead(self, recall: FailedRecall, verdict: str, reason: str) -> None:
        """Report a dead recall."""

    def stopped(self, account: str, reason: str) -> None:
        """Report a stopped queue."""

    def alert_begins(self, kind: str, subject: str) -> None:
        """Report the beginning of an alert."""

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Report the end of an alert."""

    def swept(self, seconds: float) -> None:
        """Report, once a minute over all workers, that the sweep runs. `seconds` is its duration."""

    def consumers_stalled(self, worker: str, seconds: float) -> None:
        """Report a worker that has consumed no wake-up for `seconds`, although some were published."""

    def consumers_recovered(self, worker: str, seconds: float) -> None:
        """Report a worker that consumes wake-ups again, after `seconds`."""

    def store_lost(self, loss: StoreLoss) -> None:
        """Report that the store lost changes."""
