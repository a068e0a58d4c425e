"""Rules of operators: pause, resume, retry, cancel, and accounts that get another token or leave."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from integration.domain.errors import ConflictError, StoreAwayError
from integration.domain.recall import State

from .machine import Machine
from .model import ACCOUNTS, ENDS, LEASE, QUEUES


class OperatorRules(Machine):
    """Operators and changes of the configuration."""

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
        old = self.model.bound[account]
        later = self.queues.bind({**self.model.bound, account: queue})
        if later:
            fields = before.queues[old].fields
            assert fields.get("inflight") or float(fields.get("quiet") or 0) > self.store_ms()
            assert self.queues.bound() == self.model.bound
            return
        # While all queues are held, a call that the store knows nothing of may be running.
        running = self.model.until.get(old)
        assert running is None or old == queue or running <= self.time or self.held_for(LEASE)
        if old != queue:
            requests = dict(self.model.requests)
            self.move(account, old, queue)
            self.note_the_overtaken(account, old, requests)
        assert self.queues.bound() == self.model.bound

    def note_the_overtaken(self, account: str, old: str, requests: dict) -> None:
        """What was in flight on the queue of the old token may have been overtaken there already."""
        for recall, fields in self.view().recalls.items():
            owner = self.model.recalls[recall][0]
            was_there = owner == account or self.model.bound[owner] == old
            if was_there and fields["state"] in ENDS and not self.is_newest(recall, requests, old):
                self.states[recall] = State(fields["state"])

    def move(self, account: str, old: str, queue: str) -> None:
        self.model.bound[account] = queue
        self.model.holder[old] = None
        for key, request in list(self.model.requests.items()):
            if key[0] == old and request.account == account:
                self.forget(key)
                self.request(account, key[1], key[2], request)

    @rule(account=st.sampled_from(sorted(ACCOUNTS)))
    def an_account_leaves_and_comes_back(self, account):
        rest = {name: queue for name, queue in self.model.bound.items() if name != account}
        later = self.queues.bind(rest)
        queue = self.model.bound[account]
        if queue in rest.values():
            self.model.holder[queue] = self.model.holder.get(queue) if later else None
            assert bool(later) == self.call_may_run(queue)
        else:
            assert later == 0
            self.queues.resume(queue)
            kind = self.queues.acquire(queue, "a stranger", self.terms(timedelta())).claim.kind
            assert kind in {"stopped", "busy"}
            if kind == "stopped":
                # Whoever's lease was over has lost the queue to the stranger.
                self.model.holder[queue] = None
        assert self.queues.bind(self.model.bound) == 0

    def call_may_run(self, queue: str) -> bool:
        fields = self.view().queues[queue].fields
        lease = fields["lease"] if fields.get("inflight") else 0
        return max(float(fields.get("quiet") or 0), float(lease)) > self.store_ms()
