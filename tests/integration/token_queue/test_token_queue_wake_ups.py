"""Wake-ups of a token queue: when one is published, and what one is worth."""

from __future__ import annotations

from datetime import timedelta

from integration.mapping.planner import Expired
from integration.store.token_queue import Claim, NoClaim
from support.queue_process import again, one, woken
from support.store_process import ACCEPTED, NOON, TERMS, recall_request


def test_the_wake_up_is_rung_once_while_it_is_on_its_way(process):
    assert woken(process.ask("c1")) == ("L1",)
    assert woken(process.ask("c2")) == ()


def test_what_arrives_when_a_queues_time_has_come_and_nobody_has_rung_yet_rings(process):
    process.ask("c1")
    process.finish(process.acquire(), again(), more=False)
    assert woken(process.ask("c2")) == (), "the queue waits for a second"
    process.pass_time(1.5)
    assert woken(process.ask("c3")) == ("L1",)
    assert woken(process.ask("c4")) == ()


def test_a_wake_up_that_the_sweep_has_to_look_after_is_not_rung_by_what_arrives(process):
    process.ask("c1")
    process.pass_time(5)
    assert woken(process.ask("c2")) == ()
    assert process.sweep() != []


def test_one_that_expired_on_arrival_and_overtakes_the_last_one_queued_leaves_nothing_to_look_at(process):
    process.ask("c1")
    newer = recall_request(due=NOON, version=NOON + timedelta(seconds=1))
    assert woken(process.admit(Expired(event=process.event(), request=newer, reason="too late"))) == ()
    assert process.due() is None


def test_no_wake_up_while_a_drain_is_under_way(process):
    process.ask("c1")
    process.acquire()
    assert woken(process.ask("c2")) == ()


def test_a_drain_that_leaves_work_behind_publishes_a_wake_up(process):
    process.ask("c1")
    process.ask("c2")
    claim = process.acquire()
    assert process.queues.finish("L1", claim, 1, ACCEPTED, more=False, terms=TERMS).wake_up.queue == "L1"


def test_a_wake_up_is_worth_one_drain_however_often_it_is_published(process):
    wake_up = one(process.ask("c1").wake_ups)
    process.pass_time(1.6)
    copy, times = one(process.queues.sweep(1))
    assert (copy, times) == (wake_up, 2)
    process.ask("c2")
    told = process.queues.acquire("L1", "n1", TERMS, wake_up=wake_up)
    process.pass_time(1)
    told = process.queues.finish("L1", told.claim, 1, ACCEPTED, more=False, terms=TERMS)
    assert told.claim.kind == "released"
    assert process.queues.acquire("L1", "n2", TERMS, wake_up=copy) == (NoClaim("taken"), None)
    assert isinstance(process.queues.acquire("L1", "n3", TERMS, wake_up=told.wake_up).claim, Claim)


def test_who_asks_again_for_a_lost_claim_gets_it_though_its_wake_up_is_taken(process):
    wake_up = one(process.ask("c1").wake_ups)
    claim = process.queues.acquire("L1", "n1", TERMS, wake_up=wake_up).claim
    assert process.queues.acquire("L1", "n1", TERMS, wake_up=wake_up).claim == claim


def test_a_queue_that_was_paused_and_resumed_has_another_wake_up(process):
    old = one(process.ask().wake_ups)
    process.queues.pause("L1", "maintenance")
    process.pass_time(1)
    new = process.queues.resume("L1")
    assert process.queues.acquire("L1", "n1", TERMS, wake_up=old).claim == NoClaim("taken")
    assert isinstance(process.queues.acquire("L1", "n2", TERMS, wake_up=new).claim, Claim)


def test_where_the_sweep_has_no_room_an_untaken_wake_up_keeps_its_place(process):
    process.ask(account="lima")
    process.pass_time(1)
    process.ask()
    process.pass_time(1.6)
    for _ in range(10):
        assert process.sweep(0) == []
        process.pass_time(1)
    assert process.sweep(1) == [("L2", 2)]
    assert process.sweep(1) == [("L1", 2)]


def test_a_wake_up_that_a_later_one_has_overtaken_was_lost_and_comes_without_room(process):
    process.ask(account="lima")
    process.pass_time(14)
    early = one(process.ask().wake_ups)
    process.queues.acquire("L1", "n1", TERMS, wake_up=early)
    process.pass_time(2)
    assert process.sweep(0) == []
    process.bind(bogota="L1", lima="L2", cali="L3")
    late = one(process.ask(account="cali").wake_ups)
    process.queues.acquire("L3", "n2", TERMS, wake_up=late)
    assert process.sweep(0) == [("L2", 2)]


def test_queues_whose_time_has_come_are_not_hidden_by_untaken_wake_ups(process):
    process.bind(bogota="L1", lima="L2", cali="L3", quito="L4")
    for account in ("lima", "cali", "quito"):
        process.ask(account=account)
    process.ask()
    process.finish(process.acquire(), again())
    process.pass_time(5)
    found = process.queues.sweep(0, limit=2, batches=9)
    assert [(wake_up.queue, times) for wake_up, times in found] == [("L1", 1)]
