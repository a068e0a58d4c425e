"""A transport for httpx that holds one wall-clock deadline over a whole call, and bounds its answer.

Name look-up, connect, TLS, write and read count together. The request leaves in one piece, and no byte of
it after the latest moment to write. A call given up is closed by reset, so that the kernel sends no rest
of it. HTTP/1.1 only, no proxy, one connection that is kept alive for the next call to the same server.
The client sees no redirect, no cookie and nothing that it would unpack.
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
"""Bytes up to the end of the head, interim answers included."""
ANSWER_FACTOR: Final = 4
"""All bytes of an answer, in body limits: where a body comes in chunks, their marks may be longer than it."""
READ_BYTES: Final = 16 * 1024
IDLE_LIMIT_SECONDS: Final = 2.0

Address = tuple[Any, ...]
Resolver = Callable[[str, int], list[tuple[int, Address]]]
"""From host and port to (address family, socket address) pairs, best first. Raises OSError."""

# macOS has no CLOCK_BOOTTIME.
_BOOT_CLOCK: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boottime() -> float:
    """Return seconds since boot. They run on while the machine sleeps, and nobody can set them."""
    return time.clock_gettime(_BOOT_CLOCK)


# --- one call --------------------------------------------------------------------------------


class TooLateError(httpx.ConnectTimeout):
    """The latest moment to write was over before anything was sent."""


class AnswerTooLongError(httpx.TransportError):
    """The answer is longer than the transport's limit."""


def nothing() -> None:
    """Do nothing."""


@dataclass(slots=True)
class Progress:
    """The limits of one call, and how far it got. Moments are seconds of the transport's clock.

    `end`: the whole call is over. `write_by`: the latest moment to begin writing. `on_sent` is called when
    the request is written, before its answer is read; it takes little time and raises nothing.
    `sent_at`: when the first byte may have left, None if none has. `status` (None until a head came),
    `headers` (without cookies) and `body` (cut at the limit) hold what came, also of an answer that broke
    off. `delimited` is False where only the end of the connection ended the body, so that it may be cut.
    """

    end: float
    write_by: float
    on_sent: Callable[[], None] = nothing
    sent_at: float | None = None
    status: int | None = None
    headers: httpx.Headers = field(default_factory=httpx.Headers, repr=False)
    body: bytearray = field(default_factory=bytearray, repr=False)
    delimited: bool = False
    complete: bool = False

    def left_to_write(self, now: float) -> float:
        """Return the seconds until the latest moment to write. Raise TooLateError when it is over."""
        left = self.write_by - now
        if left <= 0:
            raise TooLateError("no time was left to send it")
        return left


# --- a connected socket ----------------------------------------------------------------------

# Linux only: how long the kernel may go on sending what is not acknowledged.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_CLOSE_BY_RESET = struct.pack("ii", 1, 0)
_CLOSE_IN_ORDER = struct.pack("ii", 0, 0)

