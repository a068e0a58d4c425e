"""The store's intake on a real store: what is taken twice, what waits, what is kept and for how long."""

from __future__ import annotations

import zlib
from dataclasses import replace
from datetime import timedelta

import pytest
import redis

from integration.domain.delivery import Event
from integration.domain.errors import StoreAwayError, UnboundError
from integration.domain.recall import CancelRequest, Filter, State
from integration.mapping.planner import CancelWanted, Expired, Ignored, Parked, Pending, RecallWanted
from integration.store.deliveries import digest_of, event_keys, parked_events_of
from integration.store.parked import ParkedStore
from support import store_process, url_of
from support.store_process import NOON, ClockedProcess, delivery_at, recall_request

KEEPING = replace(store_process.KEEPING, raw_retention_days=7)
MENDED = replace(KEEPING, config_digest="c2")
WEEK_MS = 168 * 3600 * 1000


class DeliveryProcess(ClockedProcess):
    keeping = KEEPING

    def __init__(self, client):
        super().__init__(client)
        self.bind(bogota="L1")

    def keys(self, pattern):
        return sorted(self.client.keys(self.store.key(pattern)))

    def ttl(self, pattern):
        (key,) = self.keys(pattern)
        return self.client.pttl(key)

    def parked(self):
        return ParkedStore(self.store).page(limit=1000)[0]

    def parked_ids(self):
        return [record["id"] for record in self.parked()]

    def park(self, key="k1", **more):
        return self.admit(parked(event(key)), **more)

    def wait(self, *lookups, source="crm", key="k"):
        """Admit a delivery whose events wait for these contacts."""
        events = [event(f"{key}{lookup}", lookup_id=lookup) for lookup in lookups]
        return self.admit(*(Pending(event=each) for each in events), source=source)


@pytest.fixture
def process(store):
    return DeliveryProcess(store)


def event(key=None, **more):
    return Event(data={"n": 1}, dedup_key=key, **more)


def wanted(customer="c1", *, key="k1", version=NOON):
    return RecallWanted(event=event(key), request=recall_request(customer, version=version))


def parked(about, route="form"):
    words = {"field": "recall_date", "found": "a word", "allowed": "a date"}
    return Parked(event=about, route=route, account="bogota", **words)


# --- what is taken twice -----------------------------------------------------------------------


def test_an_event_with_the_senders_key_is_remembered_for_the_configured_hours(process):
    process.admit(wanted())
    assert WEEK_MS - 60_000 < process.ttl("seen:*") <= WEEK_MS


def test_the_answer_to_several_events_is_kept_for_the_configured_hours(process):
    process.admit(wanted("c1", key="k1"), wanted("c2", key="k2"))
    assert WEEK_MS - 60_000 < process.ttl("answer:*") <= WEEK_MS


def test_events_without_a_key_in_one_body_are_told_apart_by_their_place(process):
    keys = event_keys(delivery_at(NOON), [event(), event()])
    assert len(set(keys)) == 2


def test_one_key_from_two_sources_is_two_events(process):
    assert event_keys(delivery_at(NOON, source="a"), [event("k")]) != event_keys(
        delivery_at(NOON, source="b"), [event("k")]
    )


def test_the_same_event_twice_in_one_delivery_is_one_recall(process):
    answer = process.admit(wanted(), wanted()).answer
    assert len(answer.recalls) == 2
    assert len(set(answer.recalls)) == 1
    assert process.recalls.get(answer.recalls[0]).state is State.QUEUED


def test_a_delivery_taken_before_is_told_so(process):
    first = process.admit(wanted())
    second = process.admit(wanted())
    assert (first.again, second.again) == (False, True)
    assert second.answer == first.answer
    assert second.wake_ups == ()


@pytest.mark.parametrize("keys", [["k1"], ["k1", "k2"]], ids=["one event", "several"])
def test_a_delivery_sent_again_gets_its_first_answer(process, keys):
    events = [wanted(f"c {key}", key=key) for key in keys]
    first = process.admit(*events)
    second = process.admit(*events, id="dl_2")
    assert (second.again, second.answer) == (True, first.answer)
    assert second.answer.delivery == "dl_1"


def test_an_event_that_came_with_others_and_then_alone_gets_one_answer_from_then_on(process):
    both = process.admit(wanted("c1", key="k1"), wanted("c2", key="k2")).answer
    alone = [process.admit(wanted("c1", key="k1"), id=name) for name in ("dl_2", "dl_3")]
    assert [one.again for one in alone] == [True, True]
    assert [one.answer.delivery for one in alone] == ["dl_2", "dl_2"]
    assert {one.answer.recalls for one in alone} == {both.recalls[:1]}


