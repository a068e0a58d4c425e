"""Parked events: grouped by why they wait, read in steps, and remapped in steps.

No step reads or changes more than it is told to, so that a hundred thousand hold nobody up.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.domain.errors import UnknownError
from integration.domain.json_codec import read_json
from integration.domain.timestamps import from_epoch_ms
from integration.mapping.planner import Parked, plan_event
from integration.store.deliveries import kept_parked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from integration.services.desk import Desk
    from integration.store.client import Store

MOST_GROUPS = 500
MOST_LOOKED_AT = 10_000
STEP = 200
_START = "0."
_CURSOR = re.compile(r"[0-9]{1,16}\.\S{0,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedGroup:
    """Events that wait for the same reason. `oldest` and `newest` are when they were parked, aware, UTC.

    `found` is described without its numbers; `example` is the id of the latest one.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """Which parked events are meant: of a group, a source, a route; all of them when nothing is named."""

    group: str | None = None
    source: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remapped:
    """What remapping came to; `next` is the cursor of what is left, None at the end.

    `pending` counts events whose contacts are being looked up again.
    """

    looked_at: int
    recalls: tuple[str, ...]
    pending: int
    settled: int
    still_parked: int
    next: str | None


class Parking:
    """The parked events of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def count(self) -> int:
        """Tell how many events are parked."""
        return int(self._store.guarded(lambda: self._store.client.zcard(self._store.key("parked"))))

    def groups(self) -> list[ParkedGroup]:
        """Give the groups, the largest first, at most MOST_GROUPS. Raises StoreAwayError."""
        about = self._store.guarded(lambda: self._store.client.hgetall(self._store.key("parked_groups")))
        ids = list(about)

        def queue(pipe: Any) -> None:
            for group in ids:
                key = self._store.key(f"parked_in:{group}")
                pipe.zcard(key)
                pipe.zrange(key, 0, 0, withscores=True)
                pipe.zrange(key, -1, -1, withscores=True)

        flat = self._store.pipelined(queue)
        found = [
            _group(group, about[group], flat[place : place + 3])
            for group, place in zip(ids, range(0, len(flat), 3), strict=True)
            if flat[place]
        ]
        return sorted(found, key=lambda one: (-one.count, one.source, one.route, one.id))[:MOST_GROUPS]

    def get(self, parked: str) -> dict[str, str]:
        """Return one parked event as the store holds it. Raise UnknownError, StoreAwayError."""
        record = self.many([parked]).get(parked)
        if record is None:
            raise UnknownError("no such parked event")
        return record

    def many(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return parked events by their ids, in one round trip, without those that are gone."""
        records = self._store.hashes(f"parked:{parked}" for parked in ids)
        return {id_: {"id": id_, **record} for id_, record in zip(ids, records, strict=True) if record}

    def page(
        self,
        *,
        limit: int,
        cursor: str | None = None,
        group: str | None = None,
        oldest_first: bool = False,
        fits: Callable[[Mapping[str, str]], bool] = lambda _: True,
    ) -> tuple[list[dict[str, str]], str | None]:
        """Return parked events that fit, newest first, and the cursor of what follows; None at the end.

        After MOST_LOOKED_AT a page ends early, with its cursor. What changes meanwhile is neither missed
        nor given twice: the order is by the time of parking. Raise UnknownError for a cursor that is none.
        """
        if not _CURSOR.fullmatch(cursor or _START):
            raise UnknownError("no such place among the parked events")
        read = self._newer if oldest_first else self._older
        key = self._store.key("parked" if group is None else f"parked_in:{group}")
        found: list[dict[str, str]] = []
        for _ in range(0, MOST_LOOKED_AT, STEP):
            ids = read(key, cursor, STEP)
            records = self.many([parked for parked, _ in ids])
            for parked, at in ids:
                cursor = f"{int(at)}.{parked}"
                if parked in records and fits(records[parked]):
                    found.append(records[parked])
                if len(found) == limit:
                    return found, cursor if read(key, cursor, 1) else None
            if len(ids) < STEP:
                return found, None
        return found, cursor

    def _older(self, key: str, cursor: str | None, limit: int) -> list[tuple[str, float]]:
        """Return the ids that were parked before a cursor, with their times, the latest first."""
        client = self._store.client
        at, last = ("+inf", "") if cursor is None else tuple(cursor.split(".", 1))

        def read() -> Any:
            # Whatever of this millisecond is still there and not before `last` has been given.
            same: Any = client.zrangebyscore(key, at, at) if last else ()
            skip = sum(one >= last for one in same)
            return client.zrevrangebyscore(key, at, "-inf", start=skip, num=limit, withscores=True)

        return list(self._store.guarded(read))

    def _newer(self, key: str, cursor: str | None, limit: int) -> list[tuple[str, float]]:
        """Return the ids that were parked after a cursor, with their times, the earliest first."""
        client = self._store.client
        at, last = ("-inf", "") if cursor is None else tuple(cursor.split(".", 1))

        def read() -> Any:
            # Whatever of this millisecond is still there and not after `last` has been given.
            same: Any = client.zrangebyscore(key, at, at) if last else ()
            skip = sum(one <= last for one in same)
            return client.zrangebyscore(key, at, "+inf", start=skip, num=limit, withscores=True)

        return list(self._store.guarded(read))