# What a socket says that would have to wait; a TLS connection may have to read before it writes.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class _Stream(httpcore.NetworkStream):
    """A connected socket. It waits in `poll` alone, and there no longer than the call in hand has time.

    Raises httpx's exceptions, which httpcore lets pass.
    """

    def __init__(self, sock: socket.socket, clock: Callable[[], float]) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._clock = clock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        # What TLS has unpacked already is not seen by `poll`.
        self._unpacked: Callable[[], int] = getattr(sock, "pending", int)
        self._unsent: list[bytes] = []
        self._progress: Progress
        self._may_read = 0

    def begin(self, progress: Progress) -> None:
        """Start a call. From here on the connection is closed by reset."""
        # Also a worker that is killed must leave nothing behind that the kernel goes on sending.
        self._linger(_CLOSE_BY_RESET)
        self._progress = progress
        self._may_read = HEAD_LIMIT
        self._unsent.clear()

    def expect_body(self, limit: int) -> None:
        """Take note that the head is complete; `limit` is of all bytes."""
        self._may_read += limit - HEAD_LIMIT

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002  (httpcore's)
        """Keep a part of the request: it leaves in one piece when the answer is first read."""
        self._unsent.append(buffer)

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002  (httpcore's)
        """Return what has come, empty at the end of the connection."""
        if self._unsent:
            self._send(b"".join(self._unsent))
            self._unsent.clear()
            self._progress.on_sent()
        if self._may_read <= 0:
            raise AnswerTooLongError("the answer is too long")
        data = self._receive(min(max_bytes, READ_BYTES))
        self._may_read -= len(data)
        return data

    def _send(self, data: bytes) -> None:
        progress = self._progress
        # Nothing stands between the last look at the clock and the first byte that leaves.
        now = self._clock()
        progress.left_to_write(now)
        progress.sent_at = now
        while data:
            try:
                data = data[self._sock.send(data) :]
            except _NOT_YET as why:
                self._wait(why, select.POLLOUT, progress.write_by - self._clock())
            except OSError:
                raise httpx.WriteError("the connection broke before the answer was complete") from None

    def _receive(self, most: int) -> bytes:
        while True:
            left = self._progress.end - self._clock()
            if left <= 0 or (not self._unpacked() and not self._poll.poll(left * 1000)):
                raise httpx.ReadTimeout("no complete answer in time")
            try:
                return self._sock.recv(most)
            except _NOT_YET as why:
                self._wait(why, select.POLLIN, left)
            except OSError:
                raise httpx.ReadError("the connection broke before the answer was complete") from None

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
        """Return True if something is there to read, be it the end of the connection."""
        return bool(self._poll.poll(0) or self._unpacked())

    def end(self) -> None:
        """Take note that nothing is under way. From here on the connection is closed by FIN."""
        self._linger(_CLOSE_IN_ORDER)

    def _linger(self, how: bytes) -> None:
        # macOS refuses it where the server has closed meanwhile.
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, how)

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()


# --- names of servers ------------------------------------------------------------------------


def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """Look a name up by the system's resolver, which has no time limit of its own."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


@dataclass(slots=True)
class _LookUp:
    done: threading.Event = field(default_factory=threading.Event)
    found: list[tuple[int, Address]] | None = None


class _Names:
    """Looks names up within a time limit. One thread per name at most, shared by all who ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Resolver, str, int], _LookUp] = {}

    def look_up(
        self, resolver: Resolver, host: str, port: int, *, seconds: float
    ) -> list[tuple[int, Address]]:
        """Return the addresses of a name, at least one. Raise httpx.ConnectError, httpx.ConnectTimeout."""
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
    """Return the context that all transports share: loading the certificates takes 20 ms."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


class _Connection(httpcore.HTTP11Connection):
    """A connection that knows whether something came after the last answer."""

    def __init__(self, origin: httpcore.Origin, stream: _Stream) -> None:
        super().__init__(origin, stream)
        self.socket = stream

    def has_surplus(self) -> bool:
        """Return True if h11 holds bytes after the last answer: it would read them as the next one."""
        return bool(self._h11_state.trailing_data[0])


# With these a client would keep a cookie, look where a redirect goes, or unpack a few bytes to any number.
_HIDDEN = (b"set-cookie", b"location", b"content-encoding")
_BODILESS = frozenset({204, 304})
_FIRST_FINAL_STATUS = 200
_PORTS = {b"http": 80, b"https": 443}


class DeadlineTransport(httpx.BaseTransport):
    """Makes one call at a time, for one thread, over a connection kept alive to the last server called.

    The limits of a call are the request's extension `progress` (a Progress), else the client's `timeout`,
    which then counts for the whole call. Raises httpx's transport errors in plain words that quote nothing
    of the request or the answer: ConnectError or ConnectTimeout where no connection came about.
    `body_limit` is in bytes; `clock` counts seconds; `resolver` and `ssl_context` replace the system's.
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
        """Make a call and return its whole answer, body included."""
        progress: Progress = request.extensions.get("progress") or self._limits(request)
        progress.left_to_write(self._clock())
        connection = self._ready(_origin(request.url), progress)
        keep = False
        try:
            keep = self._converse(connection, request, progress)
        except httpcore.LocalProtocolError:
            raise httpx.LocalProtocolError("the request cannot be written as HTTP") from None
        except httpcore.RemoteProtocolError:
            raise httpx.RemoteProtocolError("the answer is not whole HTTP") from None
        finally:
            self._used_at = self._clock()
            if keep:
                connection.socket.end()
            else:
                self.close()
        return httpx.Response(progress.status or 0, headers=progress.headers, content=bytes(progress.body))

    def close(self) -> None:
        """Close the connection."""
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
        """Write the request and read the answer. Return True if the connection may serve another call."""
        connection.socket.begin(progress)
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        answer = connection.handle_request(
            httpcore.Request(request.method, target, headers=request.headers.raw, content=request.read())
        )
        if answer.status < _FIRST_FINAL_STATUS:
            raise httpcore.RemoteProtocolError
        progress.status = answer.status
        shown = [pair for pair in answer.headers if pair[0].lower() not in _HIDDEN]
        progress.headers = headers = httpx.Headers(shown)
        connection.socket.expect_body(ANSWER_FACTOR * self._body_limit)
        for part in answer.iter_stream():
            progress.body += part
            if len(progress.body) > self._body_limit:
                del progress.body[self._body_limit :]
                raise AnswerTooLongError("the answer is too long")
        sized, chunked = "content-length" in headers, "transfer-encoding" in headers
        bodiless = answer.status in _BODILESS
        progress.delimited = sized or chunked or bodiless
        progress.complete = True
        answer.close()
        # Where length and chunks disagree, or a body may follow that should not, the next answer is in doubt.
        return connection.is_idle() and not connection.has_surplus() and sized != chunked and not bodiless


