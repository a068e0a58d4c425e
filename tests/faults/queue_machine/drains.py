"""The calls of a worker that drains a queue, each held against what the machine knows."""

from __future__ import annotations

from datetime import timedelta

from integration.domain.recall import State
from integration.store.token_queue import Claim, NoClaim, PushResult, QueueSettings

from .machine import Machine
from .model import (
    CLEAR,
    DAILY_LIMIT,
    LATEST_WRITE,
    LEASE,
    QUEUES,
    SERVER_LIMIT,
    TIMEOUT,
    UNKNOWN,
    UNSENT,
    Owner,
    Queue,
    View,
    changed,
)


class Drains(Machine):
    """A worker acquires, sends, and finishes with an outcome."""

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
            # Its drain is gone; nothing of its call may be running any more.
            assert (self.time - self.model.claimed_at[owner.queue]).total_seconds() >= LEASE
            crashes = int(before.recalls[stranded].get("crashes", 0)) + 1
            if isinstance(reply, Claim) and crashes < 3 and self.is_newest(stranded):
                assert reply.recall_id == stranded
        elif isinstance(reply, Claim):
            assert reply.recall_id == self.next_of(queue)
        self.model.holder[owner.queue] = owner
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
        self.model.claimed_at[name] = self.time
        assert queue.fields["inflight"] == reply.recall_id
        assert not queue.fields.get("first")
        assert queue.fields.get("aside", "") in {"", *queue.waiting}
        assert self.is_newest(reply.recall_id)
        assert not any(queue.fields.get(name) for name in ("stopped", "account_removed"))
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

    def finish_in_vain(self, owner: Owner, outcome: PushResult, more: bool, terms: QueueSettings) -> None:
        before = self.view()
        reply = self.call_finish(owner, outcome, more, terms)
        assert reply.kind == "lost"
        assert self.view().same_as(before)
        self.owners.remove(owner)

    def call_finish(
        self, owner: Owner, outcome: PushResult, more: bool, terms: QueueSettings
    ) -> Claim | NoClaim:
        queues = self.queues_of(owner)
        return queues.finish(owner.queue, owner.claim, owner.step, outcome, more=more, terms=terms)[0]

    def send(self, owner: Owner) -> None:
        late = (self.time - owner.asked_at).total_seconds() > LATEST_WRITE
        if owner.claim is None or owner.unanswered or owner.sent_at is not None or late:
            return
        running = self.model.until.get(owner.queue)
        assert running is None or running <= self.time, "two calls at once on a token"
        owner.sent_at = self.time
        self.model.until[owner.queue] = self.time + timedelta(seconds=SERVER_LIMIT)
        if owner.stale:
            # What the lost history had pushed, and how often, is known to nobody.
            return
        recall = owner.claim.recall_id
        _, campaign, customer = self.model.recalls[recall]
        key = (owner.queue, campaign, customer)
        assert self.model.last.get(key, 0) <= self.model.versions[recall], "an older request came last"
        self.model.last[key] = self.model.versions[recall]
        self.model.sent.setdefault(key, []).append(recall)
        day = self.client.hget(self.store.key(f"queue:{owner.queue}"), "day")
        made = self.model.calls[owner.queue, day] = self.model.calls.get((owner.queue, day), 0) + 1
        assert made <= DAILY_LIMIT, "more calls than the day allows"

    def tell(self, owner: Owner, how: int, *, more: bool, lost: bool = False, until: bool = False) -> None:
        outcome = self.outcome(owner, how)
        if until and outcome.kind == "again" and outcome.stop is None:
            reset = round(self.terms(owner.clock).day_ends.timestamp() * 1000)
            outcome = changed(outcome, wait_ms=None, wait_until=reset)
        self.finish(owner, outcome, more=more, lost=lost)

    def push_once(self, queue: str, how: int) -> None:
        self.asked += 1
        owner = Owner(queue, f"n{self.asked}", timedelta(), self.time)
        self.acquire(owner, lost=False)
        if owner in self.owners:
            self.send(owner)
            self.tell(owner, how, more=False)

    def outcome(self, owner: Owner, how: int) -> PushResult:
        if owner.sent_at is None:
            return list(UNSENT.values())[how % len(UNSENT)]
        since = (self.time - owner.sent_at).total_seconds()
        table = UNKNOWN if since > TIMEOUT or how > len(CLEAR) else CLEAR
        if table is CLEAR and self.model.holder.get(owner.queue) is owner:
            self.model.until[owner.queue] = self.time
        return changed(list(table.values())[how % len(table)], sent_ms=round(since * 1000))

    def finish(self, owner: Owner, outcome: PushResult, *, more: bool, lost: bool) -> None:
        owner.step += 1
        terms = self.terms(owner.clock)
        if self.model.holder.get(owner.queue) is not owner:
            self.finish_in_vain(owner, outcome, more, terms)
            return
        reply = self.call_finish(owner, outcome, more, terms)
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