def test_an_event_that_came_alone_and_then_with_others_is_taken_once(process):
    alone = process.admit(wanted("c1", key="k1")).answer
    both = process.admit(wanted("c1", key="k1"), wanted("c2", key="k2"), id="dl_2")
    assert not both.again
    assert both.answer.recalls[:1] == alone.recalls


def test_a_wish_taken_back_alone_is_answered_as_before_with_what_it_took_back(process):
    process.admit(wanted())
    cancel = CancelRequest(account="bogota", campaign_id="10", customer_id="c1", version=NOON, source="forms")
    first, second = (
        process.admit(CancelWanted(event=event("stop"), request=cancel), id=name) for name in ("dl_2", "dl_3")
    )
    assert first.answer.cancelled != ()
    assert (second.again, second.answer) == (True, first.answer)


def test_a_parked_event_sent_again_alone_is_answered_as_before_only_under_its_configuration(process):
    first = process.park()
    assert process.park(id="dl_2").answer == first.answer
    mended = replace(KEEPING, config_digest="c2")
    again = process.park(id="dl_3", keeping=mended)
    assert not again.again
    assert again.answer.delivery == "dl_3"


def test_what_a_version_remembered_that_kept_each_answer_by_itself_is_answered_as_before(process):
    first = process.admit(wanted())
    (seen,) = process.keys("seen:*")
    digest, what, recall, fingerprint, answer = process.client.get(seen).split("|")
    process.client.set(seen, f"{digest}|{what}|{recall}|{fingerprint}", keepttl=True)
    delivery = delivery_at(NOON)
    key = digest_of(delivery.source, *event_keys(delivery, [event("k1")]))
    process.client.set(process.store.key(f"answer:{key}"), f"|{answer}")
    second = process.admit(wanted(), id="dl_2")
    assert (second.again, second.answer) == (True, first.answer)


def test_a_delivery_of_old_events_in_a_new_order_is_again_all_the_same(process):
    first = process.admit(wanted("c1", key="k1"), wanted("c2", key="k2"))
    second = process.admit(wanted("c2", key="k2"), wanted("c1", key="k1"))
    assert second.again
    assert second.answer.recalls == first.answer.recalls[::-1]


def test_a_cancel_taken_before_does_not_take_back_what_was_asked_for_since(process):
    cancel = CancelWanted(event=event("k1"), request=cancel_request())
    process.admit(cancel)
    recall = process.admit(wanted(key="k2")).answer.recalls[0]
    process.admit(cancel, Ignored(event=event("k3")))
    assert process.recalls.get(recall).state is State.QUEUED


def cancel_request(version=NOON):
    return CancelRequest(
        account="bogota", campaign_id="10", customer_id="c1", version=version, source="forms"
    )


def test_an_ignored_delivery_leaves_nothing_but_a_count(process):
    process.admit(Ignored(event=event("k1")), raw=b"{}")
    assert process.keys("seen:*") == process.keys("answer:*") == process.keys("delivery:*") == []


# --- one recall asked for directly -------------------------------------------------------------


def test_the_same_key_and_words_give_the_same_recall(process):
    first = process.deliveries.admit_one(recall_request(), key="key", fingerprint="f1")
    second = process.deliveries.admit_one(recall_request(), key="key", fingerprint="f1")
    assert second.answer.recalls == first.answer.recalls
    assert (first.again, second.again) == (False, True)
    assert WEEK_MS - 60_000 < process.ttl("seen:*") <= WEEK_MS


def test_the_same_key_with_other_words_is_a_clash_and_stores_nothing(process):
    process.deliveries.admit_one(recall_request(), key="key", fingerprint="f1")
    before = process.keys("*")
    clash = process.deliveries.admit_one(recall_request("c2"), key="key", fingerprint="f2")
    assert clash.clash
    assert clash.answer.recalls == ()
    assert process.keys("*") == before
    assert len(process.recalls.page(Filter(), limit=10)[0]) == 1


def test_without_a_key_the_same_words_are_two_recalls(process):
    ids = [process.deliveries.admit_one(recall_request()).answer.recalls[0] for _ in range(2)]
    assert ids[0] != ids[1]


def test_a_recall_that_is_too_late_is_recorded_and_queued_nowhere(process):
    admitted = process.deliveries.admit_one(recall_request(), expired="the date has passed")
    found = process.recalls.get(admitted.answer.recalls[0])
    assert (found.state, found.reason) == (State.EXPIRED, "the date has passed")
    assert admitted.wake_ups == ()
    assert process.client.zcard(process.store.key("queue:L1:queue")) == 0
    process.pass_time(1)
    assert process.deliveries.purge(before=process.now) == 1


def test_a_newer_wish_that_is_too_late_takes_the_older_ones_place(process):
    older = process.admit(wanted()).answer.recalls[0]
    late = Expired(event=event("k2"), request=recall_request(), reason="the date has passed")
    process.admit(late)
    assert process.recalls.get(older).state is State.SUPERSEDED


