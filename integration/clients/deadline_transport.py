"""An httpx transport with one deadline for a whole call.

The deadline covers DNS, connect, TLS, write and read. The head and body of a request are written
together, and not after the latest moment to write. A call that misses its deadline is closed with a TCP
reset, so that the kernel sends nothing more of it. The size of a response is limited. The transport uses
HTTP/1.1, no proxy, and one kept-alive connection. It removes the headers Set-Cookie, Location and
Content-Encoding from responses.
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
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

import httpcore
import httpx

from integration.domain.account import GUARD_SECONDS

BODY_LIMIT: Final = 64 * 1024
HEAD_LIMIT: Final = 64 * 1024
"""Limit in bytes up to the end of the head, including interim responses."""
ANSWER_FACTOR: Final = 4
"""Limit for all bytes of a response, as a multiple of the body limit. Chunk headers may exceed their data."""
READ_BYTES: Final = 16 * 1024
IDLE_LIMIT_SECONDS: Final = 2.0

Address = tuple[Any, ...]
Resolver = Callable[[str, int], list[tuple[int, Address]]]
"""Returns (address family, socket address) pairs for a host and a port, best first. Raises OSError."""

# macOS has no CLOCK_BOOTTIME.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return the seconds since boot, from a clock that cannot be set.

    Time in suspend is included where the system has CLOCK_BOOTTIME.
    """
    return time.clock_gettime(_BOOT_CLOCK)


# --- one call --------------------------------------------------------------------------------


class TooLateError(httpx.ConnectTimeout):
    """The latest moment to write passed before anything was sent."""


class AnswerTooLongError(httpx.TransportError):
    """The response is larger than the transport's limit."""


@dataclass(slots=True)
class Progress:
    """The limits and the progress of one call. Times are seconds of the transport's clock.

    `end` is the deadline of the whole call, `write_by` the latest time to begin writing. `sent_at` is the
    time at which the first byte may have been sent, or None. `status` (None before the head of the
    response), `headers` (without those that the transport removes) and `body` (cut at the limit) contain
    what was received, also of an incomplete response. `complete` is True after the end of the response.
    `delimited` is then False if the body ended with the connection and may be truncated.
    """

    end: float
    write_by: float
    sent_at: float | None = None
    status: int | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers, repr=False)
    body: bytearray = field(default_factory=bytearray, repr=False)
    delimited: bool = False
    complete: bool = False

    def left_to_write(self, now: float) -> float:
        """Return the seconds until the latest moment to write. Raise TooLateError if it has passed."""
        left = self.write_by - now
        if left <= 0:
            raise TooLateError("no time was left to send the request")
        return left


# --- a connected socket ----------------------------------------------------------------------

# Linux only: how long the kernel retransmits unacknowledged data.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_CLOSE_BY_RESET = struct.pack("ii", 1, 0)
_CLOSE_IN_ORDER = struct.pack("ii", 0, 0)

