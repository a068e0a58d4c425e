"""The Python face of the lane: acquire, finish, pause, resume, bind, sweep.

Sharp edges, before somebody is cut:
- A lane is held only while a recall is being pushed; `finish` ends that and, with `more`, claims the next.
- A reply lost on the way is asked for again with the same (fence, step): nothing happens twice.
- `Lost` means that another turn has the lane. Whatever this turn still knows changes nothing any more.
- The token is in no key: a lane's id is an HMAC of it under a random key that the store keeps.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from integration.stored import read_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.store import Store


LOAN = "a test call"
"""What is in flight on a lane that is lent; as LOAN in lua/keys.lua."""
QUIET = "quiet time: wolkvox may still be working on a call"
HELD = "quiet time: the store lost some of its history, and calls that it does not know of may be running"
UNTAKEN = "due, but no worker takes it"
UNTAKEN_MS = 10_000
"""How long a doorbell may be on its way; a worker's own sweep takes the turn after 1.5 s."""
UNTAKEN_RINGS = 4
"""How often a doorbell may be rung in vain: 1.5, 3, 4.5 and 7.5 s after it was rung first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a lane's account asks for: lease and quiet time, and the calls of a day.

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
            "day_ends": round(self.day_ends.timestamp() * 1000),
        }
        if self.daily_limit is not None:
            fields["daily_limit"] = self.daily_limit
        return orjson.dumps(fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A recall to be pushed now, by this turn and nobody else, and what is known of its lane."""

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
    """Nothing to be pushed: `kind` is busy, lost, empty, wait, paused, stopped, released or in line."""

    kind: str
    reason: str = ""
    until_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a turn tells of the recall it claimed; the fields as in lua/lane.lua at `Lane.apply`."""

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


class More(StrEnum):
    """Whether a turn goes on after what it tells of a recall."""

    YES = "1"
    NO = "0"
    ALONE = "alone"
    """If no other lane waits."""


class Told(NamedTuple):
    """What a turn is told: a claim or why there is none, whether to ring for its lane, and who is next.

    `next_lane`, told where there is no claim, is the one that waits for longest. `taken`: it is the caller's
    to take up, and nobody else is told of it.
    """

    claim: Claim | NoClaim
    ring: bool = False
    next_lane: str | None = None
    taken: bool = False


def _told(reply: Sequence[Any], *, takes: bool) -> Told:
    text, ring, next_lane = reply
    claim = _claimed(text)
    taken = takes or (isinstance(claim, NoClaim) and claim.kind == "in line")
    return Told(claim, bool(ring), next_lane or None, taken)


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


class Lanes:
    """All lanes of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def id_key(self) -> bytes:
        """Give the random key under which tokens become lane ids; made once, kept in the store."""
        return self._store.secret("lane_key")

    def acquire(
        self, lane: str, nonce: str, terms: Terms, *, in_line: bool = False, takes: bool = False
    ) -> Told:
        """Take the lane and claim its next recall.

        With `in_line` only if none waits for longer, which is told else and must be taken up. `takes`: where
        there is no claim, the next lane is taken up.
        """
        words = lane, nonce, terms.to_json(), int(in_line), int(takes)
        return _told(self._store.call("acquire", *words), takes=takes)

    def finish(  # noqa: PLR0913  (what is told, and what is asked for)
        self,
        lane: str,
        claim: Claim,
        step: int,
        outcome: Outcome,
        *,
        more: More | bool,
        terms: Terms,
        takes: bool = False,
    ) -> Told:
        """Tell what became of the claimed recall and, with `more`, claim the next in the same step."""
        goes_on = more if isinstance(more, More) else str(int(more))
        words = claim.fence, step, claim.recall_id, outcome.to_json(), goes_on, terms.to_json(), int(takes)
        return _told(self._store.call("finish", lane, *words), takes=takes)

    def waiting(self, most: int) -> list[str]:
        """Give the lanes that wait for a turn, those that wait for longest first."""
        if most <= 0:
            return []
        line = self._store.key("line")
        return list(self._store.guarded(lambda: self._store.client.zrange(line, 0, most - 1)))

    def sweep(self, limit: int = 100) -> list[tuple[str, int]]:
        """Give the lanes that are due, each with how often it was rung for since it was last taken."""
        flat = self._store.call("sweep", limit)
        return [(flat[i], int(flat[i + 1])) for i in range(0, len(flat), 2)]

    def pause(self, lane: str, reason: str, until: datetime | None = None) -> None:
        """Let nothing more be pushed until `resume`, or until a moment; the call in flight ends as it will.

        No worker needs to be told that the moment (aware) has come: the lane's own record holds it.
        """
        until_ms = "" if until is None else round(until.timestamp() * 1000)
        self._store.call("pause", lane, reason or "paused by the operator", until_ms)

    def lend(self, lane: str, nonce: str, terms: Terms) -> int | NoClaim:
        """Take the lane for one call that is none of its recalls', under a lease; gives its fence.

        A paused or stopped lane is lent too; one that pushes, waits or is quiet is not (busy, wait).
        """
        reply = read_json(self._store.call("lend", lane, nonce, terms.to_json())[0])
        if reply["kind"] == "lent":
            return int(reply["fence"])
        return NoClaim(reply["kind"], reply["reason"], int(reply["until"]))

    def give_back(self, lane: str, fence: int, *, sent_ms: int | None, quiet: bool) -> bool:
        """Give a lent lane back. `sent_ms` and `quiet` as in `Outcome`. True: ring its doorbell."""
        sent = "" if sent_ms is None else sent_ms
        return bool(self._store.call("give_back", lane, fence, sent, int(quiet))[1])

    def resume(self, lane: str) -> bool:
        """End pause, stop, backoff and quota wait; never a lease or a quiet time. True: ring."""
        return bool(self._store.call("resume", lane)[1])

    def bind(self, lanes: Mapping[str, str]) -> int:
        """Give every account of the configuration its lane.

        Gives 0, or the epoch milliseconds until which an account must stay on its lane, although its
        token changed or it left the configuration, because a call may be running; call again then.
        """
        return int(self._store.call("bind", orjson.dumps(dict(lanes))))

    def bound(self) -> dict[str, str]:
        """Give the lane id of every account known to the store."""
        bound = self._store.guarded(lambda: self._store.client.hgetall(self._store.key("accounts")))
        return dict(bound)


