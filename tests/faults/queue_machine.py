"""Everything that may befall the queues, in any order, over the real script on a real store.

Workers acquire, push, tell, die, hang and come back; replies are lost; events come late, doubled and out of
order; operators pause, resume, cancel and retry; tokens change; clocks go back; the store fills up, and goes
back to an earlier copy. After every step what the store holds is held against the promises, and at the end,
with all faults over, every recall has to come to its end. The machine never waits: its time moves only when told.
"""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from integration.domain.delivery import Event
from integration.domain.errors import ConflictError, StoreAwayError
from integration.domain.recall import CancelRequest, State
from integration.mapping.planner import CancelWanted, Ignored, RecallWanted
from integration.services.heartbeat import Heartbeat
from integration.store.client import EpochLoss, Store, connect
from integration.store.deliveries import DeliveryStore
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.recalls import RecallStore
from integration.store.token_queue import Claim, NoClaim, Outcome, Terms, TokenQueues
from support import url_of
from support.store_process import KEEPING, delivery_at, recall_request

TIMEOUT, SERVER_LIMIT, LATEST_WRITE, GUARD = 20, 60, 5, 2
LEASE = max(LATEST_WRITE + SERVER_LIMIT, TIMEOUT) + GUARD
QUIET = SERVER_LIMIT + GUARD
PATIENCE = 30
SWEEP_ROOM = 99
HALF_HOUR_MS = 1_800_000
DAILY_LIMIT = 6

START = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ACCOUNTS = {"bogota": "L1", "cali": "L1", "lima": "L2"}
QUEUES = ("L1", "L2", "L3", "L4")
CUSTOMERS = ("c1", "c2", "c3", "c4", "c5")
ENDS = frozenset(State) - {State.QUEUED, State.PUSHING}

OFTEN = st.sampled_from([True, True, True, False])
MEANWHILE = st.sampled_from(["nothing", "nothing", "asked again", "taken back"])
HOW = st.integers(0, 10)
SECONDS = st.sampled_from([0.1, 1, 19, 21, 70])
RARELY = st.sampled_from([False, False, False, True])

# What may follow from a push: which of these, by whether the request was written and answered in time.
CLEAR = {
    "accepted": Outcome(kind="ended", state="accepted", reason="202", passed=True),
    "dead": Outcome(kind="ended", state="dead", reason="refused", passed=True),
    "poison": Outcome(kind="ended", state="dead", reason="poison", wait_ms=1000),
    "error": Outcome(kind="again", reason="500", convicts=True, wait_ms=1000, history="h"),
    "concurrency": Outcome(kind="again", reason="403", wait_ms=5000),
    "aside": Outcome(kind="aside", reason="again and again", wait_ms=1000),
    "stop": Outcome(kind="again", reason="401", stop="the token is refused"),
    "stop, dead": Outcome(kind="ended", state="dead", reason="five", passed=True, stop="five"),
}
UNKNOWN = {
    "time-out": Outcome(kind="again", reason="no answer", convicts=True, quiet=True, wait_ms=1000),
    "aside": Outcome(kind="aside", reason="no answer", quiet=True, wait_ms=1000),
    "poison": Outcome(kind="ended", state="dead", reason="poison", quiet=True, wait_ms=1000),
}
UNSENT = {
    "expired": Outcome(kind="ended", state="expired", reason="late"),
    "simulated": Outcome(kind="ended", state="simulated", reason="dry-run"),
    "no connection": Outcome(kind="again", reason="not sent", wait_ms=1000),
    "too late": Outcome(kind="again", reason="no time was left", wait_ms=200),
}


def changed(outcome: Outcome, **more) -> Outcome:
    named = {name: getattr(outcome, name) for name in outcome.__slots__}
    return Outcome(**{**named, **more})


@dataclass
class NewestWish:
    """The newest thing that is known of a campaign and customer: a recall, or that none is wanted."""

    version: int
    recall: str | None
    account: str


@dataclass
class Owner:
    """A worker in its turn: what it asked, and what it holds."""

    queue: str
    nonce: str
    clock: timedelta
    asked_at: datetime
    claim: Claim | None = None
    step: int = 0
    sent_at: datetime | None = None
    unanswered: tuple = ()
    process: int = 0
    stale: bool = False


@dataclass
class Queue:
    """A queue as the store holds it."""

    fields: dict[str, str]
    waiting: dict[str, float]
    newest: dict[str, str]

    def has_work(self) -> bool:
        return bool(self.waiting or self.fields.get("inflight"))

    def without_wake_up(self) -> tuple:
        fields = {
            name: text for name, text in self.fields.items() if name not in {"wake_up_at", "publications"}
        }
        return fields, self.waiting, self.newest


@dataclass
class View:
    """All that the store holds of queues and recalls, at one moment."""

    recalls: dict[str, dict[str, str]]
    queues: dict[str, Queue]
    by_state: dict[str, list[str]]
    by_account: dict[tuple[str, str], list[str]]
    due: dict[str, float]
    ended: dict[str, float]
    calendar: dict[tuple[str, str, str], int]

    def same_as(self, other: View) -> bool:
        """Tell whether nothing but wake-ups differs."""
        return (self.recalls, self.by_state, self.by_account, self.ended, self.calendar) == (
            other.recalls,
            other.by_state,
            other.by_account,
            other.ended,
            other.calendar,
        ) and all(
            queue.without_wake_up() == other.queues[name].without_wake_up()
            for name, queue in self.queues.items()
        )


