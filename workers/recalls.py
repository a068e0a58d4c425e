"""Recalls as the store holds them: one, a page of many, retry and cancel."""

from __future__ import annotations

import heapq
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from integration.errors import ConflictError, UnknownError
from integration.recall import Attempt, Change, Filter, Recall, State
from integration.stored import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from workers.store import Store

CHUNK = 200


def _moment(ms: str | float) -> datetime:
    return datetime.fromtimestamp(float(ms) / 1000, UTC)


def _attempt(line: str) -> Attempt:
    fields = read_json(line)
    return Attempt(
        started_at=_moment(fields["started_at"]),
        seconds=fields.get("seconds") or 0.0,
        http_status=fields.get("http_status"),
        code=fields.get("code"),
        msg=fields.get("msg"),
        outcome=fields["outcome"],
    )


def attempt_line(attempt: Attempt) -> str:
    """Encode an attempt as the ledger keeps it: one line of JSON."""
    return orjson.dumps(
        {
            "started_at": round(attempt.started_at.timestamp() * 1000),
            "seconds": round(attempt.seconds, 4),
            "http_status": attempt.http_status,
            "code": attempt.code,
            "msg": attempt.msg,
            "outcome": attempt.outcome,
        }
    ).decode()


def _attempts(record: Mapping[str, str]) -> tuple[Attempt, ...]:
    attempts = [_attempt(line) for line in record.get("attempts", "").split("\n") if line]
    if attempts and "answer" in record:
        attempts[-1] = replace(attempts[-1], answer=record["answer"])
    return tuple(attempts)


def _change(line: str) -> Change:
    at, state, reason = line.split("\t", 2)
    return Change(at=_moment(at), state=State(state), reason=reason)


def read_recall(recall_id: str, record: Mapping[str, str]) -> Recall:
    """Make a recall of its hash in the store."""
    doc = read_json(record["doc"])
    return Recall(
        id=recall_id,
        state=State(record["state"]),
        account=record["account"],
        campaign_id=record["campaign"],
        customer_id=record["customer"],
        recall_telephone=doc["recall_telephone"],
        recall_date=datetime.fromisoformat(record["date"]),
        requested_date=datetime.fromisoformat(doc["requested_date"]),
        source=doc["source"],
        route=doc.get("route"),
        created_at=_moment(record["created"]),
        attempts=_attempts(record),
        history=tuple(_change(line) for line in record["changes"].split("\n") if line),
        reason=record.get("reason") or None,
    )


class Recalls:
    """The recalls of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, recall_id: str) -> Recall:
        """Give one recall. Raises UnknownError."""
        record = self._store.guarded(
            lambda: self._store.client.hgetall(self._store.key(f"recall:{recall_id}"))
        )
        if not record:
            raise UnknownError("no such recall")
        return read_recall(recall_id, record)

    def page(
        self, which: Filter, *, limit: int, cursor: str | None = None
    ) -> tuple[list[Recall], str | None]:
        """Give recalls, newest first, and the cursor of the next page; None at the end."""
        found: list[Recall] = []
        for recall in self._newest_first(which, cursor):
            if len(found) == limit:
                return found, found[-1].id
            found.append(recall)
        return found, None

    def every(self, which: Filter) -> Iterator[Recall]:
        """Go through recalls, newest first, without holding them all."""
        return self._newest_first(which, None)

    def retry(self, recall_id: str, reason: str, *, date: datetime | None = None) -> tuple[str, ...]:
        """Queue a dead or expired recall again; gives lanes to ring for.

        Raises UnknownError, and ConflictError when its state does not allow it or a newer request of
        the same customer is known.
        """
        new_date = "" if date is None else date.isoformat(timespec="seconds")
        score = "" if date is None else str(round(date.timestamp() * 1000))
        return self._settle(self._store.call("retry", recall_id, reason, new_date, score))

    def cancel(self, recall_id: str, reason: str) -> tuple[str, ...]:
        """Take a queued recall back; gives lanes to ring for. Raises UnknownError, ConflictError."""
        return self._settle(self._store.call("cancel", recall_id, reason))

    def _settle(self, reply: Sequence[Any]) -> tuple[str, ...]:
        what, state, lanes = reply
        if what == "unknown":
            raise UnknownError("no such recall")
        if what == "overtaken":
            raise ConflictError(state, "a newer request of this customer is known")
        if what == "conflict":
            raise ConflictError(state, f"the recall is {state}")
        return tuple(lanes)

    def _indexes(self, which: Filter) -> list[str]:
        if which.customer_id is not None:
            return [f"customer:{which.customer_id}"]
        if which.state is State.PUSHING:
            return ["in:pushing"]
        states = [which.state] if which.state else [state for state in State if state is not State.PUSHING]
        if which.accounts is None:
            return [f"in:{state}" for state in states]
        return [f"of:{account}:{state}" for account in sorted(which.accounts) for state in states]

    def _newest_first(self, which: Filter, cursor: str | None) -> Iterator[Recall]:
        keys = [self._store.key(index) for index in self._indexes(which)]
        below = "+" if cursor is None else f"({cursor}"
        while ids := self._ids(keys, below):
            yield from self._matching(ids, which)
            below = f"({ids[-1]}"

    def _ids(self, keys: Sequence[str], below: str) -> list[str]:
        """Give the newest ids of all indexes together, `CHUNK` at most.

        They are read in one step, so that a recall which changes its state meanwhile is neither missed
        nor given twice.
        """

        def read() -> list[list[str]]:
            with self._store.client.pipeline(transaction=True) as pipe:
                for key in keys:
                    pipe.zrange(key, below, "-", desc=True, bylex=True, offset=0, num=CHUNK)
                return list(pipe.execute())

        return heapq.nlargest(CHUNK, set().union(*self._store.guarded(read)))

    def _matching(self, ids: Sequence[str], which: Filter) -> Iterator[Recall]:
        def read() -> list[dict[str, str]]:
            with self._store.client.pipeline(transaction=False) as pipe:
                for recall_id in ids:
                    pipe.hgetall(self._store.key(f"recall:{recall_id}"))
                return list(pipe.execute())

        for recall_id, record in zip(ids, self._store.guarded(read), strict=True):
            if not record:
                continue
            if which.state is not None and record["state"] != which.state:
                continue
            if which.accounts is not None and record["account"] not in which.accounts:
                continue
            yield read_recall(recall_id, record)
