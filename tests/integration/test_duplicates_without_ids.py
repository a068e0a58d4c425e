"""Events without an id: a body is a duplicate only while it equals the newest request of its customer and campaign."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Event
from integration.domain.recall import CancelRequest, State
from integration.domain.recall_filters import Filter
from integration.mapping.planner import CancelWanted, Ignored, Parked, Pending, RecallWanted
from integration.services.parked import ParkedFilter
from integration.store.deliveries import parked_events_of
from integration.store.parked import ParkedStore
from support import make_services, two_accounts
from support.hook_client import HookClient
from support.jobs import dismiss_all
from support.store_process import ACCEPTED, NOON, ClockedProcess, recall_request


class Sender(ClockedProcess):
    """A source whose bodies have no id. A second passes before each delivery."""

    def __init__(self, client):
        super().__init__(client)
        self.bind(bogota="L1")
        self.deliveries_sent = 0

    def send(self, body, *outcomes, **more):
        self.pass_time(1)
        self.deliveries_sent += 1
        return self.admit(*outcomes, body=body.encode(), id=f"dl_{self.deliveries_sent}", **more)

    def wants(self, customer="c1", due_minutes=60, **more):
        """Return the outcome of an event that asks for a recall, which counts from its arrival."""
        due = NOON + timedelta(minutes=due_minutes)
        request = recall_request(customer, due=due, version=self.now + timedelta(seconds=1), **more)
        return RecallWanted(event=Event(data={}), request=request)

    def recall(self, body, customer="c1", due_minutes=60, **more):
        return self.send(body, self.wants(customer, due_minutes, **more)).answer.recalls[0]

    def cancel(self, body, customer="c1"):
        request = CancelRequest(
            account="bogota",
            campaign_id="10",
            customer_id=customer,
            version=self.now + timedelta(seconds=1),
            source="forms",
        )
        return self.send(body, CancelWanted(event=Event(data={}), request=request))

    def park(self, body):
        event = Event(data={"body": body})
        outcome = Parked(
            event=event, route="form", account="bogota", field="recall_date", found="x", allowed="y"
        )
        return self.send(body, outcome)

    def parked(self):
        return [parked_events_of(record) for record in ParkedStore(self.store).page(limit=100)[0]]

    def states(self, *recalls):
        return [self.state(recall) for recall in recalls]


@pytest.fixture
def sender(store):
    return Sender(store)


def test_a_body_that_is_no_longer_mapped_is_a_duplicate_while_its_recall_is_the_newest(sender):
    first = sender.recall("A")
    assert sender.park("A").answer.recalls == (first,)
    assert sender.recall("A") == first
    assert sender.parked() == []
    second = sender.recall("B", due_minutes=90)
    assert sender.park("A").answer.recalls == ()
    assert len(sender.parked()) == 1
    assert sender.states(first, second) == [State.SUPERSEDED, State.QUEUED]


def test_the_newest_request_sent_again_is_a_duplicate_and_gets_its_old_answer(sender):
    first = sender.send("A", sender.wants())
    again = sender.send("A", sender.wants())
    assert (again.again, again.answer) == (True, first.answer)


def test_a_b_a_ends_with_a(sender):
    a, b, last = sender.recall("A"), sender.recall("B", due_minutes=90), sender.recall("A")
    assert last not in {a, b}
    assert sender.states(a, b, last) == [State.SUPERSEDED, State.SUPERSEDED, State.QUEUED]
    assert sender.recall("A") == last


def test_a_b_a_ends_with_a_also_after_wolkvox_has_b(sender):
    sender.recall("A")
    b = sender.recall("B", due_minutes=90)
    sender.finish(sender.acquire())
    assert sender.state(b) is State.ACCEPTED
    assert sender.state(sender.recall("A")) is State.QUEUED


def test_the_newest_request_is_known_after_wolkvox_has_it(sender):
    a = sender.recall("A")
    sender.finish(sender.acquire(), ACCEPTED)
    assert sender.recall("A") == a


@pytest.mark.parametrize("between", [{"customer": "c2"}, {"campaign": "20"}], ids=["customer", "campaign"])
def test_a_request_of_another_customer_or_campaign_in_between_changes_nothing(sender, between):
    a = sender.recall("A")
    sender.recall("B", **between)
    assert sender.recall("A") == a


def test_a_request_through_the_api_in_between_makes_the_body_new(sender):
    a = sender.recall("A")
    sender.pass_time(1)
    sender.deliveries.admit_one(recall_request(version=sender.now, source="api:zapier"))
    assert sender.recall("A") != a


def test_a_request_taken_back_may_be_made_again(sender):
    a = sender.recall("A")
    sender.cancel("stop")
    last = sender.recall("A")
    assert sender.states(a, last) == [State.CANCELLED, State.QUEUED]


def test_a_cancel_sent_again_is_a_duplicate_until_a_request_comes(sender):
    sender.recall("A")
    first = sender.cancel("stop")
    assert sender.cancel("stop").answer == first.answer
    b = sender.recall("B")
    assert sender.cancel("stop").answer.cancelled == (b,)


def test_a_recall_that_an_operator_cancelled_is_still_the_newest_request(sender):
    a = sender.recall("A")
    sender.recalls.cancel(a, "by the operator")
    assert sender.recall("A") == a


def test_a_date_that_the_template_computes_is_the_same_request_for_ten_minutes(sender):
    a = sender.recall("A", due_minutes=60)
    assert sender.recall("A", due_minutes=61) == a
    sender.pass_time(600)
    assert sender.recall("A", due_minutes=72) != a


def test_the_same_date_is_the_same_request_for_as_long_as_an_id_would_be_known(sender):
    a = sender.recall("A")
    sender.pass_time(3600)
    assert sender.recall("A") == a
    (seen,) = sender.client.keys(sender.store.key("seen:*"))
    assert sender.client.pttl(seen) > 167 * 3600 * 1000


def test_an_older_request_by_the_crms_time_is_superseded_each_time_it_comes(sender):
    """`event_time` is the remedy for a late retry: the CRM's time decides, not the arrival."""
    old = recall_request(version=NOON)
    b = sender.recall("B")
    late = sender.send("A", RecallWanted(event=Event(data={}), request=old)).answer.recalls[0]
    assert sender.states(b, late) == [State.QUEUED, State.SUPERSEDED]


