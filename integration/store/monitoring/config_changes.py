"""Configuration changes that need an operator's acceptance, and the settings that are in use.

A change is identified by the digest of the new configuration. Every process that has found the change renews
its record. An acceptance applies to all processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.config.changes import Removal
from integration.domain.json_codec import read_json
from integration.domain.timestamps import epoch_ms, from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from integration.store.client import Store

PENDING_SECONDS: Final = 60
ACCEPTED_SECONDS: Final = 3600
# The time of an API key's use is written at most once an hour by each process.
_NOTE_EVERY_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that is not applied yet, and its removals. `digest` identifies the new configuration."""

    digest: str
    removed: tuple[Removal, ...]


class ConfigChanges:
    """The pending and accepted changes of a store. Each method may raise StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._noted: dict[str, int] = {}

    def hold(self, change: PendingChange, now: datetime) -> None:
        """Record a pending change. The record expires a minute after the latest call for it."""
        removed = [[each.kind, each.name] for each in change.removed]
        until = epoch_ms(now) + 1000 * PENDING_SECONDS
        record = orjson.dumps({"removed": removed, "until": until}).decode()

        def commands(pipe: Any) -> None:
            pipe.hset(self._store.key("config:pending"), change.digest, record)
            pipe.expire(self._store.key("config:pending"), PENDING_SECONDS)

        self._store.pipelined(commands)

    def pending(self, now: datetime) -> list[PendingChange]:
        """Return the pending changes of all processes, ordered by digest."""
        key = self._store.key("config:pending")
        found = self._store.guarded(lambda: self._store.client.hgetall(key))
        records = {digest: read_json(text) for digest, text in sorted(found.items())}
        return [
            PendingChange(digest, tuple(Removal(kind, name) for kind, name in record["removed"]))
            for digest, record in records.items()
            if record["until"] > epoch_ms(now)
        ]

    def accept(self, digest: str) -> None:
        """Accept the configuration with this digest for all processes, for an hour."""
        key = self._store.key(f"config:accepted:{digest}")
        self._store.guarded(lambda: self._store.client.set(key, "1", ex=ACCEPTED_SECONDS))

    def is_accepted(self, digest: str) -> bool:
        """Return True if the configuration with this digest was accepted in the last hour."""
        key = self._store.key(f"config:accepted:{digest}")
        return bool(self._store.guarded(lambda: self._store.client.exists(key)))

    def note_key(self, name: str, now: datetime) -> None:
        """Record the use of an API key, at most once an hour in each process."""
        moment = epoch_ms(now)
        if moment - self._noted.get(name, 0) >= _NOTE_EVERY_MS:
            key = self._store.key("api_keys")
            self._store.guarded(lambda: self._store.client.hset(key, name, str(moment)))
            self._noted[name] = moment

    def in_use(self, removed: Sequence[Removal], now: datetime, recently: timedelta) -> tuple[Removal, ...]:
        """Return the removals that affect settings in use, in one round trip.

        A source is in use if it received a delivery in the period `recently` before `now`, an API key if
        it was used in that period, an account if it has queued recalls. Everything else counts as in use.
        """
        stored = [each for each in removed if each.kind in {"source", "api key", "account"}]

        def commands(pipe: Any) -> None:
            for each in stored:
                if each.kind == "source":
                    pipe.hmget(self._store.key(f"source:{each.name}"), ["taken", "refused"])
                elif each.kind == "api key":
                    pipe.hmget(self._store.key("api_keys"), [each.name])
                else:
                    pipe.zcard(self._store.key(f"of:{each.name}:queued"))

        replies = dict(zip(stored, self._store.pipelined(commands) if stored else [], strict=True))
        since = now - recently
        return tuple(each for each in removed if each not in replies or _is_used(each, replies[each], since))


def _is_used(removal: Removal, reply: Any, since: datetime) -> bool:
    if removal.kind == "account":
        return bool(reply)
    return any(moment and from_epoch_ms(moment) >= since for moment in reply)
