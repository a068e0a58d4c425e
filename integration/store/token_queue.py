"""Commands of the token queues: acquire, finish, pause, resume, bind, sweep and test calls.

- A queue is leased only while a recall is being pushed or a test call is made. `finish` ends the lease of
  a recall. With `more`, it also claims the next recall.
- If a reply of `finish` was lost, another call with the same fence and step returns that reply and
  records nothing twice. The same applies to `acquire` with the same nonce.
- The reply `lost` means that the drain no longer holds the queue, for example because another drain has
  acquired it. Later calls of the earlier drain change nothing.
- No key contains a token. The id of a queue is an HMAC of the token under a random key from the store. An
  account that left the configuration may have a queue `gone-ACCOUNT`.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from integration.domain.account import next_reset, quota_day
from integration.domain.json_codec import read_json
from integration.domain.timestamps import epoch_ms, from_epoch_ms, from_iso

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import Account
    from integration.store.client import Store


TEST_CALL = "a test call"
"""Placeholder for the recall in flight during a test call. TEST_CALL in lua/keys.lua is the same."""
QUIET = "quiet time: wolkvox may still be working on a call"
HELD = "the store lost data, so calls that it has no record of may be running"
UNTAKEN = "due, but no worker has taken it: check that workers are running and not all busy"
UNTAKEN_MS = 60_000
"""How long a wake-up may wait until it counts as untaken, because all worker threads may be busy."""
UNTAKEN_PUBLICATIONS = 4
"""A wake-up with more publications counts as untaken. The fifth is made after 7.5 seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueSettings:
    """The settings of a queue: lease, quiet time and daily limit of pushes (None for no limit).

    `day` is the name of the quota's day, `day_ends` the end of that day (aware).
    """

    lease_seconds: float
    quiet_seconds: float
    daily_limit: int | None
    day: str
    day_ends: datetime

    def to_json(self) -> bytes:
        """Return the settings as JSON for the script, with times in milliseconds."""
        fields: dict[str, Any] = {
            "lease_ms": round(self.lease_seconds * 1000),
            "quiet_ms": round(self.quiet_seconds * 1000),
            "day": self.day,
            "day_ends": epoch_ms(self.day_ends),
        }
        if self.daily_limit is not None:
            fields["daily_limit"] = self.daily_limit
        return orjson.dumps(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claimed recall. Only the drain with this fence may push it.

    `strikes`, `rounds` and `crashes` are the counts by which the recall is retried or set aside.
    `history` has the faults of the queue, as the worker encodes them.
    """

    fence: int
    recall_id: str
    account: str
    campaign_id: str
    customer_id: str
    telephone: str = field(repr=False)
    date: str
    strikes: int
    rounds: int
    crashes: int
    history: str


@dataclass(frozen=True, slots=True)
class NoClaim:
    """The reason why nothing was claimed.

    `kind` is busy, lost, empty, wait, paused, stopped, released or taken. `until_ms` is the end of that
    state in epoch milliseconds, 0 if unknown.
    """

    kind: str
    reason: str = ""
    until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PushResult:
    """The result of a claimed recall. `Queue.apply` in lua/drain.lua documents the fields."""

    kind: str
    reason: str = ""
    state: str | None = None
    verdict: str | None = None
    passed: bool = False
    counts_against_recall: bool = False
    date: str | None = None
    attempt: str | None = None
    answer: str | None = None
    words: str | None = None
    sent_ms: int | None = None
    quiet: bool = False
    wait_ms: int | None = None
    wait_until: int | None = None
    wait_reason: str | None = None
    stop: str | None = None
    history: str | None = None

    def to_json(self) -> bytes:
        """Return the fields that are not None, and `date` also as `date_ms`, as JSON for the script."""
        named = {name: getattr(self, name) for name in self.__slots__}
        if self.date is not None:
            named["date_ms"] = epoch_ms(from_iso(self.date))
        return orjson.dumps({name: value for name, value in named.items() if value is not None})


class WakeUp(NamedTuple):
    """A notice that a queue has work.

    `number` is the time of its first publication in epoch milliseconds. A wake-up starts at most one
    drain.
    """

    queue: str
    number: int


class QueueReply(NamedTuple):
    """The store's reply to a drain: a claim or a NoClaim, and the wake-up to publish, if any."""

    claim: Claim | NoClaim
    wake_up: WakeUp | None = None


def wake_ups_of(flat: Sequence[Any]) -> tuple[WakeUp, ...]:
    """Return the distinct wake-ups of a flat list of the form [queue, number, queue, number, …]."""
    return tuple(dict.fromkeys(map(WakeUp, flat[::2], map(int, flat[1::2]))))


def _wake_up(queue: str, number: int) -> WakeUp | None:
    return WakeUp(queue, int(number)) if number else None


def _claimed(text: str) -> Claim | NoClaim:
    reply = read_json(text)
    if reply["kind"] != "push":
        return NoClaim(reply["kind"], reply.get("reason", ""), int(reply.get("until", 0)))
    record = reply["recall"]
    return Claim(
        fence=int(reply["fence"]),
        recall_id=record["id"],
        account=record["account"],
        campaign_id=record["campaign"],
        customer_id=record["customer"],
        telephone=record["telephone"],
        date=record["date"],
        strikes=int(record.get("strikes", 0)),
        rounds=int(record.get("rounds", 0)),
        crashes=int(record.get("crashes", 0)),
        history=reply["history"],
    )


class TokenQueues:
    """The token queues of a store. Each method may raise StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def id_key(self) -> bytes:
        """Return the random key for queue ids, created on first use and stored."""
        return self._store.secret("queue_key")

    def acquire(
        self, queue: str, nonce: str, terms: QueueSettings, *, wake_up: WakeUp | None = None
    ) -> QueueReply:
        """Acquire the queue and claim its next recall.

        `nonce` identifies the drain. A `wake_up` that was taken before claims nothing; None claims
        without a wake-up.
        """
        number = "" if wake_up is None else wake_up.number
        text, new = self._store.call("acquire", queue, nonce, terms.to_json(), number)
        return QueueReply(_claimed(text), _wake_up(queue, new))

    def finish(
        self,
        queue: str,
        claim: Claim,
        step: int,
        result: PushResult,
        *,
        more: bool | Literal["alone"],
        terms: QueueSettings,
    ) -> QueueReply:
        """Record the result of the claimed recall.

        `step` is the number of this call in the drain, from 1. With `more`, also claim the next recall.
        `more="alone"` claims it only if no other queue and no lookup waits for a worker.
        """
        goes_on = more if more == "alone" else str(int(more))
        arguments = claim.fence, step, claim.recall_id, result.to_json(), goes_on, terms.to_json()
        text, new = self._store.call("finish", queue, *arguments)
        return QueueReply(_claimed(text), _wake_up(queue, new))

    def sweep(self, room: int, *, limit: int = 200, batches: int = 20) -> list[tuple[WakeUp, int]]:
        """Return the wake-ups to publish for due queues, each with its number of publications.

        Return at most `room` wake-ups that were published before and not taken, those due longest first,
        and in addition those that count as lost. One call of the script examines `limit` queues; make at
        most `batches` calls.
        """
        found: list[tuple[WakeUp, int]] = []
        skip = 0
        for _ in range(batches):
            left, *flat = self._store.call("sweep", limit, skip, room)
            new = [(WakeUp(flat[i], int(flat[i + 1])), int(flat[i + 2])) for i in range(0, len(flat), 3)]
            found += new
            room -= sum(times > 1 for _, times in new)
            if int(left) - skip + len(new) < limit:
                break
            skip = int(left)
        return found

    def pause(self, queue: str, reason: str, until: datetime | None = None, *, by: str = "") -> None:
        """Pause the queue until `resume`, or until `until` (aware).

        The store ends a pause with `until` by itself. A push in flight is not interrupted. `by` is the user
        or API key.
        """
        until_ms = "" if until is None else epoch_ms(until)
        self._store.call("pause", queue, reason or "paused by the operator", until_ms, by)

    def begin_test_call(self, queue: str, nonce: str, terms: QueueSettings) -> int | NoClaim:
        """Lease the queue for a test call, which belongs to no recall. Return the fence.

        Paused and stopped queues can be leased, too. Return NoClaim (busy, wait) while the queue pushes,
        waits or is quiet, after a loss of data, and if the daily limit is used up.
        """
        reply = read_json(self._store.call("begin_test_call", queue, nonce, terms.to_json())[0])
        if reply["kind"] == "leased":
            return int(reply["fence"])
        return NoClaim(reply["kind"], reply["reason"], int(reply["until"]))

    def end_test_call(self, queue: str, fence: int, *, sent_ms: int | None, quiet: bool) -> WakeUp | None:
        """End the lease of a test call. Return the wake-up to publish, or None.

        `sent_ms` and `quiet` are as in `PushResult`. A lease with another fence is not changed.
        """
        sent = "" if sent_ms is None else sent_ms
        return _wake_up(queue, self._store.call("end_test_call", queue, fence, sent, int(quiet))[1])

    def resume(self, queue: str) -> WakeUp | None:
        """End a pause, stop, backoff or quota wait. Return the wake-up to publish, or None.

        A lease or a quiet time is not shortened. An account that left the configuration stays stopped. If
        the daily limit is used up, the next claim makes the queue wait again.
        """
        return _wake_up(queue, self._store.call("resume", queue)[1])

    def bind(self, queues: Mapping[str, str]) -> int:
        """Bind every account of the configuration to its queue. Return 0 when all are bound.

        `queues` maps each account to its queue id. The queue of any other account is stopped. If a call
        may still be running for an account that was removed or whose token changed, return the epoch
        milliseconds at which to call `bind` again.
        """
        return int(self._store.call("bind", orjson.dumps(dict(queues))))

    def bound(self) -> dict[str, str]:
        """Return the queue id of every account in the store."""
        bound = self._store.guarded(lambda: self._store.client.hgetall(self._store.key("accounts")))
        return dict(bound)


def queue_id(key: bytes, token: str) -> str:
    """Return the queue id of a token: 32 hex digits, which do not reveal the token."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """The state of a queue as in the API.

    `until` is the end of the state (aware, UTC), or None if unknown. `pushed_today` is the number of
    pushes in the quota's day.
    """

    state: str
    reason: str | None
    until: datetime | None
    pushed_today: int


def held_until(held: str | None, lease_seconds: float) -> int:
    """Return the epoch milliseconds until which a queue is held after a loss of data, 0 if it is not held.

    `held` is the field of that name in the hash `store`.
    """
    return int(float(held)) + round(lease_seconds * 1000) if held else 0


def queue_state(fields: Mapping[str, str], *, now_ms: int, today: str | None, held_ms: int = 0) -> QueueState:
    """Return the state of a queue from the fields of its hash.

    If several states apply, the first of stopped, paused, waiting, busy, idle is returned. `today` is the
    name of the quota's day; None takes the stored count as today's. `held_ms` is the result of
    `held_until`.
    """
    pushed = int(fields.get("pushed") or 0) if today is None or fields.get("day") == today else 0

    def state_of(state: str, reason: str | None = None, until_ms: int | None = None) -> QueueState:
        until = None if until_ms is None else from_epoch_ms(until_ms)
        return QueueState(state=state, reason=reason or None, until=until, pushed_today=pushed)

    quiet, wait, lease = (int(float(fields.get(name) or 0)) for name in ("quiet", "wait", "lease"))
    if stopped := fields.get("stopped") or fields.get("account_removed"):
        return state_of("stopped", stopped)
    pause_ends = int(float(fields.get("paused_until") or 0))
    if fields.get("paused") and (pause_ends > now_ms or not pause_ends):
        return state_of("paused", fields["paused"], pause_ends or None)
    if held_ms > max(now_ms, quiet, wait):
        return state_of("waiting", HELD, held_ms)
    if max(quiet, wait) > now_ms:
        return state_of("waiting", fields.get("wait_reason") if wait > now_ms else QUIET, max(quiet, wait))
    if fields.get("inflight"):
        testing = fields["inflight"] == TEST_CALL
        return state_of("busy", "a test call is being made" if testing else "a recall is being pushed", lease)
    wake_up, publications = (int(fields.get(name) or 0) for name in ("wake_up_at", "publications"))
    untaken = wake_up and (publications > UNTAKEN_PUBLICATIONS or now_ms - wake_up > UNTAKEN_MS)
    return state_of("idle", UNTAKEN if untaken else None)


def terms_of(account: Account, now: datetime) -> QueueSettings:
    """Return the queue settings of an account for the quota's day at `now` (aware)."""
    ends = next_reset(account, now)
    return QueueSettings(
        lease_seconds=account.lease_seconds,
        quiet_seconds=account.quiet_seconds,
        daily_limit=account.daily_limit,
        day=quota_day(ends),
        day_ends=ends,
    )