# --- deliveries of several events ----------------------------------------------------------------


def test_a_delivery_of_several_events_sent_again_gets_its_old_answer(sender):
    events = [sender.wants("c1"), sender.wants("c2"), Ignored(event=Event(data={}))]
    first, again = sender.send("A", *events), sender.send("A", *events)
    assert (again.again, again.answer) == (True, first.answer)


def test_two_requests_of_a_customer_in_one_delivery_are_duplicates_together(sender):
    def send():
        return sender.send("A", sender.wants(due_minutes=60), sender.wants(due_minutes=90))

    first = send()
    assert send().answer == first.answer
    assert sender.states(*first.answer.recalls) == [State.SUPERSEDED, State.QUEUED]


def test_of_a_delivery_only_the_events_with_newer_requests_since_are_new(sender):
    first = sender.send("A", sender.wants("c1"), sender.wants("c2")).answer.recalls
    sender.recall("B", "c2")
    again = sender.send("A", sender.wants("c1"), sender.wants("c2"))
    assert not again.again
    assert again.answer.recalls[0] == first[0]
    assert again.answer.recalls[1] not in first
    assert sender.state(again.answer.recalls[1]) is State.QUEUED


# --- events that wait ----------------------------------------------------------------------------


def test_a_parked_body_sent_again_is_one_event_that_counts_from_its_latest_arrival(sender):
    first = sender.park("A")
    sender.recall("B")
    assert sender.park("A").answer == first.answer
    (event,) = sender.parked()
    assert event.delivery.received_at == sender.now


def test_a_dismissed_body_sent_again_is_parked_again(sender):
    sender.park("A")
    (group,) = ParkedStore(sender.store).groups()
    dismiss_all(sender.store, group.id)
    assert sender.parked() == []
    assert sender.park("A").answer.parked == 1
    assert len(sender.parked()) == 1


def test_a_parked_event_whose_body_can_be_mapped_now_gives_way_to_the_recall(sender):
    sender.park("A")
    assert sender.state(sender.recall("A")) is State.QUEUED
    assert sender.parked() == []


def pending(sender, body):
    sender.send(body, Pending(event=Event(data={}, lookup_id="77")))


def test_bodies_that_waited_for_a_lookup_are_compared_when_they_are_resolved(sender):
    """A, A, B, A: the second A is a duplicate, the last one is the newest request again."""
    for body in "AABA":
        pending(sender, body)
    recalls = []
    for lookup in sender.deliveries.take_lookups("forms"):
        outcome = RecallWanted(
            event=lookup.events[0], request=recall_request(version=lookup.delivery.received_at)
        )
        answer = sender.deliveries.resolve(lookup, [outcome], sender.keeping, parked=False).answer
        recalls += answer.recalls
    first, second, b, last = recalls
    assert first == second
    assert last not in {first, b}
    assert sender.states(first, b, last) == [State.SUPERSEDED, State.SUPERSEDED, State.QUEUED]


