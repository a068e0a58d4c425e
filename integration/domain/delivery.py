"""Webhook requests, their events, and the responses to them. All values are frozen."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

QUERY = ":query"
"""The name under which the headers of a delivery hold its query string, undecoded. It is no header name.

The query string is stored with the headers, so that `delivery.query` is known when an event is mapped
again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One webhook request, with the bytes of its body exactly as they arrived.

    `url` is the URL from `signed_url`, with scheme, host, path and query. The names in `headers` are
    normalized by `header_name`; the values of a repeated header are joined by a comma. `received_at` is
    aware, UTC. `url_key` is the last part of the path, or None. `proof` is the verification method, or ""
    before verification; it contains no secret. `client_address` is the peer's IP address, which may be a
    proxy's.
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
        """The media type without its parameters, in lower case. Empty if the header is missing."""
        return self.headers.get("content-type", "").split(";", 1)[0].strip().lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in the CRM. A delivery has one or more events.

    `data` is the variable `event` of templates (JSON values only). `dedup_key` is the sender's id of the
    event, which is equal when the event is sent again. Without this id, an event is a duplicate while its
    body equals the newest request of its customer. `occurred_at` is the CRM's time of the event, aware,
    or None. `lookup_id` identifies the record that the source's lookup reads, or is None. `record_id` is
    the CRM's id of the event's record, by which users search. `place` is the event's index in its
    delivery, from 0.
    """

    data: Any = field(repr=False)
    dedup_key: str | None = None
    occurred_at: datetime | None = None
    lookup_id: str | None = None
    record_id: str | None = None
    place: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The result of a verified delivery, as it is stored and returned to the sender.

    `delivery` is the delivery's id; a repeated delivery has the id of the first one. `recalls` has the
    ids of recalls in the order of the events. `cancelled` has the ids of the recalls that the events
    cancelled, `too_late` the ids of those that wolkvox had already accepted. The other fields count
    events.
    """

    delivery: str
    recalls: tuple[str, ...] = ()
    ignored: int = 0
    parked: int = 0
    pending: int = 0
    cancelled: tuple[str, ...] = ()
    too_late: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """The response to a rejected delivery: the HTTP status, a title, and a detail or ""."""

    status: int
    title: str
    detail: str = ""
    retry_after_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response with status, headers and body."""

    status: int
    body: bytes
    content_type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@lru_cache(maxsize=1024)
def header_name(name: str) -> str:
    """Return a header's name in lower case, as deliveries store it.

    The web drops headers with `_` in their name, because WSGI does not distinguish `_` from `-`.
    """
    return name.lower()


def signed_url(
    public_url: str | None, headers: Mapping[str, str], *, scheme: str, path: str, query: str
) -> str:
    """Return the URL that the sender signed: `public_url`, or the URL of the request if it is None.

    The query of the request is added to a `public_url` without a query. `X-Forwarded-Proto` and
    `X-Forwarded-Host` are used without a check, because a wrong URL only makes the signature invalid.
    """
    if public_url is not None:
        return f"{public_url}?{query}" if query and "?" not in public_url else public_url
    scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def headers_of(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a request's headers as deliveries store them. Repeated headers are joined by commas."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = header_name(name)
        headers[key] = f"{headers[key]},{value}" if key in headers else value
    return headers


def delivery_id(unique: str) -> str:
    """Return the id of a delivery for a unique text."""
    return f"dl_{unique}"