# Errors of a non-blocking socket that must wait. A TLS connection may have to read before it can write.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Stream(httpcore.NetworkStream):
    """A connected non-blocking socket. It waits only in `poll`, up to the deadline of the current call.

    It raises httpx' exceptions, which httpcore does not convert.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float]) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._clock = clock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        # Decrypted TLS data that is buffered is not visible to `poll`.
        self._pending: Callable[[], int] = getattr(sock, "pending", int)
        self._unsent: list[bytes] = []
        self._progress: Progress
        self._may_read = 0

    def begin(self, progress: Progress) -> None:
        """Start a call. From now on, closing the connection sends a reset."""
        # This also holds for a killed worker: the kernel must not send the rest of its request.
        self._linger(_CLOSE_BY_RESET)
        self._progress = progress
        self._may_read = HEAD_LIMIT
        self._unsent.clear()

    def expect_body(self, limit: int) -> None:
        """Set the limit for all bytes of the response. Called when the head is complete."""
        self._may_read += limit - HEAD_LIMIT

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (httpcore's)
        """Buffer a part of the request. The next `read` sends all buffered parts together."""
        self._unsent.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's)
        """Send the buffered request, then return received bytes, or b"" at the end of the connection.

        Raise AnswerTooLongError at the limit for the response, or httpx' errors for timeouts and lost
        connections.
        """
        if self._unsent:
            self._send(b"".join(self._unsent))
            self._unsent.clear()
        if self._may_read <= 0:
            raise AnswerTooLongError("the answer is larger than the limit")
        data = self._receive(min(max_bytes, READ_BYTES))
        self._may_read -= len(data)
        return data

    def _send(self, data: bytes) -> None:
        progress = self._progress
        # Do nothing slow between reading the clock and the first `send`.
        now = self._clock()
        progress.left_to_write(now)
        progress.sent_at = now
        while data:
            try:
                data = data[self._sock.send(data) :]
            except _NOT_YET as why:
                self._wait(why, select.POLLOUT, progress.write_by - self._clock())
            except OSError:
                raise httpx.WriteError("the connection was lost before the answer was complete") from None

    def _receive(self, most: int) -> bytes:
        while True:
            left = self._progress.end - self._clock()
            if left <= 0 or (not self._pending() and not self._poll.poll(left * 1000)):
                raise httpx.ReadTimeout("no complete answer in time")
            try:
                return self._sock.recv(most)
            except _NOT_YET as why:
                self._wait(why, select.POLLIN, left)
            except OSError:
                raise httpx.ReadError("the connection was lost before the answer was complete") from None

    def _wait(self, why: Exception, event: int, seconds: float) -> None:
        if isinstance(why, ssl.SSLWantReadError):
            event = select.POLLIN
        elif isinstance(why, ssl.SSLWantWriteError):
            event = select.POLLOUT
        self._poll.modify(self._sock, event)
        try:
            if not self._poll.poll(max(0.001, seconds) * 1000):
                raise httpx.ReadTimeout("no complete answer in time")
        finally:
            self._poll.modify(self._sock, select.POLLIN)

    def has_something(self) -> bool:
        """Return True if data, or the end of the connection, can be read without waiting."""
        return bool(self._poll.poll(0) or self._pending())

    def end(self) -> None:
        """End a call. From now on, closing the connection sends a FIN."""
        self._linger(_CLOSE_IN_ORDER)

    def _linger(self, how: bytes) -> None:
        # macOS raises an error if the server has closed the connection.
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


# --- DNS -------------------------------------------------------------------------------------


def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """Return (address family, socket address) pairs from the system's resolver, without a timeout.

    Raise OSError, or UnicodeError for an invalid name.
    """
    results = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in results]


@dataclass(slots=True)
class _LookUp:
    done: threading.Event = field(default_factory=threading.Event)
    found: list[tuple[int, Address]] | None = None


class _Names:
    """Resolves names with a timeout. Concurrent look-ups of a name share one thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Resolver, str, int], _LookUp] = {}

    def look_up(
        self, resolver: Resolver, host: str, port: int, *, seconds: float
    ) -> list[tuple[int, Address]]:
        """Return the addresses of a host, at least one, within `seconds`.

        Raise httpx.ConnectError or httpx.ConnectTimeout.
        """
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
            raise httpx.ConnectTimeout("DNS: no answer in time")
        if not look_up.found:
            raise httpx.ConnectError("DNS: the server's name was not found")
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


# --- the transport ---------------------------------------------------------------------------


@lru_cache(maxsize=1)
def shared_ssl_context() -> ssl.SSLContext:
    """Return the default SSL context of the transports, with the certificates of certifi.

    It is cached, because loading the certificates takes 20 ms.
    """
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Connection(httpcore.HTTP11Connection):
    """A connection that detects bytes after the end of a response."""

    def __init__(self, origin: httpcore.Origin, stream: _Stream) -> None:
        super().__init__(origin, stream)
        self.socket = stream

    def has_surplus(self) -> bool:
        """Return True if h11 holds bytes after the response. h11 would read them as the next response."""
        return bool(self._h11_state.trailing_data[0])


# Removed, so that the client stores no cookie, follows no redirect and decompresses nothing.
_HIDDEN = (b"set-cookie", b"location", b"content-encoding")
_BODILESS = frozenset({204, 304})
_FIRST_FINAL_STATUS = 200
_PORTS = {b"http": 80, b"https": 443}


