"""Bulk jobs: act on all recalls, parked events or deliveries of a filter, in steps that any worker takes.

A job acts at most once on each of them, and only on those that existed when it began. It continues after
the death of any process, and can be stopped.
"""

from __future__ import annotations

import secrets
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.errors import NotFoundError
from integration.domain.json_codec import read_json
from integration.domain.recall import Filter, State
from integration.domain.schedule import Drop, reschedule
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso, iso_seconds
from integration.store.delivery_log import DeliveryFilter
from integration.store.parked import ParkedStore
from integration.store.token_queue import wake_ups_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import Account
    from integration.domain.recall import Recall
    from integration.services.parked import ParkedFilter
    from integration.store.client import Store
    from integration.store.monitoring.durability_watch import DurabilityWatch
    from integration.store.recalls import RecallStore
    from integration.store.token_queue import WakeUp

STEP = 50
LISTED = 20
MOST_LISTED = 5000
"""Ids that a job lists for each outcome (`Job.MOST_LISTED` in operator_commands.lua)."""
DONE = "done"
"""The outcome of the recalls, parked events or deliveries that a job acted on."""
RECALL = "recall"
"""The result of an event of a delivery that became a recall."""
_CHUNK = 500


class BulkAction(StrEnum):
    """The action of a job: on each recall, on each parked event, or on each delivery."""

    RETRY = "retry"
    CANCEL = "cancel"
    DISMISS = "dismiss"
    SEND_AGAIN = "send_again"


