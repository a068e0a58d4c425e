"""A real Valkey of the tests' own; one that cannot be found skips its tests on a laptop and fails them in CI."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import redis

from integration.local.child_process import Child, spawn
from integration.local.embedded_store import EmbeddedError, find_server
from integration.local.supervisor import free_port

if TYPE_CHECKING:
    from pathlib import Path

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