# --- over HTTP -----------------------------------------------------------------------------------

PLAIN = """
[sources.plain]
kind = "json"
verify = "bearer"
secrets = ["env:ZAPIER_KEY"]
{more}

[[routes]]
name = "plain"
source = "plain"
account = "bogota"
campaign_id = "12345"
customer_id = "{{{{ event.documento }}}}"
recall_telephone = "{{{{ event.celular }}}}"
recall_date = "{{{{ event.fecha }}}}"
"""


@pytest.fixture
def post(tmp_path, store):
    """Return a function that posts a request for a day of June and returns its recall."""

    def post_to(more=""):
        services = make_services(tmp_path, store, two_accounts() + PLAIN.format(more=more))
        services.binding.bind()
        web = HookClient(services)

        def post(day, **fields):
            date = datetime.now(UTC) + timedelta(days=day)
            body = {
                "documento": "80123456",
                "celular": "3001112233",
                "fecha": f"{date:%Y-%m-%d}T15:30:00",
                **fields,
            }
            (recall,) = web.post("plain", body).json["recalls"]
            return web.recall(recall)

        return post

    return post_to


@pytest.mark.parametrize(
    ("order", "made"), [("ABA", 3), ("AABA", 3), ("ABCA", 4), ("ABAB", 4), ("ABBAA", 3)], ids=str
)
def test_the_latest_of_bodies_without_an_id_is_the_newest_request(post, order, made):
    """A body that equals the newest request makes no recall. Any other makes one, also one of before."""
    send = post()
    sent = [send("ABC".index(body) + 4) for body in order]
    assert len({recall.id for recall in sent}) == made
    assert (sent[-1].state, sent[-1].recall_date) == (
        State.QUEUED,
        next(recall.recall_date for recall, body in zip(sent, order, strict=True) if body == order[-1]),
    )


LIST = """
[sources.plain]
kind = "json"
verify = "bearer"
secrets = ["env:ZAPIER_KEY"]
events = "body.items"

[[routes]]
name = "plain"
source = "plain"
account = "bogota"
campaign_id = "{campaign}"
customer_id = "{{{{ event.documento }}}}"
recall_telephone = "3001112233"
recall_date = "{{{{ event.fecha }}}}"
"""
UNMAPPED, MAPPED = LIST.format(campaign="{{ event.campana }}"), LIST.format(campaign="12345")


@pytest.mark.parametrize("customers", [("1",), ("1", "2"), ("1", "1")], ids=str)
@pytest.mark.parametrize("order", ["ABA", "AABA", "ABAB", "ABBA", "ABABA"])
def test_parked_bodies_end_with_the_last_one_after_a_remap(tmp_path, store, customers, order):
    services = make_services(tmp_path, store, two_accounts() + UNMAPPED)
    web, days = HookClient(services), {"A": 4, "B": 5}
    dates = {
        name: f"{datetime.now(UTC) + timedelta(days=day):%Y-%m-%d}T15:30:00" for name, day in days.items()
    }
    for body in order:
        items = [{"documento": customer, "fecha": dates[body]} for customer in customers]
        assert web.post("plain", {"items": items}).json["parked"] == len(customers)
    services = make_services(tmp_path, store, two_accounts() + MAPPED)
    services.binding.bind()
    remapped = services.parked.remap(ParkedFilter(), datetime.now(UTC))
    assert remapped.still_parked == 0
    queued = services.recalls.records.every(Filter(state=State.QUEUED))
    wanted = {recall.customer_id: f"{recall.requested_date:%Y-%m-%dT%H:%M:%S}" for recall in queued}
    assert wanted == dict.fromkeys(customers, dates[order[-1]])


def test_a_dedup_key_makes_a_late_retry_a_duplicate(post):
    send = post('dedup_key = "{{ event.id }}"')
    a, b, retry = send(4, id="1"), send(5, id="2"), send(4, id="1")
    assert retry.id == a.id
    assert b.state is State.QUEUED


def test_an_event_time_makes_a_late_retry_an_older_request(post):
    send = post('event_time = "{{ event.updated_at }}"')
    first, second = "2026-03-02T12:00:00Z", "2026-03-02T12:00:01Z"
    send(4, updated_at=first)
    b, retry = send(5, updated_at=second), send(4, updated_at=first)
    assert (b.state, retry.state) == (State.QUEUED, State.SUPERSEDED)
