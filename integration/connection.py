"""A connection to one server that keeps the times of the call in hand, whatever the server does.

Nothing stands between the last look at the clock and the first byte that leaves. A call given up is closed
by reset, and what the kernel may still send of it is bounded, also when the process is killed.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import httpx

from integration.config import GUARD_SECONDS
from integration.name_look_up import Names, NoAddressError

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.name_look_up import Address, Resolver

READ_BYTES = 16 * 1024


class Unsent(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """No byte has left; the reason is in plain words. `too_late`: for want of time alone."""

    def __init__(self, reason: str, *, too_late: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.too_late = too_late


class TimeOver(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """The time of the call was over before the whole answer was there."""


class Broken(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """The connection broke before the whole answer was there."""


@dataclass(slots=True)
class Times:
    """The limits of the call in hand, by the line's clock, in seconds."""

    clock: Callable[[], float]
    write_by: float = 0.0
    end: float = 0.0

    def left_to_write(self) -> float:
        """Give the seconds until the last moment to write. Raises Unsent when it is over."""
        left = self.write_by - self.clock()
        if left <= 0:
            raise Unsent("no time was left to send it", too_late=True)
        return left

    def left_to_read(self) -> float:
        """Give the seconds until the call's end. Raises TimeOver when it is over."""
        left = self.end - self.clock()
        if left <= 0:
            raise TimeOver
        return left


# Linux only: how long the kernel may go on sending what is not acknowledged.
_USER_TIMEOUT: int | None = getattr(socket, "TCP_USER_TIMEOUT", None)
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
_ORDERLY_CLOSE = struct.pack("ii", 0, 0)

# What a socket says that would have to wait; a TLS connection may have to read before it writes.
_NOT_YET = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Stream:
    """A connected socket. It waits in `poll` alone, and there no longer than the call has time."""

    def __init__(self, sock: socket.socket, times: Times) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._times = times
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        # What TLS has unpacked already is not seen by `poll`.
        self._unpacked: Callable[[], int] = getattr(sock, "pending", int)
        self.sent_at: float | None = None

    def begin(self) -> None:
        """Start a call: nothing is sent yet."""
        self.sent_at = None

    def send(self, data: bytes) -> None:
        """Write a whole request, in one piece where the kernel takes it. Raises Unsent, TimeOver, Broken."""
        self._times.left_to_write()
        self.sent_at = self._times.clock()
        while data:
            try:
                data = data[self._sock.send(data) :]
            except _NOT_YET as why:
                self._wait(why, select.POLLOUT, self._times.write_by - self._times.clock())
            except OSError:
                raise Broken from None

    def receive(self) -> bytes:
        """Give what has come, empty at the connection's end. Raises TimeOver, Broken."""
        while True:
            left = self._times.left_to_read()
            if not self._unpacked() and not self._poll.poll(left * 1000):
                raise TimeOver
            try:
                return self._sock.recv(READ_BYTES)
            except _NOT_YET as why:
                self._wait(why, select.POLLIN, left)
            except OSError:
                raise Broken from None

    def _wait(self, why: Exception, event: int, seconds: float) -> None:
        if isinstance(why, ssl.SSLWantReadError):
            event = select.POLLIN
        elif isinstance(why, ssl.SSLWantWriteError):
            event = select.POLLOUT
        self._poll.modify(self._sock, event)
        try:
            if not self._poll.poll(max(0.001, seconds) * 1000):
                raise TimeOver
        finally:
            self._poll.modify(self._sock, select.POLLIN)

    def has_something(self) -> bool:
        """Tell whether something is there to read, be it the connection's end."""
        return bool(self._poll.poll(0) or self._unpacked())

    def close(self) -> None:
        """Close it by reset."""
        self._sock.close()

    def close_in_order(self) -> None:
        """Close a connection on which nothing is under way, by FIN."""
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ORDERLY_CLOSE)
        self._sock.close()


@lru_cache(maxsize=1)
def shared_ssl_context() -> ssl.SSLContext:
    """Make the context that all lines share: loading the certificates takes 20 ms."""
    context = httpx.create_ssl_context(trust_env=False)
    context.set_alpn_protocols(["http/1.1"])
    return context


_NAMES = Names()


class Door:
    """Opens connections to one server, within the times of the call in hand."""

    def __init__(
        self, url: httpx.URL, times: Times, resolver: Resolver, ssl_context: ssl.SSLContext | None
    ) -> None:
        self._host = url.raw_host.decode("ascii")
        self._tls = url.scheme == "https"
        self._port = url.port or (443 if self._tls else 80)
        self._times = times
        self._resolver = resolver
        self._ssl_context = ssl_context

    def open(self) -> Stream:
        """Give a connected stream; raises Unsent with the reason."""
        sock = self._connected()
        return Stream(self._secured(sock) if self._tls else sock, self._times)

    def _connected(self) -> socket.socket:
        addresses = self._addresses(self._times.left_to_write())
        why = "no address"
        for turn, (family, address) in enumerate(addresses):
            # One address that swallows everything must leave time for the next.
            share = (self._times.write_by - self._times.clock()) / (len(addresses) - turn)
            try:
                return self._connect(family, address, max(0.001, share))
            except OSError as error:
                why = _system_words(error)
        raise Unsent(f"connect: {why}")

    def _addresses(self, seconds: float) -> list[tuple[int, Address]]:
        try:
            return _NAMES.look_up(self._resolver, self._host, self._port, seconds=seconds)
        except NoAddressError as why:
            raise Unsent(f"DNS: {why}") from None

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
        context = self._ssl_context or shared_ssl_context()
        try:
            sock.settimeout(max(0.001, self._times.write_by - self._times.clock()))
            return context.wrap_socket(sock, server_hostname=self._host)
        except OSError as error:
            sock.close()
            raise Unsent(f"TLS: {_system_words(error)}") from None


def _system_words(error: OSError) -> str:
    """Put the system's reason in words, without what the error's own text may quote."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not valid ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"no agreement with the server ({error.reason or 'unknown'})"
    return os.strerror(error.errno) if error.errno else "failed"
