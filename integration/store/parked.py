"""Reads parked events, and restores dismissed ones.

A page is read in steps, so that many parked events do not block the store.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.domain.errors import NotFoundError
from integration.domain.json_codec import read_json
from integration.domain.timestamps import from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from integration.store.client import Store

MOST_GROUPS = 500
MOST_LOOKED_AT = 10_000
STEP = 200
_START = "0."
_CURSOR = re.compile(r"[0-9]{1,16}\.\S{0,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedGroup:
    """Events parked for the same reason.

    `oldest` and `newest` are the times of parking (aware, UTC). In `found`, `#` stands for a number and
    `a` for a masked word. `example` is the id of the newest event.
    """

    id: str
    source: str
    route: str
    field: str
    found: str
    allowed: str
    count: int
    example: str
    oldest: datetime
    newest: datetime


class ParkedStore:
    """Reads the parked events of a store, and restores dismissed ones."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self) -> int:
        """Return the number of parked events. Raise StoreAwayError."""
        return int(self._store.guarded(lambda: self._store.client.zcard(self._store.key("parked"))))

    def groups(self) -> list[ParkedGroup]:
        """Return the groups, largest first, at most MOST_GROUPS. Raise StoreAwayError."""
        about = self._store.guarded(lambda: self._store.client.hgetall(self._store.key("parked_groups")))
        ids = list(about)

        def commands(pipe: Any) -> None:
            for group in ids:
                key = self._store.key(f"parked_in:{group}")
                pipe.zcard(key)
                pipe.zrange(key, 0, 0, withscores=True)
                pipe.zrange(key, -1, -1, withscores=True)

        flat = self._store.pipelined(commands)
        found = [
            _group(group, about[group], flat[place : place + 3])
            for group, place in zip(ids, range(0, len(flat), 3), strict=True)
            if flat[place]
        ]
        return sorted(found, key=lambda g: (-g.count, g.source, g.route, g.id))[:MOST_GROUPS]

    def dismissed_count(self) -> int:
        """Return the number of dismissed events. Raise StoreAwayError."""
        return int(self._store.guarded(lambda: self._store.client.zcard(self._store.key("dismissed"))))

    def count_of(self, group: str) -> int:
        """Return the number of parked events of a group. Raise StoreAwayError."""
        key = self._store.key(f"parked_in:{group}")
        return int(self._store.guarded(lambda: self._store.client.zcard(key)))

    def put_back(self, parked: str) -> bool:
        """Park a dismissed event again. Return False if it is not dismissed. Raise StoreAwayError."""
        return bool(self._store.call("put_back_parked", parked))

    def get(self, parked: str) -> dict[str, str]:
        """Return the record of a parked or dismissed event.

        Raise NotFoundError if there is none, or StoreAwayError.
        """
        record = self.many([parked]).get(parked)
        if record is None:
            raise NotFoundError("no such parked event: its id is wrong, or it was remapped or deleted")
        return record

    def many(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return the records of those events that are parked or dismissed, by id, in one round trip.

        Raise StoreAwayError.
        """
        records = self._store.hashes(f"parked:{parked}" for parked in ids)
        return {id_: {"id": id_, **record} for id_, record in zip(ids, records, strict=True) if record}

    def page(  # noqa: PLR0913  (filters and limits)
        self,
        *,
        limit: int,
        cursor: str | None = None,
        group: str | None = None,
        oldest_first: bool = False,
        dismissed: bool = False,
        fits: Callable[[Mapping[str, str]], bool] = lambda _: True,
        most: int | None = None,
    ) -> tuple[list[dict[str, str]], str | None]:
        """Return matching parked events, newest first, and the cursor of the next page or None.

        `group` selects the events of a group, `fits` those for which it returns True. With `dismissed`
        and no `group`, return dismissed events instead. A page ends early, with a cursor, when `most` or
        MOST_LOOKED_AT events or slightly more have been examined. Pages are ordered by the time of
        parking, so events parked or removed meanwhile cause neither gaps nor repetitions. Raise
        StoreAwayError, or NotFoundError if the cursor is invalid.
        """
        if not _CURSOR.fullmatch(cursor or _START):
            raise NotFoundError("the cursor is invalid; begin with the first page")
        read = self._newer if oldest_first else self._older
        index = "dismissed" if dismissed else "parked"
        key = self._store.key(index if group is None else f"parked_in:{group}")
        found: list[dict[str, str]] = []
        step = min(STEP, most or STEP)
        for _ in range(0, most or MOST_LOOKED_AT, step):
            ids = read(key, cursor, step)
            records = self.many([parked for parked, _ in ids])
            for parked, at in ids:
                cursor = f"{int(at)}.{parked}"
                if parked in records and fits(records[parked]):
                    found.append(records[parked])
                if len(found) == limit:
                    return found, cursor if read(key, cursor, 1) else None
            if len(ids) < step:
                return found, None
        return found, cursor

    def _older(self, key: str, cursor: str | None, limit: int) -> list[tuple[str, float]]:
        """Return the ids of events parked before the cursor, with their times, newest first."""
        client = self._store.client
        at, last = ("+inf", "") if cursor is None else tuple(cursor.split(".", 1))

        def read() -> Any:
            # Skip the ids of the cursor's millisecond that were returned before.
            same: Any = client.zrangebyscore(key, at, at) if last else ()
            skip = sum(id_ >= last for id_ in same)
            return client.zrevrangebyscore(key, at, "-inf", start=skip, num=limit, withscores=True)

        return list(self._store.guarded(read))

    def _newer(self, key: str, cursor: str | None, limit: int) -> list[tuple[str, float]]:
        """Return the ids of events parked after the cursor, with their times, oldest first."""
        client = self._store.client
        at, last = ("-inf", "") if cursor is None else tuple(cursor.split(".", 1))

        def read() -> Any:
            # Skip the ids of the cursor's millisecond that were returned before.
            same: Any = client.zrangebyscore(key, at, at) if last else ()
            skip = sum(id_ <= last for id_ in same)
            return client.zrangebyscore(key, at, "+inf", start=skip, num=limit, withscores=True)

        return list(self._store.guarded(read))


def cursor_after(record: Mapping[str, str]) -> str:
    """Return the cursor of the page that begins after a parked event."""
    return f"{int(record['at'])}.{record['id']}"


def _group(group: str, about: str, figures: Sequence[Any]) -> ParkedGroup:
    count, oldest, newest = figures
    source, route, field, found, allowed = read_json(about)
    return ParkedGroup(
        id=group,
        source=source,
        route=route,
        field=field,
        found=found,
        allowed=allowed,
        count=count,
        example=newest[0][0],
        oldest=from_epoch_ms(oldest[0][1]),
        newest=from_epoch_ms(newest[0][1]),
    )
