"""Rules of time and the store: clocks that go back, a full store, a purge, a copy that is put back."""

from __future__ import annotations

from copy import deepcopy
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from integration.domain.recall import State
from integration.services.heartbeat import Heartbeat
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.token_queue import NoClaim

from .machine import Machine
from .model import ENDS, QUEUES, SWEEP_ROOM, Owner, StoreCopy, View


class StoreRules(Machine):
    """Time passes; the store fills up, forgets and goes back."""

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
            if (request := self.model.requests.get(key)) and request.recall == recall:
                self.forget(key)
            del self.states[recall], self.model.recalls[recall]
        self.model.events = [event for event in self.model.events if event[1] not in gone]
        self.forget_faded(after)

    def forget_faded(self, after: View) -> None:
        for key, request in list(self.model.requests.items()):
            if request.recall is None and "\0".join(key[1:]) not in after.queues[key[0]].newest:
                self.forget(key)

    @rule()
    def the_store_is_copied(self):
        for store in self.stores[:2]:
            Heartbeat(ProcessRegistry(store), store.process_id).send()
        owners = [(owner, owner.claim, owner.step, owner.unanswered) for owner in self.owners]
        self.copy = StoreCopy(
            self.dump(), deepcopy(self.model.without_owners()), dict(self.model.holder), owners
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
        lost = self.lost_epochs()
        told = len(self.reports)
        for name in QUEUES if acquires else ():
            self.asked += 1
            reply = self.workers[first].acquire(name, f"n{self.asked}", self.terms(timedelta()))[0]
            assert isinstance(reply, NoClaim), "a claim before the other worker was heard"
            if reply.kind != "busy":
                self.model.holder[name] = None
        self.note_the_recovered()
        self.workers[1 - first].sweep(SWEEP_ROOM)
        self.workers[first].sweep(SWEEP_ROOM)
        Heartbeat(ProcessRegistry(self.store), self.store.process_id).send()
        assert bool(lost) <= len(self.reports) - told <= len(lost)
        if all_hear:
            self.all_hear_of_it()

    def lost_epochs(self) -> set[str]:
        """Name the histories of which a process saw more than the store holds or knows to be lost.

        They are several where a loss was not heard of by all before the next one. The store cannot tell that
        one is the continuation of another, so each may be reported.
        """
        epoch, revision = self.client.hmget(self.store.key("store"), "epoch", "revision")
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
        there = self.client.hget(self.store.key("store"), "epoch")
        assert {store.epoch.name for store in self.stores} == {there}

    def put_back(self, copy: StoreCopy) -> None:
        self.raw.flushall()
        for key, (value, ttl) in copy.keys.items():
            self.raw.restore(key, ttl, value)
        self.client.hset(self.store.key("store"), "server", "another")
        for store in self.stores:
            store.epoch._server = "another"
        until = self.model.until
        self.model = deepcopy(copy.model)
        self.model.until = until
        self.states = dict(self.copy_states)
        for owner in list(self.owners):
            self.go_back(owner, copy)
        holders = {queue: owner for queue, owner in copy.holder.items() if owner and not owner.stale}
        self.model.holder = {**dict.fromkeys(copy.holder), **holders}

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

    @rule()
    def the_store_is_full_or_not(self):
        self.fill(full=not self.full)
