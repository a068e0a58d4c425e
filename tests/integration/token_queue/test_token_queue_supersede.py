"""A newer request of a customer supersedes an older one."""

from __future__ import annotations

from datetime import timedelta

from integration.domain.recall import State
from support.queue_process import again
from support.store_process import NOON


def test_a_newer_request_supersedes_the_queued_one(process):
    old = process.ask_id("c1", version=NOON)
    new = process.ask_id("c1", version=NOON + timedelta(seconds=1))
    assert process.state(old) is State.SUPERSEDED
    assert new in process.recalls.get(old).reason
    assert process.acquire().recall_id == new


def test_an_older_request_that_arrives_later_is_superseded_at_once(process):
    new = process.ask_id("c1", version=NOON)
    old = process.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert process.state(old) is State.SUPERSEDED
    assert process.state(new) is State.QUEUED


def test_at_equal_times_the_later_one_wins(process):
    old = process.ask_id("c1", version=NOON)
    new = process.ask_id("c1", version=NOON)
    assert (process.state(old), process.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_other_campaigns_and_customers_are_other_wishes(process):
    ids = [
        process.ask_id("c1", campaign="1"),
        process.ask_id("c1", campaign="2"),
        process.ask_id("c2", campaign="1"),
    ]
    assert {process.state(i) for i in ids} == {State.QUEUED}


def test_a_push_that_is_to_be_repeated_is_dropped_when_a_newer_request_came(process):
    old = process.ask_id("c1")
    claim = process.acquire()
    new = process.ask_id("c1")
    assert process.state(old) is State.PUSHING
    process.finish(claim, again())
    assert process.state(old) is State.SUPERSEDED
    process.pass_time(2)
    assert process.acquire().recall_id == new


def test_a_dead_workers_recall_is_dropped_when_a_newer_request_came(process):
    old = process.ask_id("c1")
    process.acquire()
    new = process.ask_id("c1")
    process.pass_time(67)
    assert process.acquire().recall_id == new
    assert process.state(old) is State.SUPERSEDED


def test_an_event_seen_before_contributes_its_old_id_and_changes_nothing(process):
    first = process.ask("c1", key="same")
    second = process.ask("c2", key="same")
    assert second.answer == first.answer
    assert second.again
    assert process.client.zcard(process.store.key("in:queued")) == 1
