"""The one place that calls wolkvox.

Promises: a push ends within its time on the wall clock whatever the server does (name look-up,
connect, TLS, write and read together); no byte leaves after the latest moment to write; `Exchange`
says whether one has left; a call given up is closed by reset, so that the kernel sends no rest of it.
Never follows a redirect, keeps no cookie, unpacks nothing, uses no proxy, and tells no customer's data.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Self

import httpx
import sentry_sdk

from integration.connection import Broken, Door, TimeOver, Times, Unsent
from integration.http1 import NotHttpError, Reader, TooLongError, UnwritableError, write_head
from integration.name_look_up import resolve
from integration.wolkvox import broken_off, decipher_response, not_sent

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from integration.connection import Stream
    from integration.name_look_up import Resolver
    from integration.wolkvox import Call, Verdict

IDLE_LIMIT_SECONDS = 2.0


# Where there is no such clock (macOS), the monotonic one.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Give seconds since boot; they run on while the machine sleeps, and nobody can set them."""
    return time.clock_gettime(_BOOT_CLOCK)


# --- what came of it -------------------------------------------------------------------------


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


def judge(exchange: Exchange, now: datetime | None = None) -> Verdict:
    """Judge an exchange, faults of the network included. `now` (aware) serves a dated `Retry-After`."""
    if not exchange.sent:
        return not_sent(exchange.not_sent_reason or "nothing was sent")
    if exchange.status is None or not exchange.complete:
        return broken_off(exchange.status, exchange.error or "no complete answer came")
    return decipher_response(exchange.status, exchange.headers, exchange.body, now=now or datetime.now(UTC))


# --- one connection --------------------------------------------------------------------------


def nothing() -> None:
    """Have nothing to do while an answer is awaited."""


class _Channel:
    """One kept-alive connection, opened anew when the server has closed it meanwhile."""

    def __init__(self, door: Door, times: Times) -> None:
        self._door = door
        self._clock = times.clock
        self._stream: Stream | None = None
        self._used_at = 0.0
        self.answer = Reader()
        self.meanwhile: Callable[[], None] = nothing

    @property
    def sent_at(self) -> float | None:
        """When the request of the call in hand began to be written, None when it has not."""
        return self._stream.sent_at if self._stream is not None else None

    def begin(self) -> None:
        """Start a call: what the connection remembers of the last one is over."""
        self.answer.begin()
        if self._stream is not None:
            self._stream.begin()

    def converse(self, request: bytes) -> None:
        """Write a request and read the answer; how far that came is seen in `answer` and `sent_at`."""
        stream, answer = self._ready(), self.answer
        stream.send(request)
        self.meanwhile()
        while not answer.complete:
            data = stream.receive()
            if data:
                answer.feed(data)
            else:
                answer.end()

    def _ready(self) -> Stream:
        if self._stream is not None and self.has_expired():
            self.close()
        if self._stream is None:
            self._stream = self._door.open()
            self.answer = Reader()
        return self._stream

    def has_expired(self) -> bool:
        """Tell whether no call goes over this connection any more."""
        stream = self._stream
        idle = self._clock() - self._used_at
        return stream is None or not 0 <= idle <= IDLE_LIMIT_SECONDS or stream.has_something()

    def settle(self) -> None:
        """End a call: keep the connection if the answer was complete and nothing came after it."""
        self._used_at = self._clock()
        # What came after an answer would be taken for the answer to the next call.
        if self._stream is not None and not (self.answer.complete and self.answer.reusable):
            self._stream.close()
            self._stream = None

    def close(self) -> None:
        """Close the connection, on which nothing is under way."""
        if self._stream is not None:
            self._stream.close_in_order()
            self._stream = None