def test_an_older_wish_that_is_too_late_stays_expired(process):
    process.admit(wanted())
    older = recall_request(version=NOON - timedelta(seconds=1))
    recall = process.admit(Expired(event=event("k2"), request=older, reason="late")).answer.recalls[0]
    assert process.recalls.get(recall).state is State.EXPIRED


def test_of_a_delivery_for_an_unknown_account_nothing_is_stored(process):
    before = process.keys("*")
    unknown = replace(recall_request("c2"), account="cali")
    with pytest.raises(UnboundError):
        process.admit(wanted(), RecallWanted(event=event("k2"), request=unknown))
    assert process.keys("*") == before


# --- the raw body ------------------------------------------------------------------------------


def test_the_raw_body_is_kept_for_the_configured_days(process):
    process.admit(wanted(), raw=b"the body")
    (key,) = process.keys("delivery:*")
    week = 7 * 86_400_000
    assert week - 60_000 < process.client.pttl(key) <= week
    assert process.client.hget(key, "source") == "forms"


def test_no_raw_body_is_kept_where_it_is_off(process):
    process.admit(wanted(), raw=b"the body", keeping=replace(KEEPING, raw_retention_days=0))
    assert process.keys("delivery:*") == []


def test_an_empty_body_is_not_kept(process):
    process.admit(wanted(), raw=b"")
    assert process.keys("delivery:*") == []


def test_a_delivery_of_nothing_new_keeps_no_raw_body_again(process):
    process.admit(wanted("c1", key="k1"), wanted("c2", key="k2"), raw=b"one")
    process.admit(wanted("c2", key="k2"), raw=b"two", id="dl_2")
    assert len(process.keys("delivery:*")) == 1


# --- parked ------------------------------------------------------------------------------------


def test_a_parked_event_comes_back_as_it_was(process):
    about = Event(data={"at": "soon"}, dedup_key="k1", occurred_at=NOON, lookup_id="77")
    process.admit(parked(about))
    kept = parked_events_of(process.parked()[0])
    assert kept.events == (about,)
    assert kept.seen == event_keys(delivery_at(NOON), [about])


def test_a_parked_event_sent_again_stays_parked_while_the_configuration_is_the_same(process):
    process.park()
    ids = process.parked_ids()
    again = process.park()
    assert again.again
    assert process.parked_ids() == ids


def test_a_parked_event_sent_again_is_looked_at_anew_after_the_configuration_changed(process):
    process.park()
    answer = process.admit(wanted(), keeping=MENDED).answer
    assert len(answer.recalls) == 1
    assert process.parked_ids() == []


def test_a_resolved_parked_event_is_a_recall_to_whoever_sends_it_again(process):
    process.park()
    kept = parked_events_of(process.parked()[0])
    recall = process.deliveries.resolve(kept, [wanted()], MENDED, parked=True).answer.recalls
    assert process.parked_ids() == []
    assert process.admit(parked(event("k1")), keeping=MENDED).answer.recalls == recall


def test_a_resolved_event_is_remembered_no_longer_than_before(process):
    process.park(keeping=replace(KEEPING, dedup_hours=1))
    kept = parked_events_of(process.parked()[0])
    process.deliveries.resolve(kept, [wanted()], MENDED, parked=True)
    assert process.ttl("seen:*") <= 3_600_000


def test_an_event_is_resolved_once(process):
    process.park()
    kept = parked_events_of(process.parked()[0])
    assert process.deliveries.resolve(kept, [wanted()], MENDED, parked=True) is not None
    assert process.deliveries.resolve(kept, [wanted("c2")], MENDED, parked=True) is None
    assert len(process.recalls.page(Filter(), limit=10)[0]) == 1


def test_an_event_for_an_account_that_is_not_bound_yet_stays_parked(process):
    process.park()
    kept = parked_events_of(process.parked()[0])
    unknown = RecallWanted(event=event("k1"), request=replace(recall_request(), account="cali"))
    with pytest.raises(UnboundError):
        process.deliveries.resolve(kept, [unknown], MENDED, parked=True)
    assert process.parked_ids() == [kept.id]


def test_no_more_goes_in_one_step_than_was_allowed(process):
    for n in range(3):
        process.park(f"k{n}")
        process.deliveries.admit_one(recall_request(), expired="the date has passed")
    process.pass_time(10)
    assert [process.deliveries.purge(before=process.now, limit=4) for _ in range(3)] == [4, 2, 0]


def test_parked_events_go_when_they_are_old(process):
    process.park("k1")
    process.pass_time(10)
    process.park("k2")
    stays = process.parked_ids()[0]
    assert process.deliveries.purge(before=process.now) == 1
    assert process.parked_ids() == [stays]
    assert process.keys("parked:*") == [process.store.key(f"parked:{stays}")]


