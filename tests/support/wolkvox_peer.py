"""A server on loopback that speaks raw bytes by a script, and calls that are pushed to it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import Exchange, WolkvoxConnection
from integration.clients.wolkvox_protocol import Call, build_call
from integration.domain.account import Account

if TYPE_CHECKING:
    from collections.abc import Callable


TOKEN = "tok-5f1d0c2e77"


OK = b'HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n{"code":202}'


SHORT = 0.4


def call_to(endpoint: str, token: str = TOKEN) -> Call:
    account = Account(name="a", base_url="http://127.0.0.1:1", token=TOKEN, timezone="America/Bogota")
    made = build_call(
        account,
        campaign_id="12345",
        customer_id="C-900",
        recall_telephone="3001112233",
        recall_date=datetime(2026, 3, 2, 15, tzinfo=UTC),
    )
    url = made.url.replace("http://127.0.0.1:1", endpoint)
    headers = {**made.headers, "wolkvox-token": token}
    return Call(method=made.method, url=url, headers=headers, body=made.body)


def push(
    line: WolkvoxConnection, endpoint: str, *, seconds=10.0, write=5.0, claimed_at=None, token=TOKEN
) -> Exchange:
    return line.push(
        call_to(endpoint, token),
        claimed_at=boottime() if claimed_at is None else claimed_at,
        latest_write_seconds=write,
        timeout_seconds=seconds,
    )


def one(endpoint: str, **options) -> Exchange:
    with WolkvoxConnection(endpoint) as line:
        return push(line, endpoint, **options)


class Peer:
    """A server that treats its n-th connection as the script says."""

    def __init__(self, script: Callable[[Peer, socket.socket, int], None]) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.ends: list[str] = []
        self.ended = threading.Event()
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self.connections += 1
                thread = threading.Thread(target=self._run, args=(connection, self.connections), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            self.script(self, connection, number)

    def read(self, connection: socket.socket) -> bytes:
        """Read one request; empty when the client has gone."""
        data = b""
        while not data.endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        self.requests.append(data)
        return data

    def watch_end(self, connection: socket.socket) -> None:
        """Note how the client closes: by FIN or by RST."""
        try:
            while connection.recv(65536):
                pass
            self.ends.append("FIN")
        except OSError:
            self.ends.append("RST")
        self.ended.set()

    def stop(self) -> None:
        self.over.set()
        # A listener that is only closed would leave its thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


def answering(*parts: bytes):
    """Answer the n-th request of every connection with the n-th part, the last one for ever."""

    def script(self: Peer, connection: socket.socket, number: int) -> None:
        for n in range(1000):
            if not self.read(connection):
                return
            connection.sendall(parts[min(n, len(parts) - 1)])

    return script


def dripping(data: bytes, at_once: bytes = b""):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(at_once)
        for n in range(len(data)):
            connection.sendall(data[n : n + 1])
            if self.over.wait(0.03):
                return

    return script


def flooding(head: bytes, part: bytes, pause: float = 0.0):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(head)
        while not self.over.wait(pause):
            connection.sendall(part)

    return script


def hanging(self, connection, number):
    self.read(connection)
    self.watch_end(connection)


def breaking(data: bytes, *, reset: bool):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(data)
        if reset:
            # The client must have what was sent before the reset throws it away.
            time.sleep(0.1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return script


HEAD = b"HTTP/1.1 202 A\r\nContent-Length: 99\r\n\r\n"