@dataclass
class Model:
    """What the machine knows beside the store: the wishes, the calls as wolkvox sees them, the workers."""

    bound: dict[str, str] = field(default_factory=lambda: dict(ACCOUNTS))
    wishes: dict[tuple[str, str, str], NewestWish] = field(default_factory=dict)
    recalls: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    sent: dict[tuple[str, str, str], list[str]] = field(default_factory=dict)
    last: dict[tuple[str, str, str], int] = field(default_factory=dict)
    until: dict[str, datetime] = field(default_factory=dict)
    calls: dict[tuple[str, str], int] = field(default_factory=dict)
    holder: dict[str, Owner | None] = field(default_factory=dict)
    claimed_at: dict[str, datetime] = field(default_factory=dict)
    events: list = field(default_factory=list)

    def without_owners(self) -> Model:
        return replace(self, holder={})


@dataclass
class StoreCopy:
    """The store as it was, and what the machine knew then; the calls at wolkvox do not go back."""

    keys: dict[bytes, tuple[bytes, int]]
    world: Model
    holder: dict[str, Owner | None]
    owners: list[tuple]


class QueueMachine(RuleBasedStateMachine):
    """See the head of the file."""

    def __init__(self, client) -> None:
        super().__init__()
        client.config_set("maxmemory", "0")
        client.flushall()
        self.client = client
        self.raw = redis.Redis.from_url(url_of(client))
        self.time = START
        self.clock = timedelta()
        self.full = False
        self.clock_went_back = False
        # Each store keeps a connection, and a pool counts those that it made.
        self.stores = [
            Store(connect(url_of(client)), clock=self.store_ms, kind=kind)
            for kind in ("worker", "worker", "web")
        ]
        self.store = self.stores[2]
        self.workers = [TokenQueues(store) for store in self.stores[:2]]
        self.used = 0
        self.deliveries = DeliveryStore(self.store)
        self.recalls = RecallStore(self.store)
        self.reports: list[EpochLoss] = []
        for store in self.stores:
            store.on_loss = self.reports.append
        self.copy: StoreCopy | None = None
        self.world = Model()
        self.owners: list[Owner] = []
        self.asked = 0
        self.states: dict[str, str] = {}

    @initialize(account=st.sampled_from(sorted(ACCOUNTS)), due=st.integers(-2, 5))
    def the_first_recalls_are_asked_for(self, account, due):
        assert self.queues.bind(self.world.bound) == 0
        for customer in CUSTOMERS[:3]:
            self.ask(account, "1", customer, 1, due)

    @property
    def queues(self) -> TokenQueues:
        """The queues as one worker or the other has them, in turn: each has a memory of its own."""
        self.used += 1
        return self.workers[self.used % 2]

    def queues_of(self, owner: Owner) -> TokenQueues:
        return self.workers[owner.process]

    def forget(self, key: tuple[str, str, str]) -> None:
        """With what was known of a customer goes what older wishes are measured by."""
        del self.world.wishes[key]
        self.world.last.pop(key, None)

    def has_work(self) -> bool:
        return any(state not in ENDS for state in self.states.values())

    # --- reading ---------------------------------------------------------------------------------

    def store_ms(self) -> int:
        return round((self.time + self.clock).timestamp() * 1000)

    def terms(self, clock: timedelta) -> Terms:
        local = self.time + clock
        ends = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), UTC)
        return Terms(
            lease_seconds=LEASE,
            quiet_seconds=QUIET,
            daily_limit=DAILY_LIMIT,
            day=ends.date().isoformat(),
            day_ends=ends,
        )

    def view(self) -> View:
        key = self.store.key
        ids = list(self.world.recalls)
        pairs = list(product(ACCOUNTS, State))
        with self.client.pipeline(transaction=False) as pipe:
            for recall in ids:
                pipe.hgetall(key(f"recall:{recall}"))
            for queue in QUEUES:
                pipe.hgetall(key(f"queue:{queue}"))
                pipe.zrange(key(f"queue:{queue}:recalls"), 0, -1, withscores=True)
                pipe.hgetall(key(f"queue:{queue}:newest"))
            for state in State:
                pipe.zrange(key(f"in:{state}"), 0, -1)
            for account, state in pairs:
                pipe.zrange(key(f"of:{account}:{state}"), 0, -1)
            pipe.zrange(key("due"), 0, -1, withscores=True)
            for state in sorted(ENDS):
                pipe.zrange(key(f"ended:{state}"), 0, -1, withscores=True)
            for account in ACCOUNTS:
                pipe.hgetall(key(f"calendar:{account}"))
            found = iter(pipe.execute())
        return View(
            recalls={recall: fields for recall in ids if (fields := next(found))},
            queues={queue: Queue(next(found), dict(next(found)), next(found)) for queue in QUEUES},
            by_state={state: next(found) for state in State},
            by_account={pair: next(found) for pair in pairs},
            due=dict(next(found)),
            ended={recall: at for _ in ENDS for recall, at in next(found)},
            calendar={
                (account, *slot.split("\0")): int(count)
                for account in ACCOUNTS
                for slot, count in next(found).items()
            },
        )

    def key_of(self, recall: str) -> tuple[str, str, str]:
        account, campaign, customer = self.world.recalls[recall]
        return self.world.bound[account], campaign, customer

    def is_newest(self, recall: str, wishes: dict | None = None, queue: str | None = None) -> bool:
        own, campaign, customer = self.key_of(recall)
        wish = (wishes or self.world.wishes).get((queue or own, campaign, customer))
        return wish is None or wish.recall == recall

    # --- events ----------------------------------------------------------------------------------

    def admit(self, *outcomes):
        before = self.view()
        try:
            return self.deliveries.admit(delivery_at(self.time), outcomes, KEEPING).answer
        except StoreAwayError:
            assert self.full
            assert self.view().same_as(before)
            return None

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        campaign=st.sampled_from(["1", "1", "2"]),
        wishes=st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 4)), min_size=1, max_size=6),
        due=st.integers(-2, 5),
    )
    def recalls_are_asked_for(self, account, campaign, wishes, due):
        for n, (customer, version) in enumerate(wishes):
            self.ask(account, campaign, customer, version, due + n)

    def ask(self, account, campaign, customer, version, due):
        request = recall_request(
            customer,
            account=account,
            campaign=campaign,
            due=START + timedelta(hours=due),
            version=START + timedelta(seconds=version),
        )
        event = self.event()
        outcome = RecallWanted(event=event, request=request)
        answer = self.admit(outcome)
        if answer is None:
            return
        (recall,) = answer.recalls
        self.world.events.append((outcome, recall))
        self.world.recalls[recall] = (account, campaign, customer)
        self.world.versions[recall] = version
        self.states[recall] = State.QUEUED
        self.wish(account, campaign, customer, NewestWish(version, recall, account))

    def event(self) -> Event:
        self.asked += 1
        return Event(data={}, dedup_key=f"k{self.asked}")

    def wish(self, account, campaign, customer, wish):
        key = (self.world.bound[account], campaign, customer)
        old = self.world.wishes.get(key)
        if old is None or old.version <= wish.version:
            self.world.wishes[key] = wish

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        campaign=st.sampled_from(["1", "1", "2"]),
        wishes=st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 4)), min_size=1, max_size=3),
    )
    def recalls_are_taken_back(self, account, campaign, wishes):
        for customer, version in wishes:
            self.take_back(account, campaign, customer, version)

    def take_back(self, account, campaign, customer, version):
        request = CancelRequest(
            account=account,
            campaign_id=campaign,
            customer_id=customer,
            version=START + timedelta(seconds=version),
            source="forms",
        )
        event = self.event()
        before = self.view()
        answer = self.admit(CancelWanted(event=event, request=request))
        if answer is None:
            return
        self.world.events.append((CancelWanted(event=event, request=request), None))
        key = (self.world.bound[account], campaign, customer)
        old = self.world.wishes.get(key)
        counts = old is None or old.version <= version
        queued = (
            counts
            and old is not None
            and before.recalls.get(old.recall or "", {}).get("state") == State.QUEUED
        )
        assert answer.cancelled == ((old.recall,) if queued else ())
        self.wish(account, campaign, customer, NewestWish(version, None, account))

    @precondition(lambda self: self.world.events)
    @rule(which=st.integers(0, 30), alone=st.booleans())
    def an_event_is_sent_again(self, which, alone):
        outcome, recall = self.world.events[which % len(self.world.events)]
        before = self.view()
        answer = self.admit(outcome) if alone else self.admit(outcome, Ignored(event=self.event()))
        if answer is None:
            return
        assert answer.recalls == (() if recall is None else (recall,))
        assert self.view().same_as(before)

    # --- turns -----------------------------------------------------------------------------------

    @precondition(has_work)
    @rule(which=st.integers(0, 3), skew=st.sampled_from([0, -3, 3]), lost=RARELY, sends=OFTEN)
    def a_worker_acquires(self, which, skew, lost, sends):
        owner = self.owner(which, skew)
        self.acquire(owner, lost=lost)
        if sends:
            self.send(owner)

    @precondition(has_work)
    @rule(which=st.integers(0, 3), times=st.integers(1, 4), sends=OFTEN)
    def workers_die_in_the_middle(self, which, times, sends):
        for _ in range(times):
            owner = self.owner(which, 0)
            self.acquire(owner, lost=False)
            if sends:
                self.send(owner)
            if owner in self.owners:
                self.owners.remove(owner)
            self.time += timedelta(seconds=LEASE)

    def owner(self, which: int, skew: int) -> Owner:
        """A new worker at a queue, at one that has work if there is one."""
        busy = [name for name, queue in self.view().queues.items() if queue.has_work()] or QUEUES
        self.asked += 1
        queue, clock = busy[which % len(busy)], timedelta(seconds=skew)
        return Owner(queue, f"n{self.asked}", clock, self.time, process=self.asked % 2)

    def acquire(self, owner: Owner, *, lost: bool) -> None:
        before, terms = self.view(), self.terms(owner.clock)
        reply = self.queues_of(owner).acquire(owner.queue, owner.nonce, terms)[0]
        after = self.view()
        queue = before.queues[owner.queue]
        if reply == NoClaim("busy", until_ms=getattr(reply, "until_ms", 0)):
            assert queue.fields["inflight"]
            assert self.view().same_as(before) or self.clock
            return
        if stranded := queue.fields.get("inflight"):
            # Its turn is gone; nothing of its call may be running any more.
            assert (self.time - self.world.claimed_at[owner.queue]).total_seconds() >= LEASE
            crashes = int(before.recalls[stranded].get("crashes", 0)) + 1
            if isinstance(reply, Claim) and crashes < 3 and self.is_newest(stranded):
                assert reply.recall_id == stranded
        elif isinstance(reply, Claim):
            assert reply.recall_id == self.next_of(queue)
        self.world.holder[owner.queue] = owner
        self.check_claim(owner.queue, reply, after)
        self.take(owner, reply, lost=lost, again=("acquire", reply, terms))

    def next_of(self, queue: Queue) -> str:
        first, aside = queue.fields.get("first"), queue.fields.get("aside")
        if first in queue.waiting:
            return first
        order = sorted(queue.waiting, key=lambda recall: (recall == aside, queue.waiting[recall], recall))
        return order[0]

    def check_claim(self, name: str, reply: Claim | NoClaim, after: View) -> None:
        queue = after.queues[name]
        if not isinstance(reply, Claim):
            assert not queue.fields.get("inflight")
            assert reply.kind != "empty" or not queue.waiting
            return
        self.world.claimed_at[name] = self.time
        assert queue.fields["inflight"] == reply.recall_id
        assert not queue.fields.get("first")
        assert queue.fields.get("aside", "") in {"", *queue.waiting}
        assert self.is_newest(reply.recall_id)
        assert not any(queue.fields.get(name) for name in ("stopped", "gone"))
        assert not self.is_paused(queue.fields)

    def take(self, owner: Owner, reply: Claim | NoClaim, *, lost: bool, again: tuple) -> None:
        """A worker learns what it was told, or does not."""
        if owner not in self.owners:
            self.owners.append(owner)
        owner.unanswered = again if lost else ()
        if lost:
            return
        owner.claim, owner.sent_at = (reply, None) if isinstance(reply, Claim) else (None, None)
        if owner.claim is None:
            self.owners.remove(owner)

    def pick(self, which: int, *, unanswered: bool = False) -> Owner | None:
        able = [owner for owner in self.owners if bool(owner.unanswered) == unanswered]
        return able[which % len(able)] if able else None

    @precondition(lambda self: self.pick(0, unanswered=True))
    @rule(which=st.integers(0, 5), lost=st.booleans())
    def a_worker_asks_again_for_a_lost_reply(self, which, lost):
        owner = self.pick(which, unanswered=True)
        verb, reply, *asked = owner.unanswered
        if self.world.holder.get(owner.queue) is not owner:
            if verb == "acquire":
                self.owners.remove(owner)
                self.acquire(owner, lost=lost)
            else:
                self.finish_in_vain(owner, *asked)
            return
        before = self.view()
        if verb == "acquire":
            again = self.queues_of(owner).acquire(owner.queue, owner.nonce, asked[0])[0]
        else:
            again = self.queues_of(owner).finish(
                owner.queue, owner.claim, owner.step, asked[0], more=asked[1], terms=asked[2]
            )[0]
        assert again == reply
        assert self.view().same_as(before) or self.clock
        self.take(owner, reply, lost=lost, again=owner.unanswered)

    def finish_in_vain(self, owner: Owner, outcome: Outcome, more: bool, terms: Terms) -> None:
        before = self.view()
        reply = self.told(owner, outcome, more, terms)
        assert reply.kind == "lost"
        assert self.view().same_as(before)
        self.owners.remove(owner)

    def told(self, owner: Owner, outcome: Outcome, more: bool, terms: Terms) -> Claim | NoClaim:
        queues = self.queues_of(owner)
        return queues.finish(owner.queue, owner.claim, owner.step, outcome, more=more, terms=terms)[0]

    @precondition(lambda self: self.pick(0))
    @rule(which=st.integers(0, 5))
    def a_worker_sends(self, which):
        self.send(self.pick(which))

    def send(self, owner: Owner) -> None:
        late = (self.time - owner.asked_at).total_seconds() > LATEST_WRITE
        if owner.claim is None or owner.unanswered or owner.sent_at is not None or late:
            return
        running = self.world.until.get(owner.queue)
        assert running is None or running <= self.time, "two calls at once on a token"
        owner.sent_at = self.time
        self.world.until[owner.queue] = self.time + timedelta(seconds=SERVER_LIMIT)
        if owner.stale:
            # What the lost history had pushed, and how often, is known to nobody.
            return
        recall = owner.claim.recall_id
        _, campaign, customer = self.world.recalls[recall]
        key = (owner.queue, campaign, customer)
        assert self.world.last.get(key, 0) <= self.world.versions[recall], "an older wish came last"
        self.world.last[key] = self.world.versions[recall]
        self.world.sent.setdefault(key, []).append(recall)
        day = self.client.hget(self.store.key(f"queue:{owner.queue}"), "day")
        made = self.world.calls[owner.queue, day] = self.world.calls.get((owner.queue, day), 0) + 1
        assert made <= DAILY_LIMIT, "more calls than the day allows"

    @precondition(lambda self: self.pick(0))
    @rule(which=st.integers(0, 5), how=HOW, more=OFTEN, lost=RARELY, until=RARELY, sends=OFTEN)
    def a_worker_tells_what_became_of_it(self, which, how, more, lost, until, sends):
        self.tell(self.pick(which), how, more=more, lost=lost, until=until)
        if sends and (owner := self.pick(which)):
            self.send(owner)

    def tell(self, owner: Owner, how: int, *, more: bool, lost: bool = False, until: bool = False) -> None:
        outcome = self.outcome(owner, how)
        if until and outcome.kind == "again" and outcome.stop is None:
            reset = round(self.terms(owner.clock).day_ends.timestamp() * 1000)
            outcome = changed(outcome, wait_ms=None, wait_until=reset)
        self.finish(owner, outcome, more=more, lost=lost)

    @precondition(has_work)
    @rule(
        which=st.integers(0, 3),
        pushes=st.lists(st.tuples(HOW, SECONDS, MEANWHILE), min_size=1, max_size=6),
        more=OFTEN,
        skew=st.sampled_from([0, -3, 3]),
    )
    def a_worker_takes_a_drain(self, which, pushes, more, skew):
        """Push after push; with `more` the last claim is left for what comes next."""
        owner = self.owner(which, skew)
        self.acquire(owner, lost=False)
        for n, (how, seconds, meanwhile) in enumerate(pushes, 1):
            if owner not in self.owners:
                return
            self.send(owner)
            account, campaign, customer = self.world.recalls[owner.claim.recall_id]
            if meanwhile == "asked again":
                self.ask(account, campaign, customer, 4, 0)
            if meanwhile == "taken back":
                self.take_back(account, campaign, customer, 4)
            self.time += timedelta(seconds=seconds)
            self.tell(owner, how, more=more or n < len(pushes))

    @precondition(has_work)
    @rule(
        which=st.integers(0, 3),
        pushes=st.lists(st.tuples(HOW, st.booleans()), min_size=3, max_size=12),
    )
    def a_queue_is_tried_again_and_again(self, which, pushes):
        """One push a drain, each as soon as the queue's wait is over; an operator who cannot wait resumes it."""
        queue = self.owner(which, 0).queue
        for how, patient in pushes:
            if not patient:
                self.queues.resume(queue)
                self.push_once(queue, how)
            fields = self.view().queues[queue].fields
            if fields.get("stopped") or self.is_paused(fields):
                self.queues.resume(queue)
            ready = max(float(fields.get(name) or 0) for name in ("wait", "quiet", "lease"))
            self.time += timedelta(milliseconds=max(0, ready - self.store_ms()))
            self.push_once(queue, how)

    def push_once(self, queue: str, how: int) -> None:
        self.asked += 1
        owner = Owner(queue, f"n{self.asked}", timedelta(), self.time)
        self.acquire(owner, lost=False)
        if owner in self.owners:
            self.send(owner)
            self.tell(owner, how, more=False)

    @precondition(has_work)
    @rule(which=st.integers(0, 3), sends=st.booleans(), steps=st.integers(0, 1), how=HOW)
    def a_worker_is_frozen_while_another_takes_over(self, which, sends, steps, how):
        frozen = self.owner(which, 0)
        self.acquire(frozen, lost=False)
        for _ in range(steps):
            if frozen in self.owners:
                self.tell(frozen, 0, more=True)
        if frozen not in self.owners:
            return
        if sends:
            self.send(frozen)
        self.time += timedelta(seconds=LEASE)
        other = Owner(frozen.queue, f"{frozen.nonce}, the other", timedelta(), self.time)
        self.acquire(other, lost=False)
        if other in self.owners:
            self.send(other)
        self.tell(frozen, how, more=True)

    @precondition(has_work)
    @rule(which=st.integers(0, 3), hows=st.lists(HOW, min_size=1, max_size=3), seconds=SECONDS)
    def a_full_store_goes_on_working(self, which, hows, seconds):
        self.fill(full=True)
        for how in hows:
            self.push_once(self.owner(which, 0).queue, how)
            self.time += timedelta(seconds=seconds)
            self.a_worker_sweeps()
        self.fill(full=False)

    def outcome(self, owner: Owner, how: int) -> Outcome:
        if owner.sent_at is None:
            return list(UNSENT.values())[how % len(UNSENT)]
        since = (self.time - owner.sent_at).total_seconds()
        table = UNKNOWN if since > TIMEOUT or how > len(CLEAR) else CLEAR
        if table is CLEAR and self.world.holder.get(owner.queue) is owner:
            self.world.until[owner.queue] = self.time
        return changed(list(table.values())[how % len(table)], sent_ms=round(since * 1000))

    def finish(self, owner: Owner, outcome: Outcome, *, more: bool, lost: bool) -> None:
        owner.step += 1
        terms = self.terms(owner.clock)
        if self.world.holder.get(owner.queue) is not owner:
            self.finish_in_vain(owner, outcome, more, terms)
            return
        reply = self.told(owner, outcome, more, terms)
        assert reply.kind != "lost" if isinstance(reply, NoClaim) else reply.recall_id
        told = owner.claim.recall_id
        after = self.view()
        if outcome.kind == "ended":
            assert after.recalls[told]["state"] == outcome.state
        else:
            assert after.recalls[told]["state"] in {State.QUEUED, State.PUSHING} or not self.is_newest(told)
        owner.asked_at = self.time
        self.check_claim(owner.queue, reply, after)
        self.take(owner, reply, lost=lost, again=("finish", reply, outcome, more, terms))

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 5))
    def a_worker_dies(self, which):
        self.owners.pop(which % len(self.owners))

    # --- operators -------------------------------------------------------------------------------

    @rule(queue=st.sampled_from(QUEUES), pause=st.booleans(), minutes=st.sampled_from([None, 1, 60]))
    def an_operator_pauses_or_resumes(self, queue, pause, minutes):
        before = self.view().queues[queue].fields
        if pause:
            now = datetime.fromtimestamp(self.store_ms() / 1000, UTC)
            self.queues.pause(queue, "maintenance", minutes and now + timedelta(minutes=minutes))
        else:
            self.queues.resume(queue)
        after = self.view().queues[queue].fields
        assert [before.get(f) for f in ("quiet", "lease", "inflight")] == [
            after.get(f) for f in ("quiet", "lease", "inflight")
        ]

    @precondition(lambda self: self.states)
    @rule(which=st.integers(0, 30), retry=st.booleans(), new_date=st.booleans())
    def an_operator_retries_or_cancels(self, which, retry, new_date):
        recall = list(self.states)[which % len(self.states)]
        state = self.states[recall]
        before = self.view()
        allowed = {State.DEAD, State.EXPIRED} if retry else {State.QUEUED}
        may = state in allowed and (not retry or self.is_newest(recall))
        away = may and retry and self.full
        assert self.refusal(recall, retry, new_date) == ("away" if away else None if may else state)
        if may and not away:
            self.states[recall] = State.QUEUED if retry else State.CANCELLED
        else:
            assert self.view().same_as(before)

    def refusal(self, recall: str, retry: bool, new_date: bool) -> str | None:
        try:
            if retry:
                self.recalls.retry(recall, "again", date=self.time if new_date else None)
            else:
                self.recalls.cancel(recall, "by hand")
        except ConflictError as error:
            return error.state
        except StoreAwayError:
            return "away"
        return None

    @rule(account=st.sampled_from(sorted(ACCOUNTS)), queue=st.sampled_from(QUEUES))
    def an_account_gets_another_token(self, account, queue):
        before = self.view()
        old = self.world.bound[account]
        later = self.queues.bind({**self.world.bound, account: queue})
        if later:
            fields = before.queues[old].fields
            assert fields.get("inflight") or float(fields.get("quiet") or 0) > self.store_ms()
            assert self.queues.bound() == self.world.bound
            return
        # While all queues are held, a call that the store knows nothing of may be running.
        running = self.world.until.get(old)
        assert running is None or old == queue or running <= self.time or self.held_for(LEASE)
        if old != queue:
            wishes = dict(self.world.wishes)
            self.move(account, old, queue)
            self.note_the_overtaken(account, old, wishes)
        assert self.queues.bound() == self.world.bound

    def note_the_overtaken(self, account: str, old: str, wishes: dict) -> None:
        """What was in flight on the queue of the old token may have been overtaken there already."""
        for recall, fields in self.view().recalls.items():
            owner = self.world.recalls[recall][0]
            was_there = owner == account or self.world.bound[owner] == old
            if was_there and fields["state"] in ENDS and not self.is_newest(recall, wishes, old):
                self.states[recall] = State(fields["state"])

    def move(self, account: str, old: str, queue: str) -> None:
        self.world.bound[account] = queue
        self.world.holder[old] = None
        for key, wish in list(self.world.wishes.items()):
            if key[0] == old and wish.account == account:
                self.forget(key)
                self.wish(account, key[1], key[2], wish)

    @rule(account=st.sampled_from(sorted(ACCOUNTS)))
    def an_account_leaves_and_comes_back(self, account):
        rest = {name: queue for name, queue in self.world.bound.items() if name != account}
        later = self.queues.bind(rest)
        queue = self.world.bound[account]
        if queue in rest.values():
            self.world.holder[queue] = self.world.holder.get(queue) if later else None
            assert bool(later) == self.call_may_run(queue)
        else:
            assert later == 0
            self.queues.resume(queue)
            kind = self.queues.acquire(queue, "a stranger", self.terms(timedelta())).claim.kind
            assert kind in {"stopped", "busy"}
            if kind == "stopped":
                # Whoever's lease was over has lost the queue to the stranger.
                self.world.holder[queue] = None
        assert self.queues.bind(self.world.bound) == 0

    def call_may_run(self, queue: str) -> bool:
        fields = self.view().queues[queue].fields
        lease = fields["lease"] if fields.get("inflight") else 0
        return max(float(fields.get("quiet") or 0), float(lease)) > self.store_ms()

    # --- time and the store ----------------------------------------------------------------------

    @rule(seconds=st.sampled_from([0.001, 0.2, 1, 2, 4, 19, 30, 60, 62, 67, 70, 300, 3600]))
    def time_passes(self, seconds):
        self.time += timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([-4, -1, 0, 1]))
    def the_day_ends(self, seconds):
        self.time = max(self.time, self.terms(timedelta()).day_ends + timedelta(seconds=seconds))

    @rule(seconds=st.sampled_from([1, 10, 100, 86400]))
    def the_stores_clock_goes_back(self, seconds):
        self.clock -= timedelta(seconds=seconds)
        self.clock_went_back = True

    @rule()
    def a_worker_sweeps(self):
        before = self.view()
        woken = {wake_up.queue for wake_up, _ in self.queues.sweep(SWEEP_ROOM)}
        self.clock_went_back = False
        after = self.view()
        now = self.store_ms()
        assert all(now < score <= now + PATIENCE * 1000 for score in after.due.values())
        for name, queue in before.queues.items():
            if name in before.due and before.due[name] <= now and self.may_go_on(queue):
                assert name in woken
        assert before.recalls == after.recalls

    def is_paused(self, fields: dict[str, str]) -> bool:
        ends = float(fields.get("paused_until") or 0)
        return bool(fields.get("paused")) and (not ends or ends > self.store_ms())

    def may_go_on(self, queue: Queue) -> bool:
        fields = queue.fields
        if self.held(queue):
            return False
        if fields.get("inflight"):
            return float(fields["lease"]) <= self.store_ms()
        if fields.get("stopped") or self.is_paused(fields) or not queue.waiting:
            return False
        return all(float(fields.get(name) or 0) <= self.store_ms() for name in ("wait", "quiet"))

    @rule(hours=st.sampled_from([0, 1, 24]))
    def what_is_old_goes(self, hours):
        limit = datetime.fromtimestamp(self.store_ms() / 1000, UTC) - timedelta(hours=hours)
        before = self.view()
        self.deliveries.purge(before=limit)
        after = self.view()
        limit_ms = round(limit.timestamp() * 1000)
        gone = set(before.recalls) - set(after.recalls)
        assert gone == {recall for recall, at in before.ended.items() if at < limit_ms}
        for recall in gone:
            key = self.key_of(recall)
            if (wish := self.world.wishes.get(key)) and wish.recall == recall:
                self.forget(key)
            del self.states[recall], self.world.recalls[recall]
        self.world.events = [event for event in self.world.events if event[1] not in gone]
        self.forget_faded(after)

    def forget_faded(self, after: View) -> None:
        for key, wish in list(self.world.wishes.items()):
            if wish.recall is None and "\0".join(key[1:]) not in after.queues[key[0]].newest:
                self.forget(key)

    @rule()
    def the_store_is_copied(self):
        for store in self.stores[:2]:
            Heartbeat(ProcessRegistry(store), store.who).send()
        owners = [(owner, owner.claim, owner.step, owner.unanswered) for owner in self.owners]
        self.copy = StoreCopy(
            self.dump(), deepcopy(self.world.without_owners()), dict(self.world.holder), owners
        )
        self.copy_states = dict(self.states)

    def dump(self) -> dict[bytes, tuple[bytes, int]]:
        keys = self.raw.keys("*")
        return {key: (self.raw.dump(key), max(0, self.raw.pttl(key))) for key in keys}

    @precondition(lambda self: self.copy is not None)
    @rule(first=st.integers(0, 1), acquires=st.booleans(), all_hear=st.booleans())
    def the_store_goes_back(self, first, acquires, all_hear):
        """A copy is put back on another server; both workers come to it, one after the other, then the web."""
        self.fill(full=False)
        self.put_back(self.copy)
        lost = self.lost_histories()
        told = len(self.reports)
        for name in QUEUES if acquires else ():
            self.asked += 1
            reply = self.workers[first].acquire(name, f"n{self.asked}", self.terms(timedelta()))[0]
            assert isinstance(reply, NoClaim), "a claim before the other worker was heard"
            if reply.kind != "busy":
                self.world.holder[name] = None
        self.note_the_recovered()
        self.workers[1 - first].sweep(SWEEP_ROOM)
        self.workers[first].sweep(SWEEP_ROOM)
        Heartbeat(ProcessRegistry(self.store), self.store.who).send()
        assert bool(lost) <= len(self.reports) - told <= len(lost)
        if all_hear:
            self.all_hear_of_it()

    def lost_histories(self) -> set[str]:
        """Name the histories of which a process saw more than the store holds or knows to be lost.

        They are several where a loss was not heard of by all before the next one. The store cannot tell that
        one is the continuation of another, so each may be reported.
        """
        epoch, revision = self.client.hmget(self.store.key("meta"), "epoch", "revision")
        known_to_be_lost = self.client.hkeys(self.store.key("epochs"))
        seen = [store.epoch.seen() for store in self.stores]
        return {
            one.epoch
            for one in seen
            if (one.revision > int(revision) if one.epoch == epoch else one.epoch not in known_to_be_lost)
        }

    def all_hear_of_it(self) -> None:
        told = len(self.reports)
        for queues in self.workers:
            queues.sweep(SWEEP_ROOM)
        assert len(self.reports) == told
        there = self.client.hget(self.store.key("meta"), "epoch")
        assert {store.epoch.name for store in self.stores} == {there}

    def put_back(self, copy: StoreCopy) -> None:
        self.raw.flushall()
        for key, (value, ttl) in copy.keys.items():
            self.raw.restore(key, ttl, value)
        self.client.hset(self.store.key("meta"), "server", "another")
        for store in self.stores:
            store.epoch._server = "another"
        until = self.world.until
        self.world = deepcopy(copy.world)
        self.world.until = until
        self.states = dict(self.copy_states)
        for owner in list(self.owners):
            self.go_back(owner, copy)
        holders = {queue: owner for queue, owner in copy.holder.items() if owner and not owner.stale}
        self.world.holder = {**dict.fromkeys(copy.holder), **holders}

    def go_back(self, owner: Owner, copy: StoreCopy) -> None:
        """Who has gone on since the copy was made knows of a history that is lost."""
        now = (owner, owner.claim, owner.step, owner.unanswered)
        if any(then[0] is owner and then[1:] == now[1:] for then in copy.owners):
            return
        owner.stale = True
        if any(then[0] is owner for then in copy.owners):
            # Its last word may be news to the store, and right; what follows from it is another story.
            self.owners.remove(owner)

    def note_the_recovered(self) -> None:
        for recall, fields in self.view().recalls.items():
            if fields["state"] in ENDS and self.states[recall] not in ENDS:
                self.states[recall] = State(fields["state"])

    def held(self, queue: Queue) -> bool:
        """Tell whether a queue waits, by its latest claim, for what a lost history may have running."""
        return self.held_for(float(queue.fields.get("lease_ms") or 0) / 1000)

    def held_for(self, seconds: float) -> bool:
        """Tell whether claims with such a lease wait for that, or for the other worker to be heard."""
        held, settle = self.client.hmget(self.store.key("meta"), "held", "settle")
        lease_ms = seconds * 1000
        return max(float(held or -lease_ms) + lease_ms, float(settle or 0)) > self.store_ms()

    @rule()
    def the_store_is_full_or_not(self):
        self.fill(full=not self.full)

    def fill(self, *, full: bool) -> None:
        self.full = full
        self.client.config_set("maxmemory", "1" if full else "0")

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def every_promise_holds(self):
        view = self.view()
        self.check_places(view)
        self.check_newest(view)
        self.check_due(view)
        self.check_changes(view)
        self.check_calendar(view)

    def check_calendar(self, view: View) -> None:
        waiting = [fields for fields in view.recalls.values() if fields["state"] not in ENDS]
        counted = Counter(
            (fields["account"], str(int(fields["score"]) // HALF_HOUR_MS), fields["campaign"])
            for fields in waiting
        )
        assert view.calendar == counted

    def check_places(self, view: View) -> None:
        assert set(view.recalls) == set(self.world.recalls)
        for recall, fields in view.recalls.items():
            account, _, _ = self.world.recalls[recall]
            state = fields["state"]
            listed = State.QUEUED if state == State.PUSHING else state
            queues = [name for name, queue in view.queues.items() if recall in queue.waiting]
            flying = [name for name, queue in view.queues.items() if queue.fields.get("inflight") == recall]
            queue = self.world.bound[account]
            assert queues == ([queue] if state == State.QUEUED else [])
            assert flying == ([queue] if state == State.PUSHING else [])
            assert (recall in view.ended) == (state in ENDS)
            assert [s for s in State if recall in view.by_state[s] and s != State.PUSHING] == [listed]
            assert (recall in view.by_state[State.PUSHING]) == (state == State.PUSHING)
            assert [pair for pair, ids in view.by_account.items() if recall in ids] == [(account, listed)]
        assert sum(map(len, view.by_account.values())) == len(view.recalls)
        assert len(view.ended) + len(view.by_state[State.QUEUED]) == len(view.recalls)

    def check_newest(self, view: View) -> None:
        held = {
            (name, *customer.split("\0")): text
            for name, queue in view.queues.items()
            for customer, text in queue.newest.items()
        }
        base = round(START.timestamp())
        assert held == {
            key: f"{(base + wish.version) * 1000}|{wish.recall or wish.account}|{'r' if wish.recall else 'c'}"
            for key, wish in self.world.wishes.items()
        }
        for queue in view.queues.values():
            assert all(self.is_newest(recall) for recall in queue.waiting)

    def check_due(self, view: View) -> None:
        now = self.store_ms()
        for name, queue in view.queues.items():
            held_up = (queue.fields.get("stopped") or self.is_paused(queue.fields)) and not queue.fields.get(
                "inflight"
            )
            if not queue.has_work() or held_up:
                continue
            assert name in view.due
            assert self.clock_went_back or view.due[name] <= now + PATIENCE * 1000

    def check_changes(self, view: View) -> None:
        for recall, fields in view.recalls.items():
            old, new = self.states[recall], fields["state"]
            assert old not in ENDS or old == new, f"{old} became {new}"
            if new in {State.SUPERSEDED, State.CANCELLED} and old != new:
                assert not self.is_newest(recall)
            assert fields["changes"].count("\n") < 200
            last = fields["changes"].rsplit("\n", 1)[-1].split("\t")
            waits = {State.QUEUED, State.PUSHING}
            assert last[1] in (waits if new in waits else {new})
            self.states[recall] = State(new)

    # --- the end ---------------------------------------------------------------------------------

    def teardown(self):
        """All faults are over. Nobody rings but the sweep; every recall has to come to its end."""
        try:
            self.drain()
        finally:
            self.client.config_set("maxmemory", "0")

    def drain(self) -> None:
        self.fill(full=False)
        self.queues.bind(self.world.bound)
        for name, queue in self.view().queues.items():
            if self.is_paused(queue.fields) or queue.fields.get("stopped"):
                self.queues.resume(name)
        for _ in range(400):
            if not any(queue.has_work() for queue in self.view().queues.values()):
                break
            for wake_up, _ in self.queues.sweep(SWEEP_ROOM):
                self.turn(wake_up.queue)
            self.clock_went_back = False
            self.every_promise_holds()
            self.time += timedelta(seconds=PATIENCE if self.queues_wait_briefly() else 7200)
        else:
            pytest.fail("a recall waits for ever")
        self.check_the_end()

    def queues_wait_briefly(self) -> bool:
        soon = self.store_ms() + 120_000
        queues = [queue for queue in self.view().queues.values() if queue.has_work()]
        return any(float(queue.fields.get("wait") or 0) < soon for queue in queues)

    def turn(self, queue: str) -> None:
        self.asked += 1
        owner = Owner(queue, f"n{self.asked}", timedelta(), self.time)
        self.acquire(owner, lost=False)
        while owner in self.owners:
            self.send(owner)
            if owner.sent_at is None:
                self.finish(owner, UNSENT["too late"], more=True, lost=False)
                continue
            self.world.until[queue] = self.time
            self.finish(owner, changed(CLEAR["accepted"], sent_ms=0), more=True, lost=False)

    def check_the_end(self) -> None:
        view = self.view()
        assert all(fields["state"] in ENDS for fields in view.recalls.values())
        assert not view.due
        for (queue, campaign, customer), wish in self.world.wishes.items():
            if wish.recall is None or view.recalls[wish.recall]["state"] != State.ACCEPTED:
                continue
            told = self.world.sent.get((queue, campaign, customer), [])
            elsewhere = any(wish.recall in other for other in self.world.sent.values() if other is not told)
            assert told[-1:] == [wish.recall] or elsewhere
