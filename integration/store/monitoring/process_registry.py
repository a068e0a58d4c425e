"""Which webs and workers are there, by the heartbeat that they give every few seconds.

A process that ends, however it ends, is gone from here within 15 seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.timestamps import from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.store.client import Store

LIVES_SECONDS = 15.0
"""How long a process is believed to be there after a heartbeat; as LIVES in lua/monitoring.lua."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A web or a worker. Moments are aware, UTC, by the store's clock.

    `kind` is "web" or "worker". `swept_at`, `wake_up_at`: its latest sweep, and the latest wake-up that it
    took. `stalled_since`: since when it takes no wake-ups, though they are published; None while it does.
    """

    id: str
    kind: str
    host: str
    pid: int
    version: str
    started_at: datetime
    seen_at: datetime
    swept_at: datetime | None
    wake_up_at: datetime | None
    drains_by_wake_up: int
    drains_by_sweep: int
    stalled_since: datetime | None


class ProcessRegistry:
    """The processes that work on a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def heartbeat(self, who: str, told: Mapping[str, Any]) -> int:
        """Give a heartbeat, with what lua/monitoring.lua lists at `heartbeat`.

        Gives how many wake-ups all workers took since the store was made. Raises StoreAwayError.
        """
        return int(self._store.call("heartbeat", who, orjson.dumps(dict(told))))

    def all(self) -> list[Process]:
        """Give those that were seen in the last 15 seconds, by kind and start. Raises StoreAwayError."""
        since = self._store.now_ms() - LIVES_SECONDS * 1000
        client, key = self._store.client, self._store.key("processes")
        ids = self._store.guarded(lambda: client.zrangebyscore(key, since, "+inf"))
        records = self._store.hashes(f"process:{who}" for who in ids)
        found = [_process(who, record) for who, record in zip(ids, records, strict=True) if record]
        return sorted(found, key=lambda process: (process.kind, process.started_at, process.id))


def _process(who: str, record: Mapping[str, str]) -> Process:
    return Process(
        id=who,
        kind=record["kind"],
        host=record["host"],
        pid=int(record["pid"]),
        version=record["version"],
        started_at=from_epoch_ms(record["started"]),
        seen_at=from_epoch_ms(record["seen"]),
        swept_at=_moment_if_any(record["swept"]),
        wake_up_at=_moment_if_any(record["wake_up"]),
        drains_by_wake_up=int(record["by_wake_up"]),
        drains_by_sweep=int(record["by_sweep"]),
        stalled_since=_moment_if_any(record["stalled"]),
    )


def _moment_if_any(ms: str) -> datetime | None:
    return from_epoch_ms(ms) if ms else None
