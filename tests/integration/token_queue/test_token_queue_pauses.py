"""Pausing, stopping and resuming a token queue."""

from __future__ import annotations

from datetime import timedelta

from integration.domain.recall import State
from integration.store.token_queue import Claim, NoClaim, PushResult
from support.queue_process import again, woken


def test_resume_never_cuts_a_quiet_time_or_a_lease_short(process):
    process.ask("c1")
    claim = process.acquire()
    process.queues.resume("L1")
    assert process.acquire().kind == "busy"
    process.finish(claim, again(quiet=True, sent_ms=0))
    process.queues.resume("L1")
    assert process.acquire().reason == "quiet"


def test_pause_lets_nothing_go_and_resume_rings(process):
    process.ask("c1")
    process.queues.pause("L1", "maintenance")
    assert process.acquire() == NoClaim("paused", "maintenance")
    assert process.queue().state == "paused"
    assert process.due() is None
    assert process.queues.resume("L1").queue == "L1"
    assert isinstance(process.acquire(), Claim)


def test_a_pause_with_an_end_is_over_by_itself(process):
    process.ask("c1")
    ends = process.now + timedelta(minutes=10)
    process.queues.pause("L1", "lunch", ends)
    assert process.acquire().kind == "paused"
    assert (process.queue().state, process.queue().reason, process.queue().until) == ("paused", "lunch", ends)
    process.pass_time(601)
    # Nobody has touched the queue, and it stands as if it had been resumed.
    assert process.queue().state == "idle"
    assert [queue for queue, _ in process.sweep()] == ["L1"]
    assert isinstance(process.acquire(), Claim)


def test_a_queue_whose_pause_ends_is_looked_at_when_it_does(process):
    process.ask("c1")
    process.queues.pause("L1", "lunch", process.now + timedelta(seconds=20))
    assert process.sweep() == []
    assert process.due() is not None
    process.pass_time(21)
    assert [queue for queue, _ in process.sweep()] == ["L1"]


def test_what_arrives_after_a_pause_ended_rings_at_once(process):
    process.queues.pause("L1", "lunch", process.now + timedelta(seconds=20))
    assert woken(process.ask("c1")) == ()
    process.pass_time(21)
    assert woken(process.ask("c2")) == ("L1",)


def test_a_pause_without_an_end_takes_the_place_of_one_with_and_the_other_way_round(process):
    process.ask("c1")
    process.queues.pause("L1", "lunch", process.now + timedelta(seconds=20))
    process.queues.pause("L1", "for good")
    process.pass_time(3600)
    assert (process.queue().state, process.queue().until) == ("paused", None)
    process.queues.pause("L1", "lunch", process.now + timedelta(seconds=20))
    process.queues.resume("L1")
    assert isinstance(process.acquire(), Claim)


def test_a_clock_that_goes_back_makes_no_pause_longer_than_it_was_to_be(process):
    process.ask("c1")
    process.queues.pause("L1", "lunch", process.now + timedelta(minutes=10))
    process.pass_time(-24 * 3600)
    process.acquire()
    process.pass_time(601)
    assert isinstance(process.acquire(), Claim)


def test_the_end_of_a_pause_goes_along_to_a_new_token(process):
    ends = process.now + timedelta(minutes=10)
    process.queues.pause("L1", "lunch", ends)
    process.bind(bogota="L9", lima="L2")
    assert (process.queue("L9").state, process.queue("L9").until) == ("paused", ends)


def test_a_stopped_queue_keeps_its_recall_until_resume(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="401", stop="the token is refused"))
    assert (process.queue().state, process.queue().reason) == ("stopped", "the token is refused")
    assert process.acquire().kind == "stopped"
    assert process.state(recall) is State.QUEUED
    process.queues.pause("L1", "x")
    assert process.queue().state == "stopped"
    process.queues.resume("L1")
    assert process.acquire().recall_id == recall
