"""Calls that the sandbox received, with fingerprints of their tokens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.timestamps import iso_milliseconds

if TYPE_CHECKING:
    from datetime import datetime


def fingerprint(token: str) -> str:
    """Return the first 8 hex digits of the SHA-256 of a token, or "" without a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:8] if token else ""


@dataclass(slots=True)
class ReceivedCall:
    """A received call. The fields are updated while the call is processed."""

    seq: int
    received_at: datetime
    token: str = field(repr=False)
    method: str
    path: str
    query: dict[str, str]
    body: Any
    finished_at: datetime | None = None
    status: int | None = None
    code: str | None = None
    rule: int | None = None
    in_flight: int = 1
    answered: bool = False
    fingerprint: str = ""

    @property
    def customer_id(self) -> str | None:
        """The customer id from the body or else from the query string, None if there is none."""
        return self.body_text("customer_id") or self.query.get("customer_id")

    @property
    def campaign_id(self) -> str | None:
        """The campaign id from the query string, None if there is none."""
        return self.query.get("campaign_id")

    def body_text(self, name: str) -> str | None:
        """Return a field of the body as text. Return None without a JSON object, a field or a value."""
        found = self.body.get(name) if isinstance(self.body, dict) else None
        return None if found is None else str(found)

    def to_json(self) -> dict[str, Any]:
        """Return the call as a JSON object, with a fingerprint instead of the token."""
        return {
            "seq": self.seq,
            "received_at": iso(self.received_at),
            "finished_at": None if self.finished_at is None else iso(self.finished_at),
            "token": self.fingerprint,
            "method": self.method,
            "path": self.path,
            "query": self.query,
            "body": self.body,
            "status": self.status,
            "code": self.code,
            "rule": self.rule,
            "in_flight": self.in_flight,
            "answered": self.answered,
        }


def iso(moment: datetime) -> str:
    """Return a UTC time in ISO 8601 with milliseconds and Z."""
    return iso_milliseconds(moment).replace("+00:00", "Z")


def json_value(body: bytes) -> Any:
    """Return a body parsed as JSON, as text if it is not JSON, or None if it is empty."""
    try:
        return orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
