"""The delivery log: accepted and rejected deliveries, newest first.

The script logs accepted deliveries on admission. Rejected deliveries are logged here in batches, without
their bodies. Entries are kept as long as raw bodies, but at least a day, and up to a maximum number for each
source.
"""

from __future__ import annotations

import heapq
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.errors import NotFoundError
from integration.domain.json_codec import read_json
from integration.domain.rejection import Rejection
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso, iso_milliseconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from integration.store.client import Store

REJECTIONS_KEPT = 1000
CHUNK = 200
MOST_LOOKED_AT = 5000
_COUNTS = ("recalls", "ignored", "parked", "pending", "cancelled", "too_late")
RESULTS = ("recalls", "ignored", "parked", "pending", "cancelled", "again", "refused")


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedDelivery:
    """One entry of the log. `at` is an aware UTC time.

    A rejected entry has `rejection`, and None as `delivery`. `again` is True for a repeated delivery.
    `counts` has the numbers of results by name. `place` identifies the entry in cursors and in URLs of
    the dashboard.
    """

    place: str
    at: datetime
    source: str
    delivery: str | None
    again: bool = False
    counts: Mapping[str, int] = field(default_factory=dict)
    rejection: Rejection | None = None

    @property
    def has_body(self) -> bool:
        """Return True if the body was stored with recalls, or with parked, pending or cancelled events.

        It may have been purged since. Rejected and repeated deliveries have none.
        """
        counts = (self.counts.get(result, 0) for result in ("recalls", "parked", "pending", "cancelled"))
        return self.rejection is None and not self.again and any(counts)

    def has_result(self, result: str) -> bool:
        """Return True if the entry has this result, one of RESULTS.

        A repeated delivery has only the result "again", a rejected one only "refused".
        """
        if result == "refused":
            return self.rejection is not None
        if result == "again":
            return self.again
        return self.rejection is None and not self.again and self.counts.get(result, 0) > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryFilter:
    """Conditions that an entry of the log must match. A condition that is None matches every entry.

    `result` is one of RESULTS. `until` is aware and inclusive.
    """

    source: str | None = None
    result: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryLogPage:
    """A page of the log. `next` is the cursor of the next page, or None on the last page.

    `searched_back_to` is the time (aware, UTC) of the last entry read, if the page ended after MOST_LOOKED_AT
    entries; otherwise None.
    """

    items: tuple[LoggedDelivery, ...]
    next: str | None
    searched_back_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A stored delivery: its body, its headers without secrets, and the results of its events.

    `received_at` is aware, UTC. Each entry of `results` is the id of a recall or parked event, or one of
    `ignored`, `pending`, `cancel`.
    """

    id: str
    source: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    results: tuple[str, ...]


class DeliveryLog:
    """Reads and trims the delivery log of a store, and logs rejected deliveries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add_rejections(self, batch: Sequence[Rejection], *, days: int) -> None:
        """Log rejected deliveries.

        The log of a source holds about REJECTIONS_KEPT of them, and expires `days` after the latest one.
        Raise StoreAwayError.
        """

        def commands(pipe: Any) -> None:
            for rejection in batch:
                pipe.xadd(
                    self._rejections_key(rejection.source),
                    {"doc": _doc(rejection)},
                    maxlen=REJECTIONS_KEPT,
                    approximate=True,
                )
            for source in {rejection.source for rejection in batch}:
                pipe.expire(self._rejections_key(source), days * 24 * 3600)

        self._store.pipelined(commands)

    def page(
        self,
        sources: Iterable[str],
        *,
        result: str | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> DeliveryLogPage:
        """Return the deliveries of these sources, newest first.

        `result` is one of RESULTS, or None for all. `until` is aware and inclusive; a `cursor` replaces
        it. A page ends early after MOST_LOOKED_AT entries. Raise StoreAwayError, or ValueError if the
        cursor is invalid.
        """
        found: list[LoggedDelivery] = []
        looked_at = 0
        last: LoggedDelivery | None = None
        for arrival in self._newest_first(list(sources), result, until, cursor):
            if len(found) == limit:
                return DeliveryLogPage(items=tuple(found), next=found[-1].place)
            if looked_at == MOST_LOOKED_AT and last is not None:
                return DeliveryLogPage(items=tuple(found), next=last.place, searched_back_to=last.at)
            looked_at, last = looked_at + 1, arrival
            if result is None or arrival.has_result(result):
                found.append(arrival)
        return DeliveryLogPage(items=tuple(found), next=None)

    def rejected(self, place: str) -> LoggedDelivery:
        """Return a rejected delivery by its place. Raise NotFoundError or StoreAwayError."""
        try:
            at, stream = _read_place(place)
        except ValueError:
            raise NotFoundError("no such delivery: its address is wrong") from None
        key, wanted = self._store.key(stream), f"{at[0]}-{at[1]}"
        rows = self._store.guarded(lambda: self._store.client.xrange(key, wanted, wanted))
        if not rows or not stream.startswith("refused:"):
            raise NotFoundError("no such delivery: its entry was deleted, or its address is wrong")
        return _arrival(stream, *rows[0])

    def delivery(self, delivery_id: str) -> StoredDelivery:
        """Return a stored delivery. Raise NotFoundError if none has this id, or StoreAwayError."""
        found = self.many([delivery_id])
        if not found:
            raise NotFoundError(
                "no such delivery: its id is wrong, or its body was not kept, "
                "or was deleted after raw_retention_days"
            )
        return found[0]

    def many(self, ids: Sequence[str]) -> list[StoredDelivery]:
        """Return the deliveries with these ids that are still stored, in one round trip.

        Raise StoreAwayError.
        """
        records = self._store.hashes(f"delivery:{delivery_id}" for delivery_id in ids)
        return [_stored(id_, record) for id_, record in zip(ids, records, strict=True) if record]

    def kept_of(self, source: str, *, limit: int) -> list[StoredDelivery]:
        """Return at most `limit` stored deliveries of a source, newest first.

        Only the latest 2 * `limit` entries of its log are examined. Raise StoreAwayError.
        """
        entries = self.page([source], limit=limit * 2).items
        return self.many([each.delivery for each in entries if each.delivery and not each.again])[:limit]

    def trim(self, sources: Iterable[str], *, before: datetime) -> None:
        """Remove log entries older than `before` (aware). Raise StoreAwayError.

        Some of them may stay, because the store removes entries in blocks.
        """
        oldest = str(epoch_ms(before))

        def commands(pipe: Any) -> None:
            for source in sources:
                for stream in _streams(source):
                    pipe.xtrim(self._store.key(stream), minid=oldest, approximate=True)

        self._store.pipelined(commands)

    def _rejections_key(self, source: str) -> str:
        return self._store.key(f"refused:{source}")

    def _newest_first(
        self, sources: Sequence[str], result: str | None, until: datetime | None, cursor: str | None
    ) -> Iterator[LoggedDelivery]:
        kinds = (
            ("refused",)
            if result == "refused"
            else ("arrivals", "refused")
            if result is None
            else ("arrivals",)
        )
        streams = [f"{kind}:{source}" for source in sources for kind in kinds]
        below = None if cursor is None else _read_place(cursor)
        top = "+" if until is None else str(epoch_ms(until))
        rows = [self._rows(stream, top, below) for stream in streams]
        yield from heapq.merge(*rows, key=_order, reverse=True)

    def _rows(self, stream: str, top: str, below: _Place | None) -> Iterator[LoggedDelivery]:
        highest = top
        if below is not None:
            (ms, seq), name = below
            # Entries of two streams may have the same id; the streams' names then decide the order.
            highest = f"{ms}-{seq}" if stream < name else f"({ms}-{seq}"
        while True:
            found = self._chunk(stream, highest)
            for place, fields in found:
                yield _arrival(stream, place, fields)
            if len(found) < CHUNK:
                return
            highest = f"({found[-1][0]}"

    def _chunk(self, stream: str, highest: str) -> list[tuple[str, dict[str, str]]]:
        key = self._store.key(stream)
        return list(self._store.guarded(lambda: self._store.client.xrevrange(key, highest, "-", count=CHUNK)))


def _stored(delivery_id: str, record: Mapping[str, str]) -> StoredDelivery:
    return StoredDelivery(
        id=delivery_id,
        source=record["source"],
        received_at=from_iso(record["received"]),
        headers=read_json(record["headers"]),
        body=zlib.decompress(record["body"].encode("utf-8", "surrogateescape")),
        results=tuple(word for word in record.get("results", "").split(",") if word),
    )


_Place = tuple[tuple[int, int], str]


def _streams(source: str) -> tuple[str, str]:
    return f"arrivals:{source}", f"refused:{source}"


def _read_place(place: str) -> _Place:
    at, _, stream = place.partition(".")
    ms, _, seq = at.partition("-")
    if not stream.startswith(("arrivals:", "refused:")):
        raise ValueError("the cursor is invalid; begin with the first page")
    return (int(ms), int(seq)), stream


def _order(arrival: LoggedDelivery) -> _Place:
    return _read_place(arrival.place)


def _arrival(stream: str, at: str, fields: Mapping[str, str]) -> LoggedDelivery:
    kind, _, source = stream.partition(":")
    moment = from_epoch_ms(at.partition("-")[0])
    place = f"{at}.{stream}"
    if kind == "refused":
        rejection = _read_doc(source, fields["doc"])
        return LoggedDelivery(place=place, at=rejection.at, source=source, delivery=None, rejection=rejection)
    what, *numbers = fields["w"].split(";")
    counts = dict(zip(_COUNTS, map(int, numbers), strict=True))
    return LoggedDelivery(
        place=place, at=moment, source=source, delivery=fields["d"], again=what == "again", counts=counts
    )


def _doc(rejection: Rejection) -> bytes:
    fields = {
        "at": iso_milliseconds(rejection.at),
        "status": rejection.status,
        "method": rejection.method,
        "size": rejection.size,
        "type": rejection.content_type,
        "headers": rejection.headers,
        "sender": rejection.sender,
        "check": rejection.check,
        "why": rejection.why,
        "findings": [[cause, dict(facts)] for cause, facts in rejection.findings],
        "proved": rejection.proved,
        "more": rejection.more,
    }
    return orjson.dumps(fields)


def _read_doc(source: str, text: str) -> Rejection:
    doc: dict[str, Any] = read_json(text)
    return Rejection(
        at=from_iso(doc["at"]),
        source=source,
        status=doc["status"],
        method=doc["method"],
        size=doc["size"],
        content_type=doc["type"],
        headers=tuple(doc["headers"]),
        sender=doc["sender"],
        check=doc["check"],
        why=doc["why"],
        findings=tuple((cause, facts) for cause, facts in doc["findings"]),
        proved=doc["proved"],
        more=doc["more"],
    )
