"""Recalls in the store: reading, retrying and cancelling them."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.errors import ConflictError, NotFoundError
from integration.domain.json_codec import read_json
from integration.domain.recall import Attempt, Change, Recall, State
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso, iso_seconds
from integration.store.search.recalls import RecallSearch
from integration.store.token_queue import wake_ups_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from integration.domain.recall import Filter
    from integration.store.client import Store
    from integration.store.token_queue import WakeUp

CHUNK = 200


def _attempt(line: str) -> Attempt:
    fields = read_json(line)
    return Attempt(
        started_at=from_epoch_ms(fields["started_at"]),
        seconds=fields.get("seconds") or 0.0,
        http_status=fields.get("http_status"),
        code=fields.get("code"),
        msg=fields.get("msg"),
        outcome=fields["outcome"],
        recall_date=from_iso(fields["date"]) if "date" in fields else None,
        reason=fields.get("reason"),
        next_at=from_epoch_ms(fields["next"]) if "next" in fields else None,
    )


def encoded_attempt(attempt: Attempt) -> str:
    """Return an attempt as one line of JSON for the store, without `number` and `answer`."""
    fields: dict[str, Any] = {
        "started_at": epoch_ms(attempt.started_at),
        "seconds": round(attempt.seconds, 4),
        "http_status": attempt.http_status,
        "code": attempt.code,
        "msg": attempt.msg,
        "outcome": attempt.outcome,
    }
    if attempt.recall_date is not None:
        fields["date"] = iso_seconds(attempt.recall_date)
    if attempt.reason is not None:
        fields["reason"] = attempt.reason
    if attempt.next_at is not None:
        fields["next"] = epoch_ms(attempt.next_at)
    return orjson.dumps(fields).decode()


def _attempts(record: Mapping[str, str]) -> tuple[Attempt, ...]:
    attempts = [_attempt(line) for line in record.get("attempts", "").split("\n") if line]
    first = int(record.get("tries", 0)) - len(attempts) + 1
    return tuple(
        replace(attempt, number=number, answer=record.get(f"answer:{number}"))
        for number, attempt in enumerate(attempts, start=first)
    )


def _change(line: str) -> Change:
    at, state, reason = line.split("\t", 2)
    return Change(at=from_epoch_ms(at), state=State(state), reason=reason)


def read_recall(recall_id: str, record: Mapping[str, str]) -> Recall:
    """Return the recall that a hash of the store describes."""
    return Recall(
        id=recall_id,
        state=State(record["state"]),
        account=record["account"],
        campaign_id=record["campaign"],
        customer_id=record["customer"],
        recall_telephone=record["telephone"],
        recall_date=from_iso(record["date"]),
        requested_date=from_iso(record["requested"]),
        source=record["source"],
        route=record.get("route"),
        created_at=from_epoch_ms(record["created"]),
        attempts=_attempts(record),
        history=tuple(_change(line) for line in record["changes"].split("\n") if line),
        reason=record.get("reason") or None,
        delivery=record.get("delivery"),
        place=int(record.get("place", 0)),
        record=record.get("record"),
        proof=record.get("proof"),
        digest=record.get("digest"),
        words=record.get("words"),
        again_of=record.get("again_of"),
        again_by=tuple(filter(None, record.get("again_by", "").split(","))),
        notes=tuple(record["notes"].split("\n")) if "notes" in record else (),
    )


class RecallStore:
    """Reads, retries and cancels the recalls of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.search = RecallSearch(store)

    def get(self, recall_id: str) -> Recall:
        """Return the recall with this id. Raise NotFoundError if there is none, or StoreAwayError."""
        record = self._store.guarded(
            lambda: self._store.client.hgetall(self._store.key(f"recall:{recall_id}"))
        )
        if not record:
            raise NotFoundError("no such recall")
        return read_recall(recall_id, record)

    def page(
        self,
        which: Filter,
        *,
        limit: int,
        cursor: str | None = None,
        budget_seconds: float | None = None,
    ) -> tuple[list[Recall], str | None]:
        """Return recalls, newest first, and the cursor of the next page (None on the last page).

        With `budget_seconds` a page may have fewer than `limit` recalls although a next page exists. Raise
        StoreAwayError.
        """
        # One more than `limit`, to find out whether there is a next page.
        found = self.search.find(which, limit=limit + 1, cursor=cursor, budget_seconds=budget_seconds)
        recalls = self.read(found.ids[:limit])
        return recalls, found.ids[limit - 1] if len(found.ids) > limit else found.next

    def every(self, which: Filter, *, oldest_first: bool = False) -> Iterator[Recall]:
        """Yield all matching recalls in chunks, newest first or oldest first. Raise StoreAwayError."""
        ids = self.search.every(which, oldest_first=oldest_first)
        while some := list(islice(ids, CHUNK)):
            yield from self.read(some)

    def read(self, ids: Sequence[str]) -> list[Recall]:
        """Return the recalls with these ids, in the order of the ids. Unknown ids are left out.

        Raise StoreAwayError.
        """
        records = self._store.hashes(f"recall:{recall_id}" for recall_id in ids)
        return [read_recall(id_, record) for id_, record in zip(ids, records, strict=True) if record]

    def ahead_of(self, recall_id: str, queue: str) -> int | None:
        """Return the number of recalls before this one in its queue, or None if it is not queued there.

        Raise StoreAwayError.
        """
        rank = self._store.guarded(
            lambda: self._store.client.zrank(self._store.key(f"queue:{queue}:recalls"), recall_id)
        )
        return None if rank is None else int(rank)

    def retry(self, recall_id: str, reason: str, *, date: datetime | None = None) -> tuple[WakeUp, ...]:
        """Queue a dead or expired recall again. Return the wake-ups to publish.

        `date` is a new date (aware); None keeps the old one.

        Raise NotFoundError, StoreAwayError, or ConflictError if the recall's state does not allow a retry
        or if the customer has a newer request.
        """
        new_date = "" if date is None else iso_seconds(date)
        score = "" if date is None else str(epoch_ms(date))
        return self._settle(self._store.call("retry", recall_id, reason, new_date, score))

    def cancel(self, recall_id: str, reason: str) -> tuple[WakeUp, ...]:
        """Cancel a queued recall. Return the wake-ups to publish.

        Raise NotFoundError, StoreAwayError, or ConflictError if the recall is not queued.
        """
        return self._settle(self._store.call("cancel", recall_id, reason))

    def _settle(self, reply: Sequence[Any]) -> tuple[WakeUp, ...]:
        what, state, wake_ups = reply
        if what == "unknown":
            raise NotFoundError("no such recall")
        if what == "superseded":
            raise ConflictError(state, "the customer has a newer request, which replaces this recall")
        if what == "conflict":
            raise ConflictError(state)
        return wake_ups_of(wake_ups)
