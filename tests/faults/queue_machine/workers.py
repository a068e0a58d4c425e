"""Rules of workers: they acquire, push, die, freeze, lose replies, and sweep."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from .drains import Drains
from .machine import Machine
from .model import HOW, LEASE, MEANWHILE, OFTEN, PATIENCE, RARELY, SECONDS, SWEEP_ROOM, Owner, Queue


class WorkerRules(Drains):
    """Workers do their work, and fail at it."""

    @precondition(Machine.has_work)
    @rule(which=st.integers(0, 3), skew=st.sampled_from([0, -3, 3]), lost=RARELY, sends=OFTEN)
    def a_worker_acquires(self, which, skew, lost, sends):
        owner = self.owner(which, skew)
        self.acquire(owner, lost=lost)
        if sends:
            self.send(owner)

    @precondition(Machine.has_work)
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

    @precondition(lambda self: self.pick(0, unanswered=True))
    @rule(which=st.integers(0, 5), lost=st.booleans())
    def a_worker_asks_again_for_a_lost_reply(self, which, lost):
        owner = self.pick(which, unanswered=True)
        verb, reply, *asked = owner.unanswered
        if self.model.holder.get(owner.queue) is not owner:
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

    @precondition(lambda self: self.pick(0))
    @rule(which=st.integers(0, 5))
    def a_worker_sends(self, which):
        self.send(self.pick(which))

    @precondition(lambda self: self.pick(0))
    @rule(which=st.integers(0, 5), how=HOW, more=OFTEN, lost=RARELY, until=RARELY, sends=OFTEN)
    def a_worker_tells_what_became_of_it(self, which, how, more, lost, until, sends):
        self.tell(self.pick(which), how, more=more, lost=lost, until=until)
        if sends and (owner := self.pick(which)):
            self.send(owner)

    @precondition(Machine.has_work)
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
            account, campaign, customer = self.model.recalls[owner.claim.recall_id]
            if meanwhile == "asked again":
                self.ask(account, campaign, customer, 4, 0)
            if meanwhile == "taken back":
                self.take_back(account, campaign, customer, 4)
            self.time += timedelta(seconds=seconds)
            self.tell(owner, how, more=more or n < len(pushes))

    @precondition(Machine.has_work)
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

    @precondition(Machine.has_work)
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

    @precondition(Machine.has_work)
    @rule(which=st.integers(0, 3), hows=st.lists(HOW, min_size=1, max_size=3), seconds=SECONDS)
    def a_full_store_goes_on_working(self, which, hows, seconds):
        self.fill(full=True)
        for how in hows:
            self.push_once(self.owner(which, 0).queue, how)
            self.time += timedelta(seconds=seconds)
            self.a_worker_sweeps()
        self.fill(full=False)

    @precondition(lambda self: self.owners)
    @rule(which=st.integers(0, 5))
    def a_worker_dies(self, which):
        self.owners.pop(which % len(self.owners))

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

    def may_go_on(self, queue: Queue) -> bool:
        fields = queue.fields
        if self.held(queue):
            return False
        if fields.get("inflight"):
            return float(fields["lease"]) <= self.store_ms()
        if fields.get("stopped") or self.is_paused(fields) or not queue.waiting:
            return False
        return all(float(fields.get(name) or 0) <= self.store_ms() for name in ("wait", "quiet"))
