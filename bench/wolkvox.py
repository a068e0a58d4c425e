"""A wolkvox that only answers: every call after so many milliseconds, and remembers when which came.

Ringback's own sandbox keeps wolkvox's rules and is slower than what is measured here; this keeps none.
It counts calls of a token that overlap, so that a figure that breaks the one rule that counts is seen.
`POST /bench/begin?ms=50` forgets what came and answers after 50 ms from now on, `GET /bench/seen` tells.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import uvloop

from bench.load import quantile

_HEAD_END = b"\r\n\r\n"
_ACCEPTED = b'{"code":"202","error":"","msg":"PROCESSING RECALL","data":[]}'


def _answer(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@dataclass(slots=True)
class _Queue:
    """What is known of one token: calls in flight, when the last answer left, what the gaps were."""

    calls: int = 0
    in_flight: int = 0
    answered_at: float = 0.0
    busy: float = 0.0
    gaps: list[float] = field(default_factory=list)


class Book:
    """What came since the last beginning; times in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.begin(0.0)

    def begin(self, seconds: float) -> None:
        """Forget everything, and answer after so long from now on."""
        self.seconds = seconds
        self._queues: dict[bytes, _Queue] = {}
        self._customers: dict[str, float] = {}
        self._overlaps = 0
        self._first = self._last = 0.0

    def came(self, token: bytes, body: bytes) -> float:
        """Take note of a call; gives the moment."""
        now = time.monotonic()
        queue = self._queues.get(token)
        if queue is None:
            queue = self._queues[token] = _Queue()
        self._overlaps += queue.in_flight > 0
        queue.in_flight += 1
        queue.calls += 1
        if queue.answered_at:
            queue.gaps.append(now - queue.answered_at)
        self._first = self._first or now
        if len(self._customers) < 5000:
            self._customers[json.loads(body)["customer_id"]] = now
        return now

    def answers(self, token: bytes, came_at: float) -> None:
        """Take note of an answer."""
        now = time.monotonic()
        queue = self._queues.get(token)
        if queue is None:
            return  # it came before the last beginning
        queue.in_flight -= 1
        queue.answered_at = now
        queue.busy += now - came_at
        self._last = now

    def told(self) -> dict[str, Any]:
        """Give what was seen; gaps in milliseconds."""
        gaps = sorted(gap for queue in self._queues.values() for gap in queue.gaps)
        counts = [queue.calls for queue in self._queues.values()]
        seconds = self._last - self._first
        return {
            "calls": sum(counts),
            "queues": len(counts),
            "seconds": seconds,
            "per_second": sum(counts) / seconds if seconds > 0 else 0.0,
            "utilisation": sum(queue.busy for queue in self._queues.values()) / (seconds * len(counts))
            if seconds > 0
            else 0.0,
            "gap_p50_ms": quantile(gaps, 0.50) * 1000,
            "gap_p99_ms": quantile(gaps, 0.99) * 1000,
            "fewest": min(counts, default=0),
            "most": max(counts, default=0),
            "overlaps": self._overlaps,
        }

    def arrivals(self) -> dict[str, float]:
        """Give when each customer's call came."""
        return self._customers


class _Protocol(asyncio.Protocol):
    """Reads whole requests off one connection, one at a time."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._read = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        end = self._read.find(_HEAD_END)
        if end < 0:
            return
        head = self._read[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(self._read) < end + 4 + length:
            return
        body, target = self._read[end + 4 : end + 4 + length], self._read.split(b" ", 2)[1]
        self._read = b""
        if target.startswith(b"/bench/"):
            self._transport.write(_answer(self._told(target)))
            return
        token = head[head.find(b"wolkvox-token:") + 14 :].split(b"\r", 1)[0].strip()
        self._call(token, body)

    def _call(self, token: bytes, body: bytes) -> None:
        came_at = self._book.came(token, body)
        if self._book.seconds:
            asyncio.get_running_loop().call_later(self._book.seconds, self._accept, token, came_at)
        else:
            self._accept(token, came_at)

    def _accept(self, token: bytes, came_at: float) -> None:
        self._book.answers(token, came_at)
        if not self._transport.is_closing():
            self._transport.write(_answer(_ACCEPTED))

    def _told(self, target: bytes) -> bytes:
        if target.startswith(b"/bench/begin"):
            self._book.begin(float(target.partition(b"ms=")[2] or 0) / 1000)
        if target == b"/bench/arrivals":
            return json.dumps(self._book.arrivals()).encode()
        return json.dumps(self._book.told()).encode()


async def _serve(port: int) -> None:
    book = Book()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(book), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Serve on the given port of loopback until it is ended."""
    uvloop.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
