"""What holds after every step, and at the end with all faults over."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis.stateful import invariant

from integration.domain.recall import State

from .drains import Drains
from .model import CLEAR, ENDS, HALF_HOUR_MS, PATIENCE, START, SWEEP_ROOM, UNSENT, Owner, View, changed


class Checks(Drains):
    """The promises of the queues."""

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
            ("queued", fields["account"], str(int(fields["score"]) // HALF_HOUR_MS), fields["campaign"])
            for fields in waiting
        )
        assert {slot: number for slot, number in view.calendar.items() if slot[0] == "queued"} == counted
        assert all(number > 0 for number in view.calendar.values())

    def check_places(self, view: View) -> None:
        assert set(view.recalls) == set(self.model.recalls)
        for recall, fields in view.recalls.items():
            account, _, _ = self.model.recalls[recall]
            state = fields["state"]
            listed = State.QUEUED if state == State.PUSHING else state
            queues = [name for name, queue in view.queues.items() if recall in queue.waiting]
            flying = [name for name, queue in view.queues.items() if queue.fields.get("inflight") == recall]
            queue = self.model.bound[account]
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
            key: f"{(base + request.version) * 1000}|{request.recall or request.account}|{'r' if request.recall else 'c'}"
            for key, request in self.model.requests.items()
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

    def teardown(self):
        """All faults are over. Nobody rings but the sweep; every recall has to come to its end."""
        try:
            self.drain()
        finally:
            self.client.config_set("maxmemory", "0")

    def drain(self) -> None:
        self.fill(full=False)
        self.queues.bind(self.model.bound)
        for name, queue in self.view().queues.items():
            if self.is_paused(queue.fields) or queue.fields.get("stopped"):
                self.queues.resume(name)
        for _ in range(400):
            if not any(queue.has_work() for queue in self.view().queues.values()):
                break
            for wake_up, _ in self.queues.sweep(SWEEP_ROOM):
                self.drain_queue(wake_up.queue)
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

    def drain_queue(self, queue: str) -> None:
        self.asked += 1
        owner = Owner(queue, f"n{self.asked}", timedelta(), self.time)
        self.acquire(owner, lost=False)
        while owner in self.owners:
            self.send(owner)
            if owner.sent_at is None:
                self.finish(owner, UNSENT["too late"], more=True, lost=False)
                continue
            self.model.until[queue] = self.time
            self.finish(owner, changed(CLEAR["accepted"], sent_ms=0), more=True, lost=False)

    def check_the_end(self) -> None:
        view = self.view()
        assert all(fields["state"] in ENDS for fields in view.recalls.values())
        assert not view.due
        for (queue, campaign, customer), request in self.model.requests.items():
            if request.recall is None or view.recalls[request.recall]["state"] != State.ACCEPTED:
                continue
            told = self.model.sent.get((queue, campaign, customer), [])
            elsewhere = any(
                request.recall in other for other in self.model.sent.values() if other is not told
            )
            assert told[-1:] == [request.recall] or elsewhere
