"""Accounts that leave the configuration, leave a shared token or come back."""

from __future__ import annotations

import pytest

from integration.domain.recall import State
from integration.store.token_queue import NoClaim, PushResult
from support.queue_process import again


def test_an_account_that_leaves_the_configuration_leaves_a_stopped_queue_behind(process):
    recall = process.ask_id("c1")
    process.queues.bind({"lima": "L2"})
    assert process.queue().state == "stopped"
    assert process.acquire().kind == "stopped"
    process.bind(bogota="L1", lima="L2")
    assert process.acquire().recall_id == recall


def test_a_token_that_is_being_changed_is_not_stopped_because_another_account_left(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    process.ask("c1")
    process.acquire()
    assert process.bind(bogota="L9", lima="L2") > 0
    assert process.queue().state == "busy"


def test_resume_of_a_queue_that_had_stopped_before_its_account_left_wakes_nobody(process):
    process.ask("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="401", stop="the token is refused"))
    process.queues.bind({"lima": "L2"})
    assert process.queues.resume("L1") is None
    assert process.acquire().kind == "stopped"
    assert "configuration" in process.queue().reason


def test_resume_does_not_wake_a_queue_that_no_account_uses(process):
    process.ask("c1")
    process.queues.bind({"lima": "L2"})
    assert process.queues.resume("L1") is None
    assert process.queue().state == "stopped"


def test_what_was_being_pushed_for_an_account_that_is_gone_waits_in_its_queue(process):
    recall = process.ask_id("c1")
    process.acquire()
    process.queues.bind({"lima": "L2"})
    process.pass_time(66)
    process.sweep()
    assert process.state(recall) is State.PUSHING
    process.pass_time(1)
    assert process.sweep() == []
    assert process.state(recall) is State.QUEUED
    assert process.due() is None


def test_an_account_that_comes_back_with_another_token_takes_its_queue_along(process):
    recall = process.ask_id("c1")
    process.queues.bind({"lima": "L2"})
    process.bind(bogota="L9", lima="L2")
    assert process.acquire("L9").recall_id == recall


def test_an_account_that_leaves_a_shared_token_stops_nobody(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    process.bind(bogota="L1", lima="L2")
    assert process.queue().state == "idle"


def test_a_queue_that_stopped_before_its_account_left_stays_stopped_for_its_reason(process):
    process.ask("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="401", stop="the token is refused"))
    process.queues.bind({"lima": "L2"})
    process.bind(bogota="L1", lima="L2")
    assert process.queue().reason == "the token is refused"


@pytest.mark.parametrize("dies", [False, True])
def test_an_account_that_leaves_a_shared_token_stays_until_its_call_is_over(process, dies):
    process.bind(bogota="L1", lima="L2", cali="L1")
    left = process.ask_id("c1", account="cali", due_minutes=1)
    queued = process.ask_id("c2", account="cali", due_minutes=2)
    claim = process.acquire()
    assert process.bind(bogota="L1", lima="L2") == process.ms() + 67_000
    if not dies:
        process.finish(claim, again())
    process.pass_time(67)
    assert process.bind(bogota="L1", lima="L2") == 0
    assert process.acquire() == NoClaim("empty")
    for recall in (left, queued):
        process.recalls.cancel(recall, "by hand")
    assert process.bind(bogota="L1", lima="L2", cali="L1") == 0
    assert process.acquire() == NoClaim("empty")


def test_an_account_that_leaves_a_shared_token_does_not_hold_up_the_others(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    left = process.ask_id("c1", account="cali", due_minutes=1)
    stays = process.ask_id("c2", account="bogota", due_minutes=2)
    process.bind(bogota="L1", lima="L2")
    assert process.acquire("L1").recall_id == stays
    assert process.queue("gone-cali").state == "stopped"
    process.bind(bogota="L1", lima="L2", cali="L7")
    assert process.acquire("L7").recall_id == left