class _Transport(httpx.BaseTransport):
    """The channel for httpx, which sees a status and nothing else of the answer.

    So httpx keeps no cookie, reads no redirect and unpacks no body.
    """

    def __init__(self, channel: _Channel) -> None:
        self._channel = channel

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Make the call. What goes wrong with it passes as the channel says it."""
        url = request.url
        head = write_head(request.method.encode("ascii"), url.raw_path, request.headers.raw)
        self._channel.converse(b"%b\r\n%b" % (head, request.read()))
        return httpx.Response(self._channel.answer.status or 0)


class Line:
    """The line to one server for one turn: one call at a time, over one kept-alive connection.

    A context manager, cheap to make, for one thread. `endpoint` is an account's; `clock` counts as
    `boottime` does; `resolver` and `ssl_context` stand in for the system's.
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
        self._times = Times(clock)
        self._channel = _Channel(Door(_url(endpoint), self._times, resolver, ssl_context), self._times)

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(
            transport=_Transport(self._channel),
            trust_env=False,
            timeout=None,  # noqa: S113  (the stream keeps the times)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def push(
        self,
        call: Call,
        *,
        claimed_at: float,
        latest_write_seconds: float,
        timeout_seconds: float,
        meanwhile: Callable[[], None] = nothing,
    ) -> Exchange:
        """Make one call and say what became of it; never raises for what the network or wolkvox does.

        `meanwhile` is done while the answer is awaited, if the request is written at all; it takes little
        time and raises nothing.

        Both limits count from `claimed_at` (by the line's clock): the request is written within
        `latest_write_seconds` or not at all, and `timeout_seconds` later, at most, this returns.
        Raises ValueError for a call to another server than the line's.
        """
        if not call.url.startswith(f"{self.endpoint}/"):
            raise ValueError("call: found the address of another server; allowed: the line's own")
        started = self._times.clock()
        self._times.end = min(started, claimed_at) + timeout_seconds
        self._times.write_by = min(self._times.end, claimed_at + latest_write_seconds)
        self._channel.begin()
        self._channel.meanwhile = meanwhile
        error, too_late = self._attempt(call, timeout_seconds)
        sent_at, answer = self._channel.sent_at, self._channel.answer
        self._channel.settle()
        return Exchange(
            status=answer.status,
            headers=answer.headers,
            body=answer.body,
            sent=sent_at is not None,
            sent_at=sent_at,
            complete=answer.complete,
            seconds=self._times.clock() - started,
            error=error,
            not_sent_reason=error if sent_at is None else None,
            too_late=too_late,
        )

    def _attempt(self, call: Call, timeout_seconds: float) -> tuple[str | None, bool]:
        """Make the call. Gives what went wrong, if anything, and whether the time for it was over."""
        try:
            self._converse(call)
        except Unsent as unsent:
            return unsent.reason, unsent.too_late
        except TooLongError:
            return "the answer is longer than 64 KiB", False
        except TimeOver:
            return f"no complete answer within {timeout_seconds:g} s", False
        except NotHttpError:
            return "the answer is not whole HTTP", False
        except Broken:
            return "the connection broke before the answer was complete", False
        except (UnwritableError, httpx.InvalidURL, UnicodeError):
            return "the call cannot be written as HTTP: check the account's token", False
        return None, False

    def _converse(self, call: Call) -> None:
        # What the client does beside (redirects, cookies, authentication) is not wanted here, and takes time;
        # but that is where Sentry listens.
        if sentry_sdk.get_client().is_active():
            headers = dict(call.headers)
            self._client.send(httpx.Request(call.method, _url(call.url), headers=headers, content=call.body))
        else:
            self._channel.converse(_written(call))


def _written(call: Call) -> bytes:
    head = _head(call.method, call.url, *call.headers.items())
    length = b"Content-Length: %d\r\n" % len(call.body) if call.body else b""
    return b"%b%b\r\n%b" % (head, length, call.body)


@lru_cache(maxsize=1024)
def _head(method: str, url: str, *headers: tuple[str, str]) -> bytes:
    """Write what is the same in every call of an account to a campaign."""
    where = _url(url)
    named = [(name.encode("ascii"), value.encode("ascii")) for name, value in headers]
    return write_head(method.encode("ascii"), where.raw_path, [(b"Host", where.netloc), *named])


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Read an address; a lane calls the same few again and again."""
    return httpx.URL(text)
