"""The one place that calls wolkvox.

Promises: a push ends within its time on the wall clock whatever the server does; no byte leaves after the
latest moment to write; `Exchange` says whether one has left, and holds what came of an answer that broke
off. A push raises nothing for what the network or wolkvox does, and tells no customer's data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Self

import httpx
import orjson

from integration.clients.deadline_transport import (
    BODY_LIMIT,
    AnswerTooLongError,
    DeadlineClient,
    DeadlineTransport,
    Progress,
    TooLateError,
    boottime,
    nothing,
    resolve,
)
from integration.clients.wolkvox_protocol import broken_off, decipher_response, not_sent

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from integration.clients.deadline_transport import Resolver
    from integration.clients.wolkvox_protocol import Call, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What became of one call.

    `sent`: a byte of the request may have left, at `sent_at` (CLOCK_BOOTTIME, seconds). `complete`: the
    whole answer came within the time. `status` is None when not even the answer's head came.
    `headers` has lower-case names; `body` is at most 64 KiB, and cut there if it was longer. `error`
    says in plain words what went wrong, `not_sent_reason` why no byte has left; `too_late` that this
    was for want of time alone, the server having had no part in it.
    """

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    sent: bool = False
    sent_at: float | None = None
    complete: bool = False
    seconds: float = 0.0
    error: str | None = None
    not_sent_reason: str | None = None
    too_late: bool = False


def verdict_of(exchange: Exchange, now: datetime | None = None) -> Verdict:
    """Return the verdict on an exchange, faults of the network included.

    `now` (aware) is what a dated `Retry-After` counts from.
    """
    if not exchange.sent:
        return not_sent(exchange.not_sent_reason or "nothing was sent")
    if exchange.status is None or not exchange.complete:
        return broken_off(exchange.status, exchange.error or "no complete answer came")
    return decipher_response(exchange.status, exchange.headers, exchange.body, now=now or datetime.now(UTC))


class WolkvoxConnection:
    """A client of one wolkvox server: one call at a time, over one kept-alive connection.

    A context manager, cheap to make, for one thread. `endpoint` is an account's; `clock` counts as
    `boottime` does; `resolver` and `ssl_context` replace the system's.
    """

    def __init__(
        self,
        endpoint: str,
        clock: Callable[[], float] = boottime,
        *,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._clock = clock
        self._transport = DeadlineTransport(clock=clock, resolver=resolver, ssl_context=ssl_context)
        self._client = DeadlineClient(self._transport, seconds=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def push(
        self,
        call: Call,
        *,
        claimed_at: float,
        latest_write_seconds: float,
        timeout_seconds: float,
        meanwhile: Callable[[], None] = nothing,
    ) -> Exchange:
        """Make one call and return what became of it.

        `meanwhile` is called while the answer is awaited, if the request is written at all; it takes little
        time and raises nothing.

        Both limits count from `claimed_at` (by the line's clock): the request is written within
        `latest_write_seconds` or not at all, and `timeout_seconds` later, at most, this returns.
        Raise ValueError for a call to another server than the line's.
        """
        if not call.url.startswith(f"{self.endpoint}/"):
            raise ValueError("call: found the address of another server; allowed: the line's own")
        started = self._clock()
        end = min(started, claimed_at) + timeout_seconds
        progress = Progress(end=end, write_by=min(end, claimed_at + latest_write_seconds), on_sent=meanwhile)
        error, too_late = None, False
        try:
            self._client.send(_request(call, progress))
            _require_whole(progress)
        except TooLateError as why:
            error, too_late = str(why), True
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):
            error = "the call cannot be written as HTTP: check the account's token"
        except AnswerTooLongError:
            error = f"the answer is longer than {BODY_LIMIT // 1024} KiB"
        except httpx.TransportError as why:
            error = str(why)
            if isinstance(why, httpx.TimeoutException) and progress.sent_at is not None:
                error = f"no complete answer within {timeout_seconds:g} s"
        return Exchange(
            status=progress.status,
            headers=progress.headers,
            body=bytes(progress.body),
            sent=progress.sent_at is not None,
            sent_at=progress.sent_at,
            complete=progress.complete,
            seconds=self._clock() - started,
            error=error,
            not_sent_reason=error if progress.sent_at is None else None,
            too_late=too_late,
        )


def _require_whole(progress: Progress) -> None:
    """Raise httpx.RemoteProtocolError for a body that may be cut: the connection's end alone ended it.

    A whole one is JSON.
    """
    if progress.delimited:
        return
    try:
        orjson.loads(progress.body)
    except orjson.JSONDecodeError:
        progress.complete = False
        raise httpx.RemoteProtocolError("the answer is not whole HTTP") from None


def _request(call: Call, progress: Progress) -> httpx.Request:
    return httpx.Request(
        call.method,
        _url(call.url),
        headers=_headers(*call.headers.items()),
        content=call.body,
        extensions={"progress": progress},
    )


@lru_cache(maxsize=1024)
def _headers(*headers: tuple[str, str]) -> httpx.Headers:
    """Parse the headers that are the same in every call of an account."""
    return httpx.Headers(headers)


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Parse an address: a queue calls the same few again and again."""
    return httpx.URL(text)
