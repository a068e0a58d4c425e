"""Delivery, Event, Answer, Reply: what arrives from a CRM and what goes back. Frozen values.

A delivery holds the bytes exactly as they came; an event is one thing that happened inside it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook request, as it arrived.

    `url` is the full URL as the sender signed it (scheme, host, path, query: `public_url` when it
    is configured). `headers` has names as `header_name` gives them; a header sent twice has its values
    joined by a comma. `received_at` is aware, UTC. `url_key` is the last part of the path where there
    was one. `proof` says by what it was verified, once it was; it names no secret. `client_address` is
    the peer's IP address, which may be a proxy's.
    """

    id: str
    source: str
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    received_at: datetime
    url_key: str | None = field(default=None, repr=False)
    proof: str = ""
    client_address: str = field(default="", repr=False)

    @property
    def content_type(self) -> str:
        """The media type without its parameters, in lower case; empty when none was sent."""
        return self.headers.get("content-type", "").split(";", 1)[0].strip().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened, inside a delivery.

    `data` is what templates see as `event` (JSON values only). `dedup_key` is what the sender gives
    that makes it the same event when sent again; None when it gives nothing, and then the body's
    hash stands in for ten minutes. `occurred_at` is the CRM's own time of the event, aware, or None.
    `lookup_id` is the record to be read before mapping (a HubSpot contact), where the source can.
    `record_id` is the CRM's own id of what the event is about, by which people look for it. `place` is
    the event's place in its delivery, from 0.
    """

    data: Any = field(repr=False)
    dedup_key: str | None = None
    occurred_at: datetime | None = None
    lookup_id: str | None = None
    record_id: str | None = None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What follows from a verified delivery, as it is stored and told to the sender.

    `delivery` is the delivery's id (the first one's, when it was seen before); `recalls` the recall
    ids in the order of the events; the numbers count events.
    """

    delivery: str
    recalls: tuple[str, ...] = ()
    ignored: int = 0
    parked: int = 0
    pending: int = 0
    cancelled: tuple[str, ...] = ()
    too_late: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A delivery that is not taken: the HTTP status and one plain sentence for the sender."""

    status: int
    title: str
    detail: str = ""
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer, ready to be sent."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def header_name(name: str) -> str:
    """Return a header's name as a delivery has it: in lower case.

    A delivery has no header with `_` in its name: the web drops those, since WSGI cannot tell `_` from `-`.
    """
    return name.lower()


def signed_url(
    public_url: str | None, headers: Mapping[str, str], *, scheme: str, path: str, query: str
) -> str:
    """Return the URL that the sender signed: `public_url`, else what the request and its proxies say.

    A proxy's word is good enough here: a wrong URL only makes the signature fail.
    """
    if public_url is not None:
        return f"{public_url}?{query}" if query and "?" not in public_url else public_url
    scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a request's headers as a delivery has them; values of one sent twice are joined by a comma."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = header_name(name)
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


def delivery_id(unique: str) -> str:
    """Make a delivery's id of a text that is its own."""
    return f"dl_{unique}"
