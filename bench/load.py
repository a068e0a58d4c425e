"""HTTP load generator for loopback: prepared requests over persistent connections.

It does little work per request, because it shares the processors with the system under test. Each
connection has one request in flight. As a program it reads requests from a file and prints results as JSON.
"""

from __future__ import annotations

import json
import select
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LENGTH = struct.Struct("<I")
_HEAD_END = b"\r\n\r\n"
_CONTENT_LENGTH = b"content-length:"
_PIECE = 256 * 1024
# A load is aborted after this time without any response.
HUNG_SECONDS = 10.0


@dataclass(slots=True)
class LoadResult:
    """Results of a load: responses by status, and latencies in seconds."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
    ran_out: bool = False
    reopened: int = 0
    hung: int = 0

    @property
    def good(self) -> int:
        """The number of 2xx responses."""
        return sum(count for status, count in self.statuses.items() if 200 <= status < 300)

    def as_dict(self) -> dict[str, Any]:
        """Return the results as JSON values; latencies are in milliseconds."""
        ordered = sorted(self.latencies)
        return {
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "good": self.good,
            "per_second": self.good / self.seconds if self.seconds else 0.0,
            "p50_ms": quantile(ordered, 0.50) * 1000,
            "p99_ms": quantile(ordered, 0.99) * 1000,
            "ran_out": self.ran_out,
            "reopened": self.reopened,
            "hung": self.hung,
        }


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the sorted values lie; 0 if there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def request_bytes(path: str, headers: Iterable[tuple[str, str]], body: bytes, host: str = "bench") -> bytes:
    """Return a POST request as bytes."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + _HEAD_END + body


def write_requests(path: Path, requests: Iterable[bytes]) -> None:
    """Write requests to a file, each prefixed with its length."""
    with path.open("wb") as file:
        for request in requests:
            file.write(_LENGTH.pack(len(request)) + request)


def read_requests(path: Path) -> list[bytes]:
    """Read the requests of a file."""
    data, at, found = path.read_bytes(), 0, []
    while at < len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size
        found.append(data[at : at + length])
        at += length
    return found


class Connection:
    """A persistent connection with one request at a time."""

    __slots__ = ("_port", "answer", "need", "request", "sent_at", "sock")

    def __init__(self, port: int) -> None:
        self._port = port
        self.answer = self.request = b""
        self.need = 0
        self.sent_at = 0.0
        self._open()

    def _open(self) -> None:
        self.sock = socket.create_connection(("127.0.0.1", self._port), timeout=10)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes) -> None:
        """Send a request and reset the response buffer."""
        self.answer, self.need, self.request = b"", 0, request
        self.sent_at = time.perf_counter()
        self.sock.sendall(request)

    def received(self) -> int | None:
        """Read available data. Return the status once the response is complete, else None.

        Raise ConnectionError.
        """
        piece = self.sock.recv(_PIECE)
        if not piece:
            raise ConnectionError("the server closed a persistent connection")
        self.answer = self.answer + piece if self.answer else piece
        if not self.need:
            self.need = _whole_length(self.answer)
        if not self.need or len(self.answer) < self.need:
            return None
        return int(self.answer[9:12])

    def send_again(self) -> None:
        """Send the request again over a new connection. The latency still counts from the first attempt."""
        self.sock.close()
        self._open()
        self.answer, self.need = b"", 0
        self.sock.sendall(self.request)


def _whole_length(answer: bytes) -> int:
    """Return the total length of a response; 0 while its head is incomplete."""
    end = answer.find(_HEAD_END)
    if end < 0:
        return 0
    head = answer[:end].lower()
    at = head.find(_CONTENT_LENGTH)
    length = int(head[at + len(_CONTENT_LENGTH) :].split(b"\r", 1)[0]) if at >= 0 else 0
    return end + len(_HEAD_END) + length


def run(port: int, requests: Iterable[bytes], *, connections: int, seconds: float) -> LoadResult:
    """Send requests until the time is over or all are sent, then wait for the last responses."""
    return _Run(port, requests, seconds).run(connections)


class _Run:
    """The state of a running load."""

    def __init__(self, port: int, requests: Iterable[bytes], seconds: float) -> None:
        self._port = port
        self._waiting = iter(requests)
        self._seconds = seconds
        self._seen = LoadResult()
        self._poll = select.epoll()
        self._by_fd: dict[int, Connection] = {}

    def run(self, connections: int) -> LoadResult:
        seen, started, cpu = self._seen, time.perf_counter(), time.process_time()
        for request in _first(self._waiting, connections):
            connection = Connection(self._port)
            self._watch(connection)
            connection.send(request)
        end = started + self._seconds
        while self._by_fd:
            ready = self._poll.poll(HUNG_SECONDS)
            if not ready:
                seen.hung = len(self._by_fd)
                break
            for fd, _ in ready:
                self._read(self._by_fd[fd], fd, end)
        seen.seconds = time.perf_counter() - started
        seen.cpu_seconds = time.process_time() - cpu
        return seen

    def _watch(self, connection: Connection) -> None:
        self._by_fd[connection.sock.fileno()] = connection
        self._poll.register(connection.sock, select.EPOLLIN)

    def _leave(self, fd: int) -> Connection:
        self._poll.unregister(fd)
        return self._by_fd.pop(fd)

    def _read(self, connection: Connection, fd: int, end: float) -> None:
        try:
            status = connection.received()
        except ConnectionError:
            self._reopen(fd)
            return
        if status is None:
            return
        seen, now = self._seen, time.perf_counter()
        seen.latencies.append(now - connection.sent_at)
        seen.statuses[status] = seen.statuses.get(status, 0) + 1
        request = next(self._waiting, None) if now < end else None
        if request is None:
            seen.ran_out |= now < end
            self._leave(fd).sock.close()
        else:
            try:
                connection.send(request)
            except ConnectionError:
                self._reopen(fd)

    def _reopen(self, fd: int) -> None:
        connection = self._leave(fd)
        connection.send_again()
        self._watch(connection)
        self._seen.reopened += 1


def _first(waiting: Iterator[bytes], number: int) -> list[bytes]:
    return [request for _, request in zip(range(number), waiting, strict=False)]


def main() -> None:
    """Run the command line: port, file of requests, connections, seconds."""
    port, path, connections, seconds = sys.argv[1:5]
    seen = run(int(port), read_requests(Path(path)), connections=int(connections), seconds=float(seconds))
    sys.stdout.write(json.dumps(seen.as_dict()) + "\n")


if __name__ == "__main__":
    main()