def lane_id(key: bytes, token: str) -> str:
    """Name the lane of a token without giving the token away."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneState:
    """How a lane stands: the contract's `state`, why, and until when (aware, UTC) if that is known."""

    state: str
    reason: str | None
    until: datetime | None
    pushed_today: int


def held_until(held: str | None, lease_seconds: float) -> int:
    """Tell until which epoch milliseconds a lane waits because the store lost some of its history.

    `held` is what the store's meta says of it; 0 means never.
    """
    return int(float(held)) + round(lease_seconds * 1000) if held else 0


def lane_state(fields: Mapping[str, str], *, now_ms: int, today: str | None, held_ms: int = 0) -> LaneState:
    """Tell the state of a lane from its hash.

    Stopped before paused before waiting before busy before idle. `today` names the quota's day, `held_ms`
    is until when all lanes are held, as `held_until` gives it.
    """
    pushed = int(fields.get("pushed") or 0) if today is None or fields.get("day") == today else 0

    def stand(state: str, reason: str | None = None, until_ms: int | None = None) -> LaneState:
        until = None if until_ms is None else datetime.fromtimestamp(until_ms / 1000, UTC)
        return LaneState(state=state, reason=reason or None, until=until, pushed_today=pushed)

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
    rung, rings = (int(fields.get(name) or 0) for name in ("rung", "rings"))
    untaken = rung and (rings > UNTAKEN_RINGS or now_ms - rung > UNTAKEN_MS)
    return stand("idle", UNTAKEN if untaken else None)
