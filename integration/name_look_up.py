"""Names of servers become addresses within a time limit, which the system's resolver does not have."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Address = tuple[Any, ...]
Resolver = Callable[[str, int], list[tuple[int, Address]]]
"""From host and port to (address family, socket address) pairs, best first; raises OSError."""


class NoAddressError(Exception):
    """A name has no address, or none came in time; the text says which, and not whose name it was."""


def resolve(host: str, port: int) -> list[tuple[int, Address]]:
    """Look a name up by the system's resolver, which has no time limit of its own."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found]


@dataclass(slots=True)
class _LookUp:
    done: threading.Event = field(default_factory=threading.Event)
    found: list[tuple[int, Address]] | None = None


class Names:
    """Looks names up: one thread per name at most, whoever else asks waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[tuple[Resolver, str, int], _LookUp] = {}

    def look_up(
        self, resolver: Resolver, host: str, port: int, *, seconds: float
    ) -> list[tuple[int, Address]]:
        """Give the addresses of a name, at least one; those of an address at once. Raises NoAddressError."""
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
            raise NoAddressError("no answer in time")
        if not look_up.found:
            raise NoAddressError("the server's name was not found")
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
