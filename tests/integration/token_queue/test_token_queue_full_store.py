"""A full store refuses new work and still lets what was begun end."""

from __future__ import annotations

import pytest

from integration.domain.errors import StoreAwayError
from integration.domain.recall import State
from integration.store.token_queue import Claim, PushResult
from support.queue_process import again
from support.store_process import NOON


def test_a_full_store_refuses_new_work_and_still_finishes_releases_and_cancels(process):
    waiting = process.ask_id("c2", due_minutes=90)
    process.ask("c1")
    claim = process.acquire()
    process.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreAwayError):
            process.ask("c3")
        assert process.finish(claim).kind == "released"
        process.recalls.cancel(waiting, "by hand")
        assert process.client.zcard(process.store.key("in:queued")) == 0
    finally:
        process.client.config_set("maxmemory", "0")
    assert process.state(claim.recall_id) is State.ACCEPTED
    assert process.state(waiting) is State.CANCELLED


@pytest.fixture
def full(process):
    """Fills the store, and empties it again."""
    yield lambda: process.client.config_set("maxmemory", "1")
    process.client.config_set("maxmemory", "0")


def test_a_full_store_still_tells_a_second_drain_that_the_queue_is_busy(process, full):
    process.ask("c1")
    process.acquire()
    full()
    assert process.acquire().kind == "busy"


def test_a_full_store_can_still_be_paused_during_a_push(process, full):
    process.ask("c1")
    claim = process.acquire()
    full()
    process.queues.pause("L1", "maintenance")
    assert process.finish(claim, more=True).kind == "paused"


def test_a_full_store_tells_a_stale_drain_that_it_lost_the_queue(process, full):
    process.ask("c1")
    stale = process.acquire()
    process.pass_time(67)
    process.acquire()
    full()
    assert process.finish(stale).kind == "lost"


def test_a_full_store_is_still_swept(process, full):
    process.ask("c1")
    process.finish(process.acquire(), again())
    full()
    process.pass_time(1)
    assert process.sweep() == [("L1", 1)]


def test_a_full_store_still_lets_a_worker_start(process, full):
    key = process.queues.id_key()
    process.ask("c1")
    full()
    assert process.queues.id_key() == key
    assert process.bind(bogota="L9", lima="L2") == 0
    assert isinstance(process.acquire("L9"), Claim)


def test_a_full_store_still_takes_a_new_account(process, full):
    full()
    assert process.bind(bogota="L1", lima="L2", cali="L3") == 0
    assert process.queues.bound()["cali"] == "L3"


def test_a_full_store_takes_nothing_from_an_operator_who_retries(process, full):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="ended", state="dead", reason="refused"))
    full()
    with pytest.raises(StoreAwayError):
        process.recalls.retry(recall, "again", date=NOON)
    assert process.state(recall) is State.DEAD
