"""Finds and erases the data that the store holds of one person, and checks the erasure.

A delivery with events of several customers is erased as a whole; the recalls of the other customers stay. A
recall that is being pushed cannot be erased, and is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.domain.json_codec import read_json
from integration.domain.recall import Filter
from integration.store.deliveries import DAY_MS
from integration.store.keyspace_scan import CHUNK, KeyspaceScan, body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from integration.domain.recall import Recall
    from integration.services.personal_data.matcher import PersonMatcher
    from integration.store.client import Store
    from integration.store.recalls import RecallStore


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldData:
    """The data held of a person: recalls, and the ids of other records that mention the person.

    `cancellations` are pairs of queue id and hash field, one for each recorded cancel request.
    """

    recalls: tuple[Recall, ...]
    deliveries: tuple[str, ...]
    parked: tuple[str, ...]
    lookups: tuple[str, ...]
    jobs: tuple[str, ...]
    cancellations: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of records by kind, without kinds that have no records."""
        named = {
            "recalls": len(self.recalls),
            "deliveries": len(self.deliveries),
            "parked": len(self.parked),
            "lookups": len(self.lookups),
            "jobs": len(self.jobs),
            "cancellations": len(self.cancellations),
        }
        return {name: number for name, number in named.items() if number}


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """The result of an erasure.

    `removed` has the number of removed records by kind, `pushing` the ids of recalls that are being
    pushed, and `left` the keys that still mention the person, as `PersonalData.left` yields them. `left`
    is empty if a recall is being pushed.
    """

    removed: Mapping[str, int]
    pushing: tuple[str, ...]
    left: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Return True if no data of the person is left."""
        return not self.pushing and not self.left


class PersonalData:
    """Finds and erases personal data.

    The argument `progress` of its methods is called with the number of keys that the current scan has
    examined.
    """

    def __init__(self, store: Store, recalls: RecallStore) -> None:
        self._store = store
        self._recalls = recalls
        self._content = KeyspaceScan(store)

    def held(self, person: PersonMatcher, progress: Callable[[int], None] = lambda _: None) -> HeldData:
        """Scan the whole store, and return all data held of a person. Raise StoreAwayError."""
        found: dict[str, list[Any]] = {name: [] for name in _MATCHERS}
        for name, (prefix, mentions) in _MATCHERS.items():
            for keys in self._content.keys(f"{prefix}:*", progress):
                for key, record in zip(keys, self._content.many("hgetall", keys), strict=True):
                    found[name] += [key.partition(":")[2]] if mentions(person, record) else []
        recalls = list(self._recalls.every(_filter(person)))
        ids = {name: tuple(some) for name, some in found.items()}
        return HeldData(
            recalls=tuple(recalls), cancellations=tuple(self._cancellations(person, progress)), **ids
        )

    def forget(
        self, person: PersonMatcher, *, keep_days: int, progress: Callable[[int], None] = lambda _: None
    ) -> Erasure:
        """Erase a person's data, search the whole store for remains, and return the result.

        Queued recalls are no longer pushed. A recall that is being pushed stays and is reported, and the
        search is omitted; call `forget` again when the push has ended. For `keep_days` days an older
        request of the customer is not queued again. Raise StoreAwayError; what was removed stays removed,
        and calling `forget` again is safe.
        """
        held = self.held(person, progress)
        keep_ms = str(keep_days * DAY_MS)
        pushing = [
            recall.id
            for recall in held.recalls
            if self._store.call("forget_recall", recall.id, keep_ms) == "pushing"
        ]
        for queue, text in held.cancellations:
            self._store.call("forget_cancel", queue, text, keep_ms)
        for parked in held.parked:
            self._store.call("forget_parked", parked)
        for job in held.jobs:
            self._store.call("forget_job", job)
        for lookup in held.lookups:
            self._store.call("forget_lookup", lookup, self._others(person, lookup))
        self._remove([f"delivery:{delivery}" for delivery in held.deliveries])
        # A stored search may contain a part of the number. All are deleted, because they are short-lived.
        for keys in self._content.keys("search:*", progress):
            self._remove(keys)
        removed = {**held.counts, "recalls": len(held.recalls) - len(pushing)}
        left = tuple(self.left(person, progress)) if not pushing else ()
        return Erasure(
            removed={name: number for name, number in removed.items() if number},
            pushing=tuple(pushing),
            left=left,
        )

    def records(self, kind: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return records by their ids, with decompressed bodies. Missing records are left out.

        `kind` is "delivery", "parked" or "lookup". Raise StoreAwayError.
        """
        found = self._content.many("hgetall", [f"{kind}:{id_}" for id_ in ids])
        return [
            {**record, "id": id_, "body": body_of(record)}
            for id_, record in zip(ids, found, strict=True)
            if record
        ]

    def left(self, person: PersonMatcher, progress: Callable[[int], None] = lambda _: None) -> Iterator[str]:
        """Yield each key that mentions the person, and "find" if the search index has such a recall.

        All values are examined, including compressed bodies. Raise StoreAwayError.
        """
        for keys in self._content.keys("*", progress):
            for key, texts in self._content.texts(keys):
                if person.in_text(key) or any(map(person.in_text, texts)):
                    yield key
        if self._recalls.search.find(_filter(person), limit=1, budget_seconds=None).ids:
            yield "find"

    def _cancellations(
        self, person: PersonMatcher, progress: Callable[[int], None]
    ) -> Iterator[tuple[str, str]]:
        if person.customer is None:
            return
        for keys in self._content.keys("queue:*:newest", progress):
            for key in keys:
                for name, value in self._store.client.hscan_iter(self._store.key(key), count=CHUNK):
                    if str(value).endswith("|c") and person.is_customer(str(name).partition("\0")[2]):
                        yield key.split(":")[1], str(name)

    def _others(self, person: PersonMatcher, lookup: str) -> bytes:
        (record,) = self._content.many("hgetall", [f"lookup:{lookup}"])
        events = read_json(record.get("events", "[]"))
        return orjson.dumps([event for event in events if not person.in_value(event)])

    def _remove(self, names: Sequence[str]) -> None:
        if names:
            self._store.guarded(lambda: self._store.client.delete(*map(self._store.key, names)))


def _in_delivery(person: PersonMatcher, record: Mapping[str, str]) -> bool:
    return person.in_body(body_of(record)) or person.in_text(record.get("headers", ""))


def _in_record(person: PersonMatcher, record: Mapping[str, str]) -> bool:
    event = read_json(record.get("event") or record.get("events") or "null")
    texts = (record.get("headers", ""), record.get("found", ""))
    return person.in_value(event) or any(map(person.in_text, texts))


def _in_job(person: PersonMatcher, record: Mapping[str, str]) -> bool:
    return person.in_value(read_json(record.get("filter", "null")))


_MATCHERS: Final[dict[str, tuple[str, Callable[[PersonMatcher, Mapping[str, str]], bool]]]] = {
    "deliveries": ("delivery", _in_delivery),
    "parked": ("parked", _in_record),
    "lookups": ("lookup", _in_record),
    "jobs": ("job", _in_job),
}


def _filter(person: PersonMatcher) -> Filter:
    if person.customer is not None:
        return Filter(customer_id=person.customer)
    return Filter(telephones=person.endings)
