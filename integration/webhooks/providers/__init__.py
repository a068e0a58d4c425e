"""The kinds of sources: one module each, with the five functions of `SourceKind`. Pure.

`SOURCES` is the registry. Its keys are the values of `kind` in the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from integration.webhooks.providers import hubspot, json, salesforce

if TYPE_CHECKING:
    from datetime import datetime

    from integration.domain.delivery import Answer, Delivery, ErrorAnswer, Event, Reply

__all__ = ["SOURCES", "SourceKind"]


class SourceKind(Protocol):
    """The functions that a module for a kind of source has. `settings` is the source's configuration."""

    def verify(self, delivery: Delivery, settings: Any, now: datetime) -> str:
        """Return the proof of a verified delivery. `now` is aware. Raise NotVerifiedError (401).

        If part of the proof is in the body, also raise UnreadableError (400) or UnsupportedTypeError
        (415), but only after the `url_key` has been verified.
        """

    def read(self, delivery: Delivery, settings: Any) -> tuple[Event, ...]:
        """Return the events of a verified delivery, in the order of the body.

        Raise UnreadableError (400) or UnsupportedTypeError (415).
        """

    def acknowledge(self, delivery: Delivery, settings: Any, outcome: Answer | ErrorAnswer) -> Reply:
        """Return the response to a result or an error, in the format that this sender expects."""

    def sign(
        self, body: bytes, settings: Any, *, url: str, method: str, message_id: str, now: datetime
    ) -> dict[str, str]:
        """Return the headers that the sender would send with `body`, including the content type.

        `now` is aware. The headers may contain the proof, for some schemes the secret itself. Do not log
        them. Raise CannotSignError if only the sender has the key.
        """

    def stored_body(self, delivery: Delivery, settings: Any) -> bytes:
        """Return the body to store, without the credentials in it.

        `read` returns the same events for it.
        """


SOURCES: dict[str, SourceKind] = {
    "hubspot": hubspot,
    "salesforce": salesforce,
    "json": json,
}
