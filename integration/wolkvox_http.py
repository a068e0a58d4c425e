"""The one place that opens a connection to wolkvox.

Promises: a push ends within its time on the wall clock whatever the server does (name look-up,
connect, TLS, write and read together); no byte leaves after the latest moment to write; `Exchange`
says whether one has left; a call given up is closed by reset, so that the kernel sends no rest of it.
Never follows a redirect, keeps no cookie, unpacks nothing, uses no proxy, and tells no customer's data.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Self

import httpcore
import httpx
import orjson
import sentry_sdk

from integration.config import GUARD_SECONDS
from integration.wolkvox import broken_off, decipher_response, not_sent

if TYPE_CHECKING:
    from types import TracebackType

    from integration.wolkvox import Call, Verdict

BODY_LIMIT = 64 * 1024
ANSWER_LIMIT = 256 * 1024  # head, interim answers and chunk marks included
IDLE_LIMIT_SECONDS = 2.0

Address = tuple[Any, ...]
Resolver = Callable[[str, int], list[tuple[int, Address]]]
"""From host and port to (address family, socket address) pairs, best first; raises OSError."""


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


class _Unsent(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """No byte has left; the reason is in plain words."""

    def __init__(self, reason: str, *, too_late: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_late = too_late


class _TooLong(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """The answer is longer than any answer of wolkvox."""


# --- names -----------------------------------------------------------------------------------


def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """Look a name up by the system's resolver, which has no time limit of its own."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


@dataclass(slots=True)
class _LookUp:
    done: threading.Event = field(default_factory=threading.Event)
    found: list[tuple[int, Address]] | None = None


class _Names:
    """Looks names up within a time limit: one thread per name at most, whoever else asks waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Resolver, str, int], _LookUp] = {}

    def look_up(
        self, resolver: Resolver, host: str, port: int, *, seconds: float
    ) -> list[tuple[int, Address]]:
        with contextlib.suppress(ValueError):
            version = ipaddress.ip_address(host).version
            return [(socket.AF_INET if version == 4 else socket.AF_INET6, (host, port))]  # noqa: PLR2004  (IPv4)
        key = (resolver, host, port)
        with self._lock:
            look_up = self._under_way.get(key)
            if look_up is None:
                look_up = self._under_way[key] = _LookUp()
                threading.Thread(target=self._run, args=(key, look_up), daemon=True, name="look-up").start()
        if not look_up.done.wait(max(0.0, seconds)):
            raise _Unsent("DNS: no answer in time")
        if not look_up.found:
            raise _Unsent("DNS: the server's name was not found")
        return look_up.found

    def _run(self, key: tuple[Resolver, str, int], look_up: _LookUp) -> None:
        resolver, host, port = key
        try:
            with contextlib.suppress(OSError, UnicodeError):
                look_up.found = resolver(host, port)
        finally:
            with self._lock:
                del self._under_way[key]
            look_up.done.set()


_NAMES = _Names()


# --- one connection --------------------------------------------------------------------------


@dataclass(slots=True)
class _Times:
    """The limits of the call in hand, by the line's clock, in seconds."""

    clock: Callable[[], float]
    write_by: float = 0.0
    end: float = 0.0

    def left(self, until: float) -> float:
        return until - self.clock()


# Linux only: how long the kernel may go on sending what is not acknowledged.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ORDERLY_CLOSE = struct.pack("ii", 0, 0)


class _Stream(httpcore.NetworkStream):
    """A connected socket that keeps the times of the call in hand.

    Writes are held back until the answer is asked for: head and body leave in one piece, and nothing
    stands between the last look at the clock and `send`. httpcore's own time-outs, which start
    anew with every read, are not used.
    """

    def __init__(self, sock: socket.socket, times: _Times) -> None:
        self._sock = sock
        self._times = times
        self._held: list[bytes] = []
        self._received = 0
        self.sent_at: float | None = None

    def begin(self) -> None:
        """Start a call: nothing is held, sent or received yet."""
        self._held.clear()
        self._received = 0
        self.sent_at = None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (httpcore's)
        self._held.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's)
        if self._held:
            self._flush()
        left = self._times.left(self._times.end)
        if left <= 0:
            raise httpcore.ReadTimeout
        try:
            self._sock.settimeout(left)
            found = self._sock.recv(max_bytes)
        except TimeoutError:
            raise httpcore.ReadTimeout from None
        except OSError as error:
            raise httpcore.ReadError from error
        self._received += len(found)
        if self._received > ANSWER_LIMIT:
            raise _TooLong
        return found

    def _flush(self) -> None:
        data = b"".join(self._held)
        self._held.clear()
        left = self._times.left(self._times.write_by)
        if left <= 0:
            raise _Unsent("no time was left to send it", too_late=True)
        self.sent_at = self._times.clock()
        try:
            while data:
                self._sock.settimeout(left)
                data = data[self._sock.send(data) :]
                left = max(0.001, self._times.left(self._times.write_by))
        except TimeoutError:
            raise httpcore.WriteTimeout from None
        except OSError as error:
            raise httpcore.WriteError from error

    def close(self) -> None:
        self._sock.close()

    def close_in_order(self) -> None:
        """Close a connection on which nothing is under way, by FIN."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY_CLOSE)
        self._sock.close()

    def get_extra_info(self, info: str) -> Any:
        """Tell `is_readable`: something is there to read, be it the connection's end."""
        if info != "is_readable":
            return None
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(0))


