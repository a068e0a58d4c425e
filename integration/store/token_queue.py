"""The Python face of the queue: acquire, finish, pause, resume, bind, sweep.

Sharp edges, before somebody is cut:
- A queue is held only while a recall is being pushed; `finish` ends that and, with `more`, claims the next.
- A reply lost on the way is asked for again with the same (fence, step): nothing happens twice.
- `Lost` means that another drain has the queue. Whatever this one still knows changes nothing any more.
- The token is in no key: a queue's id is an HMAC of it under a random key that the store keeps.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from integration.domain.json_codec import read_json
from integration.domain.quota import next_reset, quota_day
from integration.domain.timestamps import epoch_ms, from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import Account
    from integration.store.client import Store


LOAN = "a test call"
"""What is in flight on a queue that is lent; as LOAN in lua/keys.lua."""
QUIET = "quiet time: wolkvox may still be working on a call"
HELD = "quiet time: the store lost some of its history, and calls that it does not know of may be running"
UNTAKEN = "due, but no worker takes it"
UNTAKEN_MS = 60_000
"""How long a wake-up may wait in the broker while all threads of all workers are busy with others."""
UNTAKEN_PUBLICATIONS = 4
"""How often a wake-up may be published in vain, beside idle threads: after 1.5, 3, 4.5 and 7.5 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a queue's account asks for: lease and quiet time, and the calls of a day.

    `day` names the quota's day, which ends at `day_ends` (aware).
    """

    lease_seconds: float
    quiet_seconds: float
    daily_limit: int | None
    day: str
    day_ends: datetime

    def to_json(self) -> bytes:
        """Encode for the script, times in milliseconds."""
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
    """A recall to be pushed now, by this drain and nobody else, and what is known of its queue."""

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
    """Nothing to be pushed: `kind` is busy, lost, empty, wait, paused, stopped, released or taken."""

    kind: str
    reason: str = ""
    until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a drain tells of the recall it claimed; the fields as in lua/drain.lua at `Queue.apply`."""

    kind: str
    reason: str = ""
    state: str | None = None
    verdict: str | None = None
    passed: bool = False
    convicts: bool = False
    date: str | None = None
    attempt: str | None = None
    answer: str | None = None
    sent_ms: int | None = None
    quiet: bool = False
    wait_ms: int | None = None
    wait_until: int | None = None
    wait_reason: str | None = None
    stop: str | None = None
    history: str | None = None

    def to_json(self) -> bytes:
        """Encode for the script; what is None is left out."""
        named = {name: getattr(self, name) for name in self.__slots__}
        return orjson.dumps({name: value for name, value in named.items() if value is not None})


class WakeUp(NamedTuple):
    """Says that a queue has work. `number` tells it from those before: each is worth one drain at most."""

    queue: str
    number: int


class QueueReply(NamedTuple):
    """The store's reply to a drain: a claim or why there is none, and the wake-up to publish, if any."""

    claim: Claim | NoClaim
    wake_up: WakeUp | None = None