class DeadlineTransport(httpx.BaseTransport):
    """A transport for one thread, which makes one call at a time over a kept-alive connection.

    The limits of a call are the request's extension `progress` (a Progress). Without this extension, the
    request's read timeout applies to the whole call. Raise httpx' transport errors. Their messages
    contain no header, path or body. ConnectError and ConnectTimeout mean that no byte of the request was
    sent. `body_limit` is in bytes. `clock` returns seconds. `resolver` defaults to the system's resolver,
    `ssl_context` to `shared_ssl_context()`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = boottime,
        body_limit: int = BODY_LIMIT,
        resolver: Resolver = resolve,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._clock = clock
        self._body_limit = body_limit
        self._resolver = resolver
        self._ssl_context = ssl_context
        self._connection: _Connection | None = None
        self._used_at = 0.0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and return the complete response, including its body."""
        progress: Progress = request.extensions.get("progress") or self._limits(request)
        progress.left_to_write(self._clock())
        connection = self._ready(_origin(request.url), progress)
        keep = False
        try:
            keep = self._converse(connection, request, progress)
        except httpcore.LocalProtocolError:
            raise httpx.LocalProtocolError("the request is not valid HTTP") from None
        except httpcore.RemoteProtocolError:
            raise httpx.RemoteProtocolError("the answer is incomplete or not valid HTTP") from None
        finally:
            self._used_at = self._clock()
            if keep:
                connection.socket.end()
            else:
                self.close()
        return httpx.Response(progress.status or 0, headers=progress.headers, content=bytes(progress.body))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def has_expired(self) -> bool:
        """Return True if the next call needs a new connection."""
        idle = self._clock() - self._used_at
        connection = self._connection
        return connection is None or not 0 <= idle <= IDLE_LIMIT_SECONDS or connection.socket.has_something()

    def _limits(self, request: httpx.Request) -> Progress:
        end = self._clock() + request.extensions["timeout"]["read"]
        return Progress(end=end, write_by=end)

    def _ready(self, origin: httpcore.Origin, progress: Progress) -> _Connection:
        connection = self._connection
        if connection is not None and (not connection.can_handle_request(origin) or self.has_expired()):
            self.close()
            connection = None
        if connection is None:
            opened = _open(origin, progress, self._clock, self._resolver, self._ssl_context)
            connection = self._connection = _Connection(origin, _Stream(opened, self._clock))
        return connection

    def _converse(self, connection: _Connection, request: httpx.Request, progress: Progress) -> bool:
        """Write the request and read the response. Return True if the connection can be reused."""
        connection.socket.begin(progress)
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = connection.handle_request(
            httpcore.Request(request.method, target, headers=request.headers.raw, content=request.read())
        )
        if answer.status < _FIRST_FINAL_STATUS:
            raise httpcore.RemoteProtocolError
        progress.status = answer.status
        kept = [pair for pair in answer.headers if pair[0].lower() not in _HIDDEN]
        progress.headers = headers = httpx.Headers(kept)
        connection.socket.expect_body(ANSWER_FACTOR * self._body_limit)
        for part in answer.iter_stream():
            progress.body += part
            if len(progress.body) > self._body_limit:
                del progress.body[self._body_limit :]
                raise AnswerTooLongError("the answer is larger than the limit")
        sized, chunked = "content-length" in headers, "transfer-encoding" in headers
        bodiless = answer.status in _BODILESS
        progress.delimited = sized or chunked or bodiless
        progress.complete = True
        answer.close()
        # Do not reuse the connection if length and chunks conflict, or if an unexpected body may follow.
        return connection.is_idle() and not connection.has_surplus() and sized != chunked and not bodiless


def _origin(url: httpx.URL) -> httpcore.Origin:
    scheme = url.raw_scheme
    if scheme not in _PORTS:
        raise httpx.UnsupportedProtocol("The URL must begin with http:// or https://.")
    return httpcore.Origin(scheme, url.raw_host, url.port or _PORTS[scheme])


# --- opening a connection --------------------------------------------------------------------


def _open(
    origin: httpcore.Origin,
    progress: Progress,
    clock: Callable[[], float],
    resolver: Resolver,
    ssl_context: ssl.SSLContext | None,
) -> socket.socket:
    """Return a socket connected to the origin, with TLS for https, before the latest moment to write.

    Raise httpx.ConnectError or httpx.ConnectTimeout.
    """
    host = origin.host.decode("ascii")
    addresses = _NAMES.look_up(resolver, host, origin.port, seconds=progress.write_by - clock())
    for number, (family, address) in enumerate(addresses, 1):
        # An address that does not answer must leave time for the next one.
        share = (progress.write_by - clock()) / (len(addresses) - number + 1)
        try:
            sock = _connect(family, address, max(0.001, share))
        except OSError as error:
            if number == len(addresses):
                raise _connect_error("connect", error) from None
        else:
            break
    if origin.scheme != b"https":
        return sock
    try:
        sock.settimeout(max(0.001, progress.write_by - clock()))
        return (ssl_context or shared_ssl_context()).wrap_socket(sock, server_hostname=host)
    except OSError as error:
        sock.close()
        raise _connect_error("TLS", error) from None


def _connect(family: int, address: Address, seconds: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        sock.connect(address)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if _USER_TIMEOUT is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _USER_TIMEOUT, round(GUARD_SECONDS * 1000))
    except BaseException:
        sock.close()
        raise
    return sock


def _connect_error(step: str, error: OSError) -> httpx.TransportError:
    """Return the httpx error for a failed connection. Its message contains no header, path or body."""
    if isinstance(error, TimeoutError):
        return httpx.ConnectTimeout(f"{step}: no answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the server's certificate is not valid ({error.verify_message})"
    elif isinstance(error, ssl.SSLError):
        why = f"the handshake failed ({error.reason or 'unknown'})"
    else:
        why = os.strerror(error.errno) if error.errno else "the connection failed for an unknown reason"
    return httpx.ConnectError(f"{step}: {why}")


# --- clients ---------------------------------------------------------------------------------


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Do nothing, so that no cookie is stored."""


class DeadlineClient(httpx.Client):
    """An httpx client with its own transport, for one thread.

    `seconds` is the default timeout of a whole call. Redirects, proxies and cookies are not used.
    """

    def __init__(self, transport: DeadlineTransport, *, seconds: float, base_url: str = "") -> None:
        super().__init__(
            transport=transport,
            timeout=seconds,
            base_url=base_url,
            # A small compressed response could expand beyond the available memory.
            headers={"Accept-Encoding": "identity", "User-Agent": "ringback"},
            trust_env=False,
            follow_redirects=False,
        )
        # Extracting cookies would take as long as parsing the response.
        self._cookies = _NoCookies()
