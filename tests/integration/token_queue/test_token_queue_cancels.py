"""Cancels, by an event and by hand, and how long a cancel is remembered."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration.domain.errors import ConflictError
from integration.domain.recall import State
from integration.store.token_queue import NoClaim, PushResult
from support.queue_process import again
from support.store_process import NOON


def test_only_a_queued_recall_can_be_cancelled(process):
    recall = process.ask_id("c1")
    claim = process.acquire()
    with pytest.raises(ConflictError) as caught:
        process.recalls.cancel(recall, "by hand")
    assert caught.value.state == "pushing"
    process.finish(claim, again())
    process.recalls.cancel(recall, "by hand")
    process.pass_time(2)
    assert process.acquire() == NoClaim("empty")
    assert process.state(recall) is State.CANCELLED


def test_a_cancel_event_takes_back_what_is_queued(process):
    recall = process.ask_id("c1")
    answer = process.cancel_event("c1").answer
    assert answer.cancelled == (recall,)
    assert process.state(recall) is State.CANCELLED
    assert process.due() is None
    assert process.acquire() == NoClaim("empty")


def test_a_cancel_by_hand_leaves_an_empty_queue_in_no_index(process):
    process.recalls.cancel(process.ask_id("c1"), "by hand")
    assert process.due() is None


def test_a_cancel_event_for_what_wolkvox_never_took_is_not_too_late(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="ended", state="dead", reason="refused"))
    assert process.cancel_event("c1").answer.too_late == ()
    assert len(process.recalls.get(recall).history) == 2


def test_a_cancel_event_too_late_is_recorded(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire())
    assert process.cancel_event("c1").answer.too_late == (recall,)
    found = process.recalls.get(recall)
    assert found.state is State.ACCEPTED
    assert "too late" in found.history[-1].reason


def test_a_cancel_during_the_push_stops_the_repeat(process):
    recall = process.ask_id("c1")
    claim = process.acquire()
    assert process.cancel_event("c1").answer.too_late == (recall,)
    process.finish(claim, again())
    assert process.state(recall) is State.CANCELLED


def test_an_older_request_does_not_outlive_a_newer_cancel(process):
    process.cancel_event("c1", version=NOON)
    recall = process.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert process.state(recall) is State.CANCELLED


def test_an_older_cancel_leaves_a_newer_request_alone(process):
    recall = process.ask_id("c1", version=NOON)
    process.cancel_event("c1", version=NOON - timedelta(seconds=1))
    assert process.state(recall) is State.QUEUED


def test_a_cancel_of_one_account_stays_when_the_other_of_a_token_changes(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    process.cancel_event("c1", version=NOON)
    process.bind(bogota="L1", lima="L2", cali="L9")
    older = process.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert process.state(older) is State.CANCELLED


def test_a_cancel_goes_along_to_a_new_token(process):
    process.cancel_event("c1", version=NOON)
    process.bind(bogota="L9", lima="L2")
    older = process.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert process.state(older) is State.CANCELLED


@pytest.mark.parametrize("shared", [False, True])
def test_the_trace_of_a_cancel_fades_after_the_token_changed(process, shared):
    process.bind(bogota="L1", lima="L2", **({"cali": "L1"} if shared else {}))
    process.cancel_event("c1")
    process.bind(bogota="L9", lima="L2", **({"cali": "L1"} if shared else {}))
    process.pass_time(10)
    process.deliveries.purge(before=process.now)
    assert not process.client.exists(
        process.store.key("queue:L1:newest"), process.store.key("queue:L9:newest")
    )
    assert not process.client.exists(process.store.key("cancel_pointers"))


def test_the_trace_of_a_cancel_does_not_fade_before_its_time(process):
    process.cancel_event("c1", version=NOON)
    process.deliveries.purge(before=process.now - timedelta(seconds=1))
    older = process.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert process.state(older) is State.CANCELLED


def test_a_cancel_of_one_account_outlives_the_trace_of_anothers(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    process.cancel_event("c1", version=NOON)
    process.pass_time(10)
    process.cancel_event("c1", version=NOON + timedelta(seconds=5), account="cali")
    process.deliveries.purge(before=process.now)
    older = process.ask_id("c1", version=NOON)
    assert process.state(older) is State.CANCELLED


def test_a_request_after_a_cancel_outlives_the_cancels_trace(process):
    process.cancel_event("c1")
    process.pass_time(1)
    recall = process.ask_id("c1")
    process.pass_time(1)
    process.deliveries.purge(before=process.now)
    older = process.ask_id("c1", version=NOON)
    assert (process.state(recall), process.state(older)) == (State.QUEUED, State.SUPERSEDED)
