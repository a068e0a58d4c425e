"""What operators see of queues that are held after a loss, and when they go on."""

from __future__ import annotations

from datetime import timedelta

from integration.store.token_queue import HELD, Claim, held_until, queue_state
from support.store_process import LEASE, NOON


def test_a_held_queue_says_why_and_until_when():
    now_ms = round(NOON.timestamp() * 1000)
    held_ms = held_until(str(now_ms), LEASE)
    state = queue_state({}, now_ms=now_ms + 1, today=None, held_ms=held_ms)
    assert (state.state, state.reason, state.until) == ("waiting", HELD, NOON + timedelta(seconds=LEASE))
    assert queue_state({}, now_ms=held_ms, today=None, held_ms=held_ms).state == "idle"
    later = {"wait": str(held_ms + 1), "wait_reason": "503"}
    assert queue_state(later, now_ms=now_ms, today=None, held_ms=held_ms).reason == "503"
    assert queue_state({"paused": "p"}, now_ms=now_ms, today=None, held_ms=held_ms).state == "paused"


def test_resume_does_not_cut_it_short(history, worker):
    worker.ask("c1")
    history.client.flushall()
    worker.queues.bind({"bogota": "L1"})
    worker.ask("c1")
    worker.queues.resume("L1")
    assert worker.acquire().kind == "wait"


def test_a_held_queue_is_rung_for_when_it_is_over(history, worker):
    worker.ask("c1")
    copy = history.copy()
    worker.ask("c2")
    history.put_back(copy)
    worker.sweep()
    worker.acquire()
    for _ in range(3):
        history.pass_time(20)
        assert worker.sweep() == []
    history.pass_time(7.1)
    assert [queue for queue, _ in worker.sweep()] == ["L1"]


def test_a_clock_that_goes_back_does_not_hold_the_queues_for_ever(history, worker):
    worker.ask("c1")
    copy = history.copy()
    worker.ask("c2")
    history.put_back(copy)
    worker.sweep()
    history.now -= timedelta(days=1)
    worker.sweep()
    history.pass_time(LEASE)
    assert isinstance(worker.acquire(), Claim)


def test_a_full_store_that_went_back_holds_its_queues_too(history, worker):
    worker.ask("c1")
    copy = history.copy()
    worker.acquire()
    history.put_back(copy)
    history.client.config_set("maxmemory", "1")
    try:
        assert worker.acquire().kind == "wait"
    finally:
        history.client.config_set("maxmemory", "0")
    assert [loss.how for loss in worker.losses] == ["went back"]
