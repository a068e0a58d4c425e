"""The client for wolkvox' API.

A push ends within its timeout, which covers the whole call, and writes nothing after the latest moment to
write. Failures of the network and of wolkvox are recorded in the returned `Exchange`, not raised. The
`error` and `not_sent_reason` of an `Exchange` contain no customer data.
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
    """The result of one call.

    `sent` is True if a byte of the request may have been sent. `sent_at` is the time (CLOCK_BOOTTIME,
    seconds) of the first byte, or None. `complete` is True if the whole response arrived in time.
    `status` is None if the head of the response did not arrive. The names in `headers` are lower-case.
    `body` is cut at 64 KiB. `seconds` is the duration of the call. `error` describes the failure, and
    `not_sent_reason` explains why nothing was sent. Each of the two is None if it does not apply.
    `too_late` is True if the latest moment to write had passed before the first byte, other than by a
    timeout of DNS, connect or TLS.
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
    """Return the verdict on an exchange, including network errors.

    A `Retry-After` with a date is relative to `now` (aware; the current time if None).
    """
    if not exchange.sent:
        return not_sent(exchange.not_sent_reason or "the request was not sent")
    if exchange.status is None or not exchange.complete:
        return broken_off(exchange.status, exchange.error or "wolkvox sent no complete answer")
    return decipher_response(exchange.status, exchange.headers, exchange.body, now=now or datetime.now(UTC))


class WolkvoxConnection:
    """A client of one wolkvox server, which makes one call at a time over one kept-alive connection.

    Use it as a context manager, in one thread. `endpoint` is an account's endpoint. `clock` returns
    seconds, as `boottime` does. `resolver` defaults to the system's resolver, `ssl_context` to
    `shared_ssl_context()`.
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
    ) -> Exchange:
        """Make one call and return its result, within `timeout_seconds`.

        The call fails if the request is not written within `latest_write_seconds`. Both limits count from
        `claimed_at`, a time of the connection's clock. Raise ValueError if the URL of the call is not
        below the endpoint.
        """
        if not call.url.startswith(f"{self.endpoint}/"):
            raise ValueError(f"call: the URL is not below the connection's endpoint {self.endpoint}")
        started = self._clock()
        end = min(started, claimed_at) + timeout_seconds
        progress = Progress(end=end, write_by=min(end, claimed_at + latest_write_seconds))
        error, too_late = None, False
        try:
            self._client.send(_request(call, progress))
            _require_whole(progress)
        except TooLateError as why:
            error, too_late = str(why), True
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeError):
            error = (
                "the request is not valid HTTP: check the account's token and server for special characters"
            )
        except AnswerTooLongError:
            error = f"the answer is larger than {BODY_LIMIT // 1024} KiB"
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
    """Raise httpx.RemoteProtocolError if the body may be truncated.

    A body without a length, which ends with the connection, is complete only if it is valid JSON.
    """
    if progress.delimited:
        return
    try:
        orjson.loads(progress.body)
    except orjson.JSONDecodeError:
        progress.complete = False
        raise httpx.RemoteProtocolError("the answer is incomplete or not valid HTTP") from None


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
    """Return parsed headers. They are cached because the calls of an account repeat them."""
    return httpx.Headers(headers)


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Return a parsed URL. It is cached because a queue calls the same few URLs."""
    return httpx.URL(text)