@lru_cache(maxsize=1)
def _ssl_context() -> ssl.SSLContext:
    """Make the context that all lines share: loading the certificates takes 20 ms."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Door:
    """Opens connections to one server, within the times of the call in hand."""

    def __init__(
        self, url: httpx.URL, times: _Times, resolver: Resolver, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._host = url.raw_host.decode("ascii")
        self._tls = url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._times = times
        self._resolver = resolver
        self._ssl_context = ssl_context
        self.origin = httpcore.Origin(url.raw_scheme, url.raw_host, self._port)

    def open(self) -> _Stream:
        """Give a connected stream; raises `_Unsent` with the reason."""
        sock = self._connected()
        return _Stream(self._secured(sock) if self._tls else sock, self._times)

    def _connected(self) -> socket.socket:
        left = self._times.left(self._times.write_by)
        if left <= 0:
            raise _Unsent("no time was left to send it", too_late=True)
        addresses = _NAMES.look_up(self._resolver, self._host, self._port, seconds=left)
        why = "no address"
        for turn, (family, address) in enumerate(addresses):
            # One address that swallows everything must leave time for the next.
            share = self._times.left(self._times.write_by) / (len(addresses) - turn)
            try:
                return self._connect(family, address, max(0.001, share))
            except OSError as error:
                why = _system_words(error)
        raise _Unsent(f"connect: {why}")

    def _connect(self, family: int, address: Address, seconds: float) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds)
            sock.connect(address)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Also a worker that is killed must leave nothing behind that the kernel goes on sending.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            if _USER_TIMEOUT is not None:
                sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, round(GUARD_SECONDS * 1000))
        except BaseException:
            sock.close()
            raise
        return sock

    def _secured(self, sock: socket.socket) -> socket.socket:
        context = self._ssl_context or _ssl_context()
        try:
            sock.settimeout(max(0.001, self._times.left(self._times.write_by)))
            return context.wrap_socket(sock, server_hostname=self._host)
        except OSError as error:
            sock.close()
            raise _Unsent(f"TLS: {_system_words(error)}") from None


def _system_words(error: OSError) -> str:
    """Put the system's reason in words, without what the error's own text may quote."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no agreement with the server ({error.reason or 'unknown'})"
    return os.strerror(error.errno) if error.errno else "failed"


# --- httpx over that connection --------------------------------------------------------------


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        return self._response.iter_stream()

    def close(self) -> None:
        self._response.close()


