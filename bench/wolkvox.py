"""A wolkvox stub: accepts every call after a fixed delay, and records when it arrived.

It is faster than the sandbox, because it applies no rules. It counts overlapping calls of a token, so that
a run that breaks the limit is detected. `POST /bench/begin?ms=50` clears the records and sets the delay to
50 ms. `GET /bench/seen` returns the figures.
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
    """Records of one token: calls in flight, time of the last answer, and gaps."""

    calls: int = 0
    in_flight: int = 0
    answered_at: float = 0.0
    busy: float = 0.0
    gaps: list[float] = field(default_factory=list)


class CallLog:
    """Calls since the last `begin`. Times are seconds of the monotonic clock."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.begin(0.0)

    def begin(self, seconds: float) -> None:
        """Clear all records and set the delay of answers."""
        self.seconds = seconds
        self._queues: dict[bytes, _Queue] = {}
        self._customers: dict[str, float] = {}
        self._overlaps = 0
        self._first = self._last = 0.0

    def call_received(self, token: bytes, body: bytes) -> float:
        """Record a call. Return its time."""
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

    def call_answered(self, token: bytes, came_at: float) -> None:
        """Record an answer."""
        now = time.monotonic()
        queue = self._queues.get(token)
        if queue is None:
            return  # the call arrived before the last `begin`
        queue.in_flight -= 1
        queue.answered_at = now
        queue.busy += now - came_at
        self._last = now

    def as_dict(self) -> dict[str, Any]:
        """Return the figures; gaps are in milliseconds."""
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
        """Return the arrival time of each customer's call."""
        return self._customers


class _Protocol(asyncio.Protocol):
    """Reads complete requests from one connection, one at a time."""

    def __init__(self, calls: CallLog) -> None:
        self._calls = calls
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
            self._transport.write(_answer(self._control(target)))
            return
        token = head[head.find(b"wolkvox-token:") + 14 :].split(b"\r", 1)[0].strip()
        self._call(token, body)

    def _call(self, token: bytes, body: bytes) -> None:
        came_at = self._calls.call_received(token, body)
        if self._calls.seconds:
            asyncio.get_running_loop().call_later(self._calls.seconds, self._accept, token, came_at)
        else:
            self._accept(token, came_at)

    def _accept(self, token: bytes, came_at: float) -> None:
        self._calls.call_answered(token, came_at)
        if not self._transport.is_closing():
            self._transport.write(_answer(_ACCEPTED))

    def _control(self, target: bytes) -> bytes:
        if target.startswith(b"/bench/begin"):
            self._calls.begin(float(target.partition(b"ms=")[2] or 0) / 1000)
        if target == b"/bench/arrivals":
            return json.dumps(self._calls.arrivals()).encode()
        return json.dumps(self._calls.as_dict()).encode()


async def _serve(port: int) -> None:
    calls = CallLog()
    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(calls), "127.0.0.1", port, backlog=4096
    )
    await server.serve_forever()


def main() -> None:
    """Serve on a port of loopback until the process is killed."""
    uvloop.run(_serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