# A job reads only recalls in these states, because it would skip all others.
ACTS_ON = {
    BulkAction.RETRY: frozenset({State.DEAD, State.EXPIRED}),
    BulkAction.CANCEL: frozenset({State.QUEUED}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJob:
    """A job and its progress. Times are aware, UTC.

    `total` is the number of records at the start, None if they were not counted. `skipped` maps the reason
    why records were skipped (the state of a recall, or a text) to their number. `results` maps what became
    of the events of deliveries to their number. `filter` is the filter in JSON.
    """

    id: str
    kind: BulkAction
    filter: str = field(repr=False)
    who: str
    reason: str
    state: str
    created_at: datetime
    ended_at: datetime | None
    total: int | None
    done: int
    skipped: Mapping[str, int]
    results: Mapping[str, int]
    cursor: str
    upper: str

    @property
    def which(self) -> Filter:
        """Return the filter of a job on recalls."""
        return _read_filter(self.filter)

    @property
    def parked_group(self) -> str:
        """Return the group of a job on parked events."""
        return str(read_json(self.filter)["group"])

    @property
    def deliveries(self) -> DeliveryFilter:
        """Return the filter of a job on deliveries. It matches none that are newer than the job."""
        values = read_json(self.filter)
        until = from_iso(values["until"]) if "until" in values else self.created_at
        return DeliveryFilter(
            source=values.get("source"), result=values.get("result"), until=min(until, self.created_at)
        )

    @property
    def looked_at(self) -> int:
        """Return the number of records handled so far."""
        return self.done + sum(self.skipped.values())


@dataclass(frozen=True, slots=True)
class JobStep:
    """A step of a job: an act for each record. `next` is the cursor of the next step, None at the end.

    Each act is a mapping. The acts on recalls and parked events are carried out by the store: they have
    `id`, and for a retry at a new date `date` and `score`. The deliveries have already been sent by the
    worker: their acts have `id`, `outcome` (DONE, or the reason for skipping the delivery) and, if it was
    sent, `results`, pairs of an event's result and the id of its recall or of the new delivery.
    """

    acts: Sequence[Mapping[str, Any]]
    next: str | None


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
        self._parked = ParkedStore(store)
        self._wake = wake

    def begin(
        self,
        kind: str,
        which: Filter | ParkedFilter | DeliveryFilter,
        *,
        who: str,
        reason: str,
        total: int | None = None,
    ) -> BulkJob:
        """Start a job and return it. The workers advance it.

        Recalls in states that `kind` cannot act on are left out. `reason` is recorded with each recall or
        parked event. Raise StoreAwayError if the store is unreachable or may lose data.
        """
        self._durability.require_safe()
        which = acted_on(BulkAction(kind), which) if isinstance(which, Filter) else which
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

    def states_now(self, job: str, outcome: str = DONE) -> Counter[str]:
        """Return the current states of the recalls of an outcome, with the number of each.

        `outcome` is RECALL for a job on deliveries. Only the first MOST_LISTED recalls are counted, without
        those that no longer exist. Raise StoreAwayError.
        """
        recalls = [self._store.key(f"recall:{id_}") for id_ in self.ids_of(job, outcome, MOST_LISTED)]
        found: Counter[str] = Counter()
        for start in range(0, len(recalls), _CHUNK):

            def commands(pipe: Any, some: Sequence[str] = recalls[start : start + _CHUNK]) -> None:
                for recall in some:
                    pipe.hget(recall, "state")

            found.update(filter(None, self._store.pipelined(commands)))
        return found

    def ids_of(self, job: str, outcome: str, limit: int) -> list[str]:
        """Return at most `limit` ids that a job lists for an outcome. Raise StoreAwayError."""
        client, key = self._store.client, self._store.key(f"job_outcomes:{job}")
        prefix = f"{outcome}|"
        members: list[str] = self._store.guarded(
            lambda: client.zrangebylex(key, f"[{prefix}", f"[{prefix}~", start=0, num=limit)
        )
        return [member.removeprefix(prefix) for member in members]

    def advance(
        self,
        job: str,
        owner: str,
        accounts: Mapping[str, Account],
        now: datetime,
        send_again: Callable[[BulkJob, datetime], JobStep] | None = None,
    ) -> bool:
        """Take one step of a job. Return True if steps remain.

        Return False if the job has ended, another worker is advancing it, or the store may lose the step.
        `owner` identifies the worker and must be the same in all its steps. `send_again` sends the
        deliveries of the next step and returns the JobStep. If it is None, jobs on deliveries are not
        advanced and False is returned. Raise StoreAwayError.
        """
        if not self._durability.is_safe or not self._store.call("take_job", job, owner):
            return False
        held = self.get(job)
        if held.kind is BulkAction.DISMISS:
            step = self._dismissal(held)
        elif held.kind is BulkAction.SEND_AGAIN:
            if send_again is None:
                return False
            step = send_again(held, now)
        else:
            step = self._on_recalls(held, accounts, now)
        acts = orjson.dumps(step.acts)
        wake_ups = self._store.call("job_step", job, owner, held.cursor, step.next or "", acts)
        if wake_ups == "lost":
            return False
        for wake_up in wake_ups_of(wake_ups):
            self._wake(wake_up)
        return step.next is not None

    def _on_recalls(self, job: BulkJob, accounts: Mapping[str, Account], now: datetime) -> JobStep:
        found = self._recalls.search.find(
            job.which, limit=STEP, cursor=job.cursor or job.upper, budget_seconds=0.2
        )
        acts = [_act(job.kind, recall, accounts, now) for recall in self._recalls.read(found.ids)]
        return JobStep(acts, found.next)

    def _dismissal(self, job: BulkJob) -> JobStep:
        records, following = self._parked.page(
            group=job.parked_group, limit=STEP, cursor=job.cursor or None, oldest_first=True
        )
        # Events parked after the job began are not dismissed.
        began = epoch_ms(job.created_at)
        old = [{"id": record["id"]} for record in records if int(record["at"]) <= began]
        return JobStep(old, following if len(old) == len(records) else None)


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


def _filter_fields(which: Filter | ParkedFilter | DeliveryFilter) -> dict[str, Any]:
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
        filter=record["filter"],
        who=record["who"],
        reason=record["reason"],
        state=record["state"],
        created_at=from_epoch_ms(record["created"]),
        ended_at=from_epoch_ms(record["ended"]) if "ended" in record else None,
        total=int(record["total"]) if record["total"] else None,
        done=int(record["done"]),
        skipped=read_json(record["skipped"]),
        results=read_json(record.get("results", "{}")),
        cursor=record["cursor"],
        upper=record["upper"],
    )
