"""The interface for reports to an error tracker, used by the web and the workers."""

from __future__ import annotations

from typing import Protocol


class FailedRecall(Protocol):
    """A dead recall. It contains customer data that must not be sent."""

    @property
    def recall_id(self) -> str:
        """The id of the recall."""

    @property
    def account(self) -> str:
        """The name of the account."""

    @property
    def campaign_id(self) -> str:
        """The id of the campaign, which must not be sent."""

    @property
    def customer_id(self) -> str:
        """The id of the customer, which must not be sent."""

    @property
    def telephone(self) -> str:
        """The telephone number, which must not be sent."""


class StoreLoss(Protocol):
    """A loss of data in the store."""

    @property
    def how(self) -> str:
        """A description of the loss: "went back", "was emptied" or "was exchanged"."""

    @property
    def missing(self) -> int | None:
        """The minimum number of lost changes, or None if unknown."""


class Reporter(Protocol):
    """Sends reports to the operator's error tracker. `telemetry.sentry.SentryReporter` implements it."""

    def dead(self, recall: FailedRecall, verdict: str, reason: str) -> None:
        """Report a dead recall."""

    def stopped(self, account: str, reason: str) -> None:
        """Report a stopped queue."""

    def alert_begins(self, kind: str, subject: str) -> None:
        """Report the beginning of an alert."""

    def alert_is_over(self, kind: str, subject: str) -> None:
        """Report the end of an alert."""

    def swept(self, seconds: float) -> None:
        """Report that the sweep runs. `seconds` is the duration of the latest sweep.

        The caller limits these reports to one a minute over all workers.
        """

    def consumers_stalled(self, worker: str, seconds: float) -> None:
        """Report a worker that has taken no published wake-up for `seconds`."""

    def consumers_recovered(self, worker: str, seconds: float) -> None:
        """Report a worker that takes wake-ups again after `seconds`."""

    def store_lost(self, loss: StoreLoss) -> None:
        """Report a loss of data in the store."""
