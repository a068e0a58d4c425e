"""The registry of running web and worker processes, based on their heartbeats.

A process that has ended disappears from the registry within 15 seconds.
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
"""How long a process counts as running after a heartbeat. LIVES in lua/monitoring.lua is the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A web or worker process. Times are aware, UTC, by the store's clock.

    `kind` is "web" or "worker". `swept_at` and `wake_up_at` are the times of the latest sweep and of the
    latest wake-up taken. `stalled_since` is the time since which it has taken no published wake-ups, or None.
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
    """Records heartbeats and lists the running processes."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def heartbeat(self, who: str, facts: Mapping[str, Any]) -> int:
        """Record a heartbeat. Return the number of wake-ups taken by all workers since the store was created.

        lua/monitoring.lua documents the facts at `heartbeat`. Raise StoreAwayError.
        """
        return int(self._store.call("heartbeat", who, orjson.dumps(dict(facts))))

    def all(self) -> list[Process]:
        """Return the processes seen in the last 15 seconds, by kind and start. Raise StoreAwayError."""
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