class _Transport(httpx.BaseTransport):
    """One kept-alive connection, opened anew when the server has closed it meanwhile."""

    def __init__(self, door: _Door) -> None:
        self._door = door
        self._stream: _Stream | None = None
        self._connection: httpcore.HTTP11Connection | None = None

    @property
    def sent_at(self) -> float | None:
        """When the request of the call in hand began to be written, None when it has not."""
        return self._stream.sent_at if self._stream is not None else None

    def begin(self) -> None:
        """Start a call: what the connection remembers of the last one is over."""
        if self._stream is not None:
            self._stream.begin()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Write the request, read the answer's head. httpcore's exceptions pass as they are."""
        connection = self._ready()
        response = connection.handle_request(
            httpcore.Request(
                request.method,
                httpcore.URL(
                    scheme=self._door.origin.scheme,
                    host=self._door.origin.host,
                    port=self._door.origin.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
            )
        )
        # httpx sees no headers: so it keeps no cookie, reads no redirect and unpacks no body.
        return httpx.Response(
            response.status, stream=_Body(response), extensions={"answer_headers": response.headers}
        )

    def _ready(self) -> httpcore.HTTP11Connection:
        if self._connection is not None and self._connection.has_expired():
            self.close()
        if self._connection is None or self._stream is None:
            self._stream = self._door.open()
            self._connection = httpcore.HTTP11Connection(
                self._door.origin, self._stream, keepalive_expiry=IDLE_LIMIT_SECONDS
            )
        return self._connection

    def settle(self, *, complete: bool) -> None:
        """End a call: keep the connection if the answer was complete and nothing came after it."""
        connection = self._connection
        if connection is None:
            return
        # What came after an answer would be taken for the answer to the next call.
        surplus, _ = connection._h11_state.trailing_data  # noqa: SLF001  (httpcore offers no other way)
        if not complete or surplus or not connection.is_idle():
            self._drop()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._stream = None

    def close(self) -> None:
        """Close the connection: by FIN when nothing is under way, else by reset."""
        if self._stream is not None and self._connection is not None and self._connection.is_idle():
            self._stream.close_in_order()
        self._drop()


@dataclass(slots=True)
class _Answer:
    """As much of an answer as has come."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False


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
        self._endpoint = endpoint
        self._times = _Times(clock)
        self._transport = _Transport(_Door(_url(endpoint), self._times, resolver, ssl_context))

    @cached_property
    def _client(self) -> httpx.Client:
        return httpx.Client(
            transport=self._transport,
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
        self._transport.close()

    def push(
        self, call: Call, *, claimed_at: float, latest_write_seconds: float, timeout_seconds: float
    ) -> Exchange:
        """Make one call and say what became of it; never raises for what the network or wolkvox does.

        Both limits count from `claimed_at` (by the line's clock): the request is written within
        `latest_write_seconds` or not at all, and `timeout_seconds` later, at most, this returns.
        Raises ValueError for a call to another server than the line's.
        """
        if not call.url.startswith(f"{self._endpoint}/"):
            raise ValueError("call: found the address of another server; allowed: the line's own")
        started = self._times.clock()
        self._times.end = min(started, claimed_at) + timeout_seconds
        self._times.write_by = min(self._times.end, claimed_at + latest_write_seconds)
        self._transport.begin()
        answer = _Answer()
        error, too_late = self._attempt(call, answer, timeout_seconds)
        sent_at = self._transport.sent_at
        self._transport.settle(complete=answer.complete)
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

    def _attempt(self, call: Call, answer: _Answer, timeout_seconds: float) -> tuple[str | None, bool]:
        """Fill the answer. Gives what went wrong, if anything, and whether the time for it was over."""
        try:
            self._converse(call, answer)
        except _Unsent as unsent:
            return unsent.reason, unsent.too_late
        except _TooLong:
            return "the answer is longer than 64 KiB", False
        except httpcore.TimeoutException:
            return f"no complete answer within {timeout_seconds:g} s", False
        except httpcore.RemoteProtocolError:
            return "the answer is not whole HTTP", False
        except httpcore.NetworkError:
            return "the connection broke before the answer was complete", False
        except (httpcore.LocalProtocolError, httpx.InvalidURL, UnicodeError):
            return "the call cannot be written as HTTP: check the account's token", False
        return None, False

    def _converse(self, call: Call, answer: _Answer) -> None:
        request = httpx.Request(call.method, _url(call.url), headers=dict(call.headers), content=call.body)
        response = self._send(request)
        try:
            answer.status = response.status_code
            answer.headers = _header_table(response.extensions["answer_headers"])
            for part in response.iter_raw():
                answer.body += part
                if len(answer.body) > BODY_LIMIT:
                    answer.body = answer.body[:BODY_LIMIT]
                    raise _TooLong
        finally:
            response.close()
        if not _is_whole(answer):
            raise httpcore.RemoteProtocolError
        answer.complete = True

    def _send(self, request: httpx.Request) -> httpx.Response:
        # What the client does beside (redirects, cookies, authentication) is not wanted here, and takes time;
        # but that is where Sentry listens.
        if sentry_sdk.get_client().is_active():
            return self._client.send(request, stream=True)
        return self._transport.handle_request(request)


@lru_cache(maxsize=1024)
def _url(text: str) -> httpx.URL:
    """Read an address; a lane calls the same few again and again."""
    return httpx.URL(text)


_FRAMES = frozenset({"content-length", "transfer-encoding"})
_BODILESS = frozenset({204, 304})


def _header_table(raw: list[tuple[bytes, bytes]]) -> dict[str, str]:
    table: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        table[key] = f"{table[key]}, {text}" if key in table else text
    table.pop("set-cookie", None)
    return table


def _is_whole(answer: _Answer) -> bool:
    """Tell a whole answer from a cut one where only the connection's end marks the end of the body."""
    if not _FRAMES.isdisjoint(answer.headers) or answer.status in _BODILESS:
        return True
    try:
        orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return False
    return True