def _origin(url: httpx.URL) -> httpcore.Origin:
    scheme = url.raw_scheme
    if scheme not in _PORTS:
        raise httpx.UnsupportedProtocol("allowed: http:// or https://")
    return httpcore.Origin(scheme, url.raw_host, url.port or _PORTS[scheme])


# --- opening a connection --------------------------------------------------------------------


def _open(
    origin: httpcore.Origin,
    progress: Progress,
    clock: Callable[[], float],
    resolver: Resolver,
    ssl_context: ssl.SSLContext | None,
) -> socket.socket:
    """Return a connected socket, before the latest moment to write. Raise ConnectError, ConnectTimeout."""
    host = origin.host.decode("ascii")
    addresses = _NAMES.look_up(resolver, host, origin.port, seconds=progress.write_by - clock())
    for turn, (family, address) in enumerate(addresses, 1):
        # One address that swallows everything must leave time for the next.
        share = (progress.write_by - clock()) / (len(addresses) - turn + 1)
        try:
            sock = _connect(family, address, max(0.001, share))
        except OSError as error:
            if turn == len(addresses):
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
    """Put the system's reason in words, without what the error's own text may quote."""
    if isinstance(error, TimeoutError):
        return httpx.ConnectTimeout(f"{step}: no answer in time")
    if isinstance(error, ssl.SSLCertVerificationError):
        why = f"the server's certificate is not valid ({error.verify_message})"
    elif isinstance(error, ssl.SSLError):
        why = f"no agreement with the server ({error.reason or 'unknown'})"
    else:
        why = os.strerror(error.errno) if error.errno else "failed"
    return httpx.ConnectError(f"{step}: {why}")


# --- clients ---------------------------------------------------------------------------------


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none."""


class DeadlineClient(httpx.Client):
    """A client over a transport of its own, for one thread. `seconds` limits each call as a whole."""

    def __init__(self, transport: DeadlineTransport, *, seconds: float, base_url: str = "") -> None:
        super().__init__(
            transport=transport,
            timeout=seconds,
            base_url=base_url,
            # Compressed, a small answer could become one that does not fit into memory.
            headers={"Accept-Encoding": "identity", "User-Agent": "ringback"},
            trust_env=False,
            follow_redirects=False,
        )
        # Reading them from each answer takes as long as parsing the answer.
        self._cookies = _NoCookies()
