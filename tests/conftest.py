"""What all tests share: a real Valkey, a fresh store in it, and no network but this machine's own.

A server that cannot be found skips its tests on a laptop and fails them where CI is set.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from hypothesis import HealthCheck, settings

from support.valkey import DURABLE, ValkeyServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

_configure = structlog.configure


def _configure_without_cache(**chosen: Any) -> None:
    """Configure loggers that are used again by a later test with another configuration."""
    _configure(**{**chosen, "cache_logger_on_first_use": False})


structlog.configure = _configure_without_cache

# A test reports to a Sentry of its own or to none.
os.environ.pop("SENTRY_DSN", None)

# No deadline: the machine is shared, and a slow example is no fault.
settings.register_profile(
    "quick",
    max_examples=25,
    print_blob=True,
    derandomize=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", settings.get_profile("quick"), max_examples=200)
settings.load_profile("quick")


@pytest.fixture(autouse=True)
def loggers_as_they_were() -> Iterator[None]:
    """Leave no level and no form of lines to the next test."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """One durable Valkey for all tests: `.url`, `.unix_url`, `.pid`. Do not kill this one."""
    server = ValkeyServer(tmp_path_factory.mktemp("valkey"), DURABLE)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def store(valkey: ValkeyServer) -> Iterator[redis.Redis]:
    """An empty store: a client that answers in text. What was in it before is gone."""
    with valkey.client() as client:
        client.flushall()
        yield client


@pytest.fixture
def start_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., ValkeyServer]]:
    """Start servers of a test's own, with other flags or to be killed: `start_valkey(*flags)`."""
    started: list[ValkeyServer] = []

    def start(*flags: str) -> ValkeyServer:
        server = ValkeyServer(tmp_path_factory.mktemp("valkey"), flags or DURABLE)
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.kill()


# --- no other network ------------------------------------------------------------------------


def is_this_machine(address: object) -> bool:
    """Tell whether a socket address is loopback or a unix socket's path."""
    if isinstance(address, str | bytes):
        return True
    host = address[0]
    if host in {"", "localhost"}:
        return True
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(host.partition("%")[0])
        ip = getattr(ip, "ipv4_mapped", None) or ip
        return ip.is_loopback or ip.is_unspecified
    return False


@pytest.fixture(autouse=True)
def only_this_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Fail a test that connects to anything but this machine, also from a thread of its own."""
    elsewhere: list[object] = []

    def guarded(real: Callable[..., object]) -> Callable[..., object]:
        def connect(self: socket.socket, address: object) -> object:
            if not is_this_machine(address):
                elsewhere.append(address)
                raise ConnectionRefusedError(f"tests reach this machine only, not {address}")
            return real(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    yield
    assert not elsewhere, f"the test connected to {elsewhere}; only this machine is allowed"