# --- lookups -----------------------------------------------------------------------------------


def test_events_that_wait_for_a_lookup_are_due_at_once(process):
    admitted = process.wait("77", "78")
    assert (admitted.answer.pending, admitted.lookup) == (2, "crm")
    assert process.deliveries.due_lookups({"crm": "", "forms": ""}) == {"crm"}
    assert process.client.zcard(process.store.key("lookups")) == 1
    (kept,) = process.deliveries.take_lookups("crm")
    assert [each.lookup_id for each in kept.events] == ["77", "78"]
    assert kept.tries == 1


def test_what_was_taken_comes_back_after_its_lease(process):
    process.wait("77")
    assert len(process.deliveries.take_lookups("crm", lease_seconds=60)) == 1
    assert process.deliveries.take_lookups("crm") == []
    assert process.deliveries.due_lookups({"crm": ""}) == set()
    process.pass_time(60)
    assert process.deliveries.due_lookups({"crm": ""}) == {"crm"}
    (kept,) = process.deliveries.take_lookups("crm")
    assert kept.tries == 2


def test_no_more_is_taken_than_a_batch_and_one_delivery(process):
    for n in range(4):
        process.wait(str(n), f"{n}x")
    assert [len(kept.events) for kept in process.deliveries.take_lookups("crm", most_events=3)] == [2, 2]
    assert len(process.deliveries.take_lookups("crm", most_events=100)) == 2


def test_a_flooded_source_hides_no_other(process):
    for n in range(520):
        process.wait(str(n), source="flooded")
    process.wait("77", source="crm")
    assert process.deliveries.due_lookups({"crm": "", "flooded": ""}) == {"crm", "flooded"}
    assert len(process.deliveries.take_lookups("crm")) == 1


def test_a_lookup_that_failed_waits(process):
    process.wait("77")
    (kept,) = process.deliveries.take_lookups("crm")
    process.deliveries.postpone_lookup(kept.id, 5, "429")
    process.pass_time(4.9)
    assert process.deliveries.due_lookups({"crm": ""}) == set()
    process.pass_time(0.1)
    assert process.deliveries.due_lookups({"crm": ""}) == {"crm"}


def test_a_lookup_that_is_over_cannot_be_postponed_into_being(process):
    process.wait("77")
    (kept,) = process.deliveries.take_lookups("crm")
    process.deliveries.resolve(kept, [wanted(key="k77")], KEEPING, parked=False)
    process.deliveries.postpone_lookup(kept.id, 5, "429")
    assert process.keys("lookup*") == []


def test_what_was_looked_up_takes_the_place_of_what_waited(process):
    process.wait("77")
    (kept,) = process.deliveries.take_lookups("crm")
    admitted = process.deliveries.resolve(kept, [wanted(key="k77")], KEEPING, parked=False)
    assert [wake_up.queue for wake_up in admitted.wake_ups] == ["L1"]
    again = process.wait("77")
    assert again.answer.pending == 1
    seen = process.admit(wanted(key="k77"), Ignored(event=event("x")), source="crm").answer
    assert seen.recalls == admitted.answer.recalls


def test_a_lookup_is_resolved_once(process):
    process.wait("77")
    (kept,) = process.deliveries.take_lookups("crm")
    assert process.deliveries.resolve(kept, [wanted(key="k77")], KEEPING, parked=False) is not None
    assert process.deliveries.resolve(kept, [wanted(key="k77")], KEEPING, parked=False) is None


def test_a_full_store_still_takes_and_postpones_lookups_and_resolves_none(process):
    process.wait("77")
    process.client.config_set("maxmemory", "1")
    try:
        (kept,) = process.deliveries.take_lookups("crm")
        with pytest.raises(StoreAwayError):
            process.deliveries.resolve(kept, [wanted(key="k77")], KEEPING, parked=False)
        process.deliveries.postpone_lookup(kept.id, 5, "the store is full")
    finally:
        process.client.config_set("maxmemory", "0")
    assert process.client.exists(process.store.key(f"lookup:{kept.id}"))
    assert len(process.keys("seen:*")) == 1
    assert process.recalls.page(Filter(), limit=10)[0] == []


def test_a_full_store_leaves_a_parked_event_where_it_is(process):
    process.park()
    ids = process.parked_ids()
    process.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreAwayError):
            process.admit(wanted(), keeping=MENDED)
    finally:
        process.client.config_set("maxmemory", "0")
    assert process.parked_ids() == ids


def test_a_raw_body_can_be_read_back(process):
    process.admit(wanted(), raw=b"\x00the body\xff")
    (key,) = process.keys("delivery:*")
    with redis.Redis.from_url(url_of(process.client)) as client:
        assert zlib.decompress(client.hget(key, "body")) == b"\x00the body\xff"