def wake_ups_of(flat: Sequence[Any]) -> tuple[WakeUp, ...]:
    """Return the wake-ups of a list of queue, number, queue, number …, each once."""
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
    """All queues of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def id_key(self) -> bytes:
        """Give the random key under which tokens become queue ids; made once, kept in the store."""
        return self._store.secret("queue_key")

    def acquire(self, queue: str, nonce: str, terms: Terms, *, wake_up: WakeUp | None = None) -> QueueReply:
        """Take the queue and claim its next recall; with a `wake_up`, only if that was not taken before."""
        number = "" if wake_up is None else wake_up.number
        text, new = self._store.call("acquire", queue, nonce, terms.to_json(), number)
        return QueueReply(_claimed(text), _wake_up(queue, new))

    def finish(
        self,
        queue: str,
        claim: Claim,
        step: int,
        outcome: Outcome,
        *,
        more: bool | Literal["alone"],
        terms: Terms,
    ) -> QueueReply:
        """Record what became of the claimed recall and, with `more`, claim the next in the same step.

        "alone": only if no other queue waits to be drained.
        """
        goes_on = more if more == "alone" else str(int(more))
        words = claim.fence, step, claim.recall_id, outcome.to_json(), goes_on, terms.to_json()
        text, new = self._store.call("finish", queue, *words)
        return QueueReply(_claimed(text), _wake_up(queue, new))

    def sweep(self, room: int, *, limit: int = 200, batches: int = 20) -> list[tuple[WakeUp, int]]:
        """Return the wake-ups to publish for due queues, each with how often it was published by now.

        Those that were published before and not taken come at most `room` at a time, the oldest first.
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

    def pause(self, queue: str, reason: str, until: datetime | None = None) -> None:
        """Let nothing more be pushed until `resume`, or until a moment; the call in flight ends as it will.

        No worker needs to be told that the moment (aware) has come: the queue's own record holds it.
        """
        until_ms = "" if until is None else epoch_ms(until)
        self._store.call("pause", queue, reason or "paused by the operator", until_ms)

    def lend(self, queue: str, nonce: str, terms: Terms) -> int | NoClaim:
        """Take the queue for one call that is none of its recalls', under a lease; gives its fence.

        A paused or stopped queue is lent too; one that pushes, waits or is quiet is not (busy, wait).
        """
        reply = read_json(self._store.call("lend", queue, nonce, terms.to_json())[0])
        if reply["kind"] == "lent":
            return int(reply["fence"])
        return NoClaim(reply["kind"], reply["reason"], int(reply["until"]))

    def give_back(self, queue: str, fence: int, *, sent_ms: int | None, quiet: bool) -> WakeUp | None:
        """Give a lent queue back; return its wake-up, if it needs one. `sent_ms`, `quiet`: see `Outcome`."""
        sent = "" if sent_ms is None else sent_ms
        return _wake_up(queue, self._store.call("give_back", queue, fence, sent, int(quiet))[1])

    def resume(self, queue: str) -> WakeUp | None:
        """End pause, stop, backoff and quota wait; never a lease or a quiet time.

        Return the wake-up to publish, if any.
        """
        return _wake_up(queue, self._store.call("resume", queue)[1])

    def bind(self, queues: Mapping[str, str]) -> int:
        """Give every account of the configuration its queue.

        Gives 0, or the epoch milliseconds until which an account must stay on its queue, although its
        token changed or it left the configuration, because a call may be running; call again then.
        """
        return int(self._store.call("bind", orjson.dumps(dict(queues))))

    def bound(self) -> dict[str, str]:
        """Give the queue id of every account known to the store."""
        bound = self._store.guarded(lambda: self._store.client.hgetall(self._store.key("accounts")))
        return dict(bound)


def queue_id(key: bytes, token: str) -> str:
    """Name the queue of a token without giving the token away."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """How a queue stands: the contract's `state`, why, and until when (aware, UTC) if that is known."""

    state: str
    reason: str | None
    until: datetime | None
    pushed_today: int


def held_until(held: str | None, lease_seconds: float) -> int:
    """Tell until which epoch milliseconds a queue waits because the store lost some of its history.

    `held` is what the store's meta says of it; 0 means never.
    """
    return int(float(held)) + round(lease_seconds * 1000) if held else 0


def queue_state(fields: Mapping[str, str], *, now_ms: int, today: str | None, held_ms: int = 0) -> QueueState:
    """Tell the state of a queue from its hash.

    Stopped before paused before waiting before busy before idle. `today` names the quota's day, `held_ms`
    is until when all queues are held, as `held_until` gives it.
    """
    pushed = int(fields.get("pushed") or 0) if today is None or fields.get("day") == today else 0

    def stand(state: str, reason: str | None = None, until_ms: int | None = None) -> QueueState:
        until = None if until_ms is None else from_epoch_ms(until_ms)
        return QueueState(state=state, reason=reason or None, until=until, pushed_today=pushed)

    quiet, wait, lease = (int(float(fields.get(name) or 0)) for name in ("quiet", "wait", "lease"))
    if stopped := fields.get("stopped") or fields.get("gone"):
        return stand("stopped", stopped)
    pause_ends = int(float(fields.get("paused_until") or 0))
    if fields.get("paused") and (pause_ends > now_ms or not pause_ends):
        return stand("paused", fields["paused"], pause_ends or None)
    if held_ms > max(now_ms, quiet, wait):
        return stand("waiting", HELD, held_ms)
    if max(quiet, wait) > now_ms:
        return stand("waiting", fields.get("wait_reason") if wait > now_ms else QUIET, max(quiet, wait))
    if fields.get("inflight"):
        loan = fields["inflight"] == LOAN
        return stand("busy", "a test call is being made" if loan else "a recall is being pushed", lease)
    wake_up, publications = (int(fields.get(name) or 0) for name in ("wake_up_at", "publications"))
    untaken = wake_up and (publications > UNTAKEN_PUBLICATIONS or now_ms - wake_up > UNTAKEN_MS)
    return stand("idle", UNTAKEN if untaken else None)


def terms_of(account: Account, now: datetime) -> Terms:
    """Give what the queue of an account goes by."""
    ends = next_reset(account, now)
    return Terms(
        lease_seconds=account.lease_seconds,
        quiet_seconds=account.quiet_seconds,
        daily_limit=account.daily_limit,
        day=quota_day(ends),
        day_ends=ends,
    )