def remap_step(
    desk: Desk, which: Which, now: datetime, *, cursor: str | None = None, limit: int = STEP
) -> Remapped:
    """Remap the next parked events with the configuration as it is now. Raises StoreAwayError.

    Those that still cannot be mapped stay, with the reason of today.
    """
    records, following = desk.parking.page(group=which.group, cursor=cursor, limit=limit, oldest_first=True)
    wanted = [record for record in records if _is_wanted(desk, record, which)]
    outcomes = [_remap_one(desk, record, now) for record in wanted]
    done = [one for one in outcomes if one is not None]
    return Remapped(
        looked_at=len(wanted),
        recalls=tuple(recall for recalls, _ in done for recall in recalls),
        pending=sum(pending for _, pending in done),
        settled=len(done),
        still_parked=len(wanted) - len(done),
        next=following,
    )


def remap(desk: Desk, which: Which, now: datetime, *, cursor: str | None, seconds: float) -> Remapped:
    """Remap step by step for about so many seconds. Return what the steps came to together."""
    until = time.monotonic() + seconds
    found = remap_step(desk, which, now, cursor=cursor)
    while found.next is not None and time.monotonic() < until:
        found = _together(found, remap_step(desk, which, now, cursor=found.next))
    return found


def _together(first: Remapped, then: Remapped) -> Remapped:
    return Remapped(
        looked_at=first.looked_at + then.looked_at,
        recalls=(*first.recalls, *then.recalls),
        pending=first.pending + then.pending,
        settled=first.settled + then.settled,
        still_parked=first.still_parked + then.still_parked,
        next=then.next,
    )


def _is_wanted(desk: Desk, record: dict[str, str], which: Which) -> bool:
    return (
        record["source"] in desk.config.sources
        and which.source in {None, record["source"]}
        and which.route in {None, record["route"]}
    )


def _remap_one(desk: Desk, record: dict[str, str], now: datetime) -> tuple[Sequence[str], int] | None:
    """Map one event anew: its recalls and how many are looked up, or None when it stays parked."""
    kept = kept_parked(record)
    outcome = plan_event(desk.book, kept.delivery, kept.events[0], now)
    if isinstance(outcome, Parked):
        if (outcome.field, outcome.found, outcome.route or "") != (
            record["field"],
            record["found"],
            record["route"],
        ):
            desk.ledger.repark(kept, outcome)
        return None
    admitted = desk.resolve(kept, [outcome], parked=True)
    return ((), 0) if admitted is None else (admitted.answer.recalls, admitted.answer.pending)


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
