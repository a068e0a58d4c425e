"""Rules of events: recalls are asked for, taken back, and sent again."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from integration.domain.delivery import Event
from integration.domain.errors import StoreAwayError
from integration.domain.recall import CancelRequest, State
from integration.mapping.planner import CancelWanted, Ignored, RecallWanted
from support.store_process import KEEPING, delivery_at, recall_request

from .machine import Machine
from .model import ACCOUNTS, CUSTOMERS, START, NewestRequest


class EventRules(Machine):
    """Events arrive, late, doubled and out of order."""

    @initialize(account=st.sampled_from(sorted(ACCOUNTS)), due=st.integers(-2, 5))
    def the_first_recalls_are_asked_for(self, account, due):
        assert self.queues.bind(self.model.bound) == 0
        for customer in CUSTOMERS[:3]:
            self.ask(account, "1", customer, 1, due)

    def admit(self, *outcomes, body=b"{}"):
        before = self.view()
        try:
            return self.deliveries.admit(delivery_at(self.time, body=body), outcomes, KEEPING).answer
        except StoreAwayError:
            assert self.full
            assert self.view().same_as(before)
            return None

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        campaign=st.sampled_from(["1", "1", "2"]),
        requests=st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 4)), min_size=1, max_size=6),
        due=st.integers(-2, 5),
    )
    def recalls_are_asked_for(self, account, campaign, requests, due):
        for n, (customer, version) in enumerate(requests):
            self.ask(account, campaign, customer, version, due + n)

    def ask(self, account, campaign, customer, version, due):
        outcome = RecallWanted(
            event=self.event(), request=self.recall_request(account, campaign, customer, version, due)
        )
        answer = self.admit(outcome)
        if answer is None:
            return
        (recall,) = answer.recalls
        self.model.events.append((outcome, recall))
        self.note_recall(recall, account, campaign, customer, version)

    def recall_request(self, account, campaign, customer, version, due):
        return recall_request(
            customer,
            account=account,
            campaign=campaign,
            due=START + timedelta(hours=due),
            version=START + timedelta(seconds=version),
        )

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        customer=st.sampled_from(CUSTOMERS[:2]),
        versions=st.lists(st.integers(0, 2), min_size=1, max_size=4),
        due=st.integers(0, 1),
    )
    def bodies_without_an_id_come(self, account, customer, versions, due):
        """A body that came before is a duplicate only while its recall is the newest request."""
        for version in versions:
            outcome = RecallWanted(
                event=Event(data={}), request=self.recall_request(account, "1", customer, version, due)
            )
            body = f"{account} {customer} {version} {due}"
            before = self.view()
            answer = self.admit(outcome, body=body.encode())
            if answer is None:
                continue
            (recall,) = answer.recalls
            newest = self.model.requests.get((self.model.bound[account], "1", customer))
            known = self.model.bodies.get(body)
            if newest is not None and known is not None and newest.recall == known:
                assert recall == known
                assert self.view().same_as(before)
                continue
            assert recall not in before.recalls
            self.model.bodies[body] = recall
            self.note_recall(recall, account, "1", customer, version)

    def note_recall(self, recall, account, campaign, customer, version):
        self.model.recalls[recall] = (account, campaign, customer)
        self.model.versions[recall] = version
        self.states[recall] = State.QUEUED
        self.request(account, campaign, customer, NewestRequest(version, recall, account))

    def event(self) -> Event:
        self.asked += 1
        return Event(data={}, dedup_key=f"k{self.asked}")

    def request(self, account, campaign, customer, request):
        key = (self.model.bound[account], campaign, customer)
        old = self.model.requests.get(key)
        if old is None or old.version <= request.version:
            self.model.requests[key] = request

    @rule(
        account=st.sampled_from(sorted(ACCOUNTS)),
        campaign=st.sampled_from(["1", "1", "2"]),
        requests=st.lists(st.tuples(st.sampled_from(CUSTOMERS), st.integers(0, 4)), min_size=1, max_size=3),
    )
    def recalls_are_taken_back(self, account, campaign, requests):
        for customer, version in requests:
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
        self.model.events.append((CancelWanted(event=event, request=request), None))
        key = (self.model.bound[account], campaign, customer)
        old = self.model.requests.get(key)
        counts = old is None or old.version <= version
        queued = (
            counts
            and old is not None
            and before.recalls.get(old.recall or "", {}).get("state") == State.QUEUED
        )
        assert answer.cancelled == ((old.recall,) if queued else ())
        self.request(account, campaign, customer, NewestRequest(version, None, account))

    @precondition(lambda self: self.model.events)
    @rule(which=st.integers(0, 30), alone=st.booleans())
    def an_event_is_sent_again(self, which, alone):
        outcome, recall = self.model.events[which % len(self.model.events)]
        before = self.view()
        answer = self.admit(outcome) if alone else self.admit(outcome, Ignored(event=self.event()))
        if answer is None:
            return
        assert answer.recalls == (() if recall is None else (recall,))
        assert self.view().same_as(before)
