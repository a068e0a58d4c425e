"""Bulk jobs: retry or cancel all recalls of a filter, in steps that any worker takes.

A job acts at most once on each recall, and only on recalls that existed when it began. It continues after
the death of any process, and can be stopped.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.errors import NotFoundError
from integration.domain.json_codec import read_json
from integration.domain.recall import Filter, State
from integration.domain.schedule import Drop, reschedule
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso, iso_seconds
from integration.store.token_queue import wake_ups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import Account
    from integration.domain.recall import Recall
    from integration.store.client import Store
    from integration.store.monitoring.durability_watch import DurabilityWatch
    from integration.store.recalls import RecallStore
    from integration.store.token_queue import WakeUp

STEP = 50
LISTED = 20
MOST_LISTED = 5000
"""Recalls that a job lists for each outcome (`Job.MOST_LISTED` in operator_commands.lua)."""
DONE = "done"
"""The outcome of the recalls that a job changed."""
_CHUNK = 500


class BulkAction(StrEnum):
    """The action of a job on each recall."""

    RETRY = "retry"
    CANCEL = "cancel"


# A job reads only recalls in these states, because it would skip all others.
ACTS_ON = {
    BulkAction.RETRY: frozenset({State.DEAD, State.EXPIRED}),
    BulkAction.CANCEL: frozenset({State.QUEUED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJob:
    """A job and its progress. Times are aware, UTC.

    `total` is the number of recalls at the start, None if they were not counted. `skipped` maps the reason
    why recalls were skipped (their state, or a text) to their number.
    """

    id: str
    kind: BulkAction
    which: Filter
    who: str
    reason: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    total: int | None
    done: int
    skipped: Mapping[str, int]
    cursor: str
    upper: str

    @property
    def looked_at(self) -> int:
        """Return the number of recalls handled so far."""
        return self.done + sum(self.skipped.values())


class BulkJobs:
    """Stores and advances jobs. `wake` publishes the wake-ups of queues that have work again."""

    def __init__(
        self,
        store: Store,
        recalls: RecallStore,
        durability: DurabilityWatch,
        wake: Callable[[WakeUp], None],
    ) -> None:
        self._store = store
        self._recalls = recalls
        self._durability = durability
        self._wake = wake

    def begin(self, kind: str, which: Filter, *, who: str, reason: str, total: int | None = None) -> BulkJob:
        """Begin a job, which the workers advance, and return it.

        Raise StoreAwayError, also while the store may lose what the job does. `reason` is recorded with
        each recall. Recalls in states that `kind` cannot act on are left out.
        """
        self._durability.require_safe()
        which = self.acted_on(kind, which)
        job = {
            "kind": kind,
            "filter": orjson.dumps(_filter_fields(which)).decode(),
            "who": who,
            "reason": reason,
            "total": "" if total is None else str(total),
        }
        id_ = str(self._store.call("begin_job", orjson.dumps(job), secrets.token_hex(2)))
        return self.get(id_)

    def acted_on(self, kind: str, which: Filter) -> Filter:
        """Return the filter limited to recalls that a job of this kind acts on."""
        return acted_on(BulkAction(kind), which)

    def get(self, job: str) -> BulkJob:
        """Return a job. Raise NotFoundError, StoreAwayError."""
        record = self._store.guarded(lambda: self._store.client.hgetall(self._store.key(f"job:{job}")))
        if not record:
            raise NotFoundError("no such job")
        return _job(job, record)

    def latest(self, limit: int = LISTED) -> list[BulkJob]:
        """Return the latest jobs, newest first. Raise StoreAwayError."""
        read = self._store.client.zrevrange
        ids = self._store.guarded(lambda: read(self._store.key("jobs"), 0, limit - 1))
        records = self._store.hashes(f"job:{job}" for job in ids)
        return [_job(id_, record) for id_, record in zip(ids, records, strict=True) if record]

    def running(self) -> list[str]:
        """Return the ids of running jobs, the oldest first. Raise StoreAwayError."""
        found = self._store.guarded(lambda: self._store.client.smembers(self._store.key("jobs:running")))
        return sorted(found)

    def stop(self, job: str) -> bool:
        """Stop a job. What it has done so far remains. Return False if it had already ended.

        Raise NotFoundError, StoreAwayError.
        """
        self.get(job)
        return bool(self._store.call("stop_job", job))

    def states_now(self, job: str) -> Counter[str]:
        """Return the present states of the recalls that a job changed, with the number of each.

        Only the first MOST_LISTED recalls are counted, without those that no longer exist. Raise
        StoreAwayError.
        """
        client, key = self._store.client, self._store.key
        prefix = f"{DONE}|"
        members: list[str] = self._store.guarded(
            lambda: client.zrangebylex(key(f"job_outcomes:{job}"), f"[{prefix}", f"[{prefix}~")
        )
        recalls = [key(f"recall:{member.removeprefix(prefix)}") for member in members]
        found: Counter[str] = Counter()
        for start in range(0, len(recalls), _CHUNK):

            def commands(pipe: Any, some: Sequence[str] = recalls[start : start + _CHUNK]) -> None:
                for recall in some:
                    pipe.hget(recall, "state")

            found.update(filter(None, self._store.pipelined(commands)))
        return found

    def advance(self, job: str, owner: str, accounts: Mapping[str, Account], now: datetime) -> bool:
        """Take one step of a job. Return True if steps remain.

        Return False if the job has ended, another worker is advancing it, or the store may lose the step.
        `owner` identifies the worker and must be the same in all its steps. Raise StoreAwayError.
        """
        if not self._durability.is_safe or not self._store.call("take_job", job, owner):
            return False
        held = self.get(job)
        found = self._recalls.search.find(
            held.which, limit=STEP, cursor=held.cursor or held.upper, budget_seconds=0.2
        )
        acts = [_act(held.kind, recall, accounts, now) for recall in self._recalls.read(found.ids)]
        wake_ups = self._store.call("job_step", job, owner, held.cursor, found.next or "", orjson.dumps(acts))
        if wake_ups == "lost":
            return False
        for wake_up in wake_ups_of(wake_ups):
            self._wake(wake_up)
        return found.next is not None


def acted_on(kind: BulkAction, which: Filter) -> Filter:
    """Return the filter limited to the states that this kind of job acts on."""
    allowed = ACTS_ON[kind]
    return replace(which, states=allowed if which.states is None else allowed & which.states)


def retry_date(account: Account | None, recall: Recall, now: datetime) -> datetime | None:
    """Return the earliest possible date for a retry if the recall's date has passed, else None.

    Return None also with `account=None`, or if no date is possible. Dates are aware.
    """
    if account is None or recall.recall_date > now:
        return None
    scheduled = reschedule(account.model_copy(update={"late": "asap"}), recall.recall_date, now)
    return None if isinstance(scheduled, Drop) else scheduled.date


def _act(kind: BulkAction, recall: Recall, accounts: Mapping[str, Account], now: datetime) -> dict[str, str]:
    date = retry_date(accounts.get(recall.account), recall, now) if kind is BulkAction.RETRY else None
    if date is None:
        return {"id": recall.id}
    score = str(epoch_ms(date))
    return {"id": recall.id, "date": iso_seconds(date), "score": score}


def _filter_fields(which: Filter) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(which):
        value = getattr(which, each.name)
        if value is not None:
            values[each.name] = sorted(value) if isinstance(value, frozenset) else value
    return values


_MOMENTS = ("created_from", "created_until", "date_from", "date_until")


def _read_filter(text: str) -> Filter:
    values = read_json(text)
    values.update({name: from_iso(values[name]) for name in _MOMENTS if name in values})
    if "accounts" in values:
        values["accounts"] = frozenset(values["accounts"])
    if "telephones" in values:
        values["telephones"] = tuple(values["telephones"])
    if "states" in values:
        values["states"] = frozenset(map(State, values["states"]))
    if "state" in values:
        values["state"] = State(values["state"])
    return Filter(**values)


def _job(id_: str, record: Mapping[str, str]) -> BulkJob:
    return BulkJob(
        id=id_,
        kind=BulkAction(record["kind"]),
        which=_read_filter(record["filter"]),
        who=record["who"],
        reason=record["reason"],
        state=record["state"],
        created_at=from_epoch_ms(record["created"]),
        ended_at=from_epoch_ms(record["ended"]) if "ended" in record else None,
        total=int(record["total"]) if record["total"] else None,
        done=int(record["done"]),
        skipped=read_json(record["skipped"]),
        cursor=record["cursor"],
        upper=record["upper"],
    )
