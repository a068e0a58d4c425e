"""What all tests share: a real Valkey, a fresh store in it, and no network but this machine's own.

A server that cannot be found skips its tests on a laptop and fails them where CI is set.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import HealthCheck, settings

from integration.embedded import EmbeddedError, find_server
from integration.processes import Child, free_port, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# No deadline: the machine is shared, and a slow example is no fault.
settings.register_profile(
    "ringback",
    print_blob=True,
    derandomize=False,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ringback")

DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")


def find_program() -> str:
    """Give the path of a Valkey or Redis server, or skip (fail in CI)."""
    try:
        return find_server()
    except EmbeddedError as error:
        why = str(error)
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


@dataclass
class ValkeyServer:
    """A real server of the tests' own: on a loopback port and on a unix socket."""

    folder: Path
    flags: tuple[str, ...]
    port: int = 0
    process: Child | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def socket_path(self) -> Path:
        return self.folder / "store.sock"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket_path}?db=0"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def client(self, **options) -> redis.Redis:
        return redis.Redis.from_url(self.url, decode_responses=True, **options)

    def start(self) -> None:
        """Start it, on the port it had before if it had one; the data of the folder is kept."""
        for _ in range(10):
            port = self.port or free_port()
            if self._started_on(port):
                self.port = port
                return
        raise AssertionError(f"the server does not start: {self.log()}")

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")[-2000:]

    def _started_on(self, port: int) -> bool:
        arguments = [
            *(find_program(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--unixsocket", str(self.socket_path), "--unixsocketperm", "700", "--save", ""),
            *self.flags,
        ]
        with (self.folder / "log").open("wb") as log:
            self.process = spawn(arguments, output=log)
        end = time.monotonic() + 20
        with redis.Redis(host="127.0.0.1", port=port, socket_timeout=5, retry=None) as client:
            while time.monotonic() < end and self.process.poll() is None:
                with contextlib.suppress(redis.RedisError):
                    # Somebody else's server may have taken the port in between.
                    return client.info("server")["process_id"] == self.process.pid
                time.sleep(0.01)
        self.kill()
        return False

    def kill(self) -> None:
        """Kill it as `kill -9` does; `start()` brings it back with what it had on disk."""
        if self.process is not None:
            self.process.kill()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.process is not None:
            self.process.stop(10)


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
