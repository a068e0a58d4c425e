"""The CRMs that Ringback takes webhooks from: one module each, with the same five verbs.

`SOURCES` is the only registration; its keys are the words of `kind` in the configuration. A module is
pure: bytes and values in, values out; it reads no clock, opens no connection and stores nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from integration.webhooks.providers import hubspot, json, salesforce

if TYPE_CHECKING:
    from datetime import datetime

    from integration.domain.delivery import Answer, Delivery, Event, Refusal, Reply

__all__ = ["SOURCES", "SourceKind"]


class SourceKind(Protocol):
    """What a module must offer to be a kind of source. `settings` is the source's own table."""

    def verify(self, delivery: Delivery, settings: Any, now: datetime) -> str:
        """Say by what the delivery is proved to come from its source; `now` is aware.

        Raises NotVerifiedError (401); UnreadableError (400) and UnsupportedTypeError (415) only where the
        proof lies inside the body, and the part outside of it has passed.
        """

    def read(self, delivery: Delivery, settings: Any) -> tuple[Event, ...]:
        """Give the events of a verified delivery, in their order.

        Raises UnreadableError (400), UnsupportedTypeError (415).
        """

    def acknowledge(self, delivery: Delivery, settings: Any, outcome: Answer | Refusal) -> Reply:
        """Give the answer that this sender understands. Never raises."""

    def sign(
        self, body: bytes, settings: Any, *, url: str, method: str, message_id: str, now: datetime
    ) -> dict[str, str]:
        """Give the headers with which the sender would send `body`, content type included.

        They hold the proof, and sometimes the secret itself: for sending, never for a log.
        """

    def keep(self, delivery: Delivery, settings: Any) -> bytes:
        """Give the body as it may be stored: without credentials, and reading into the same events."""


SOURCES: dict[str, SourceKind] = {
    "hubspot": hubspot,
    "salesforce": salesforce,
    "json": json,
}
