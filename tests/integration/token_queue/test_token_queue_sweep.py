"""The sweep finds queues whose wake-up was lost, and looks at the others no more than needed."""

from __future__ import annotations

from datetime import timedelta

from integration.store.token_queue import PushResult
from support.queue_process import again


def test_the_sweep_finds_a_queue_whose_wake_up_was_lost(process):
    process.ask("c1")
    assert process.sweep() == []
    process.pass_time(1.5)
    assert process.sweep() == [("L1", 2)]
    assert process.sweep() == []
    process.pass_time(1.4)
    assert process.sweep() == []
    process.pass_time(0.1)
    assert process.sweep() == [("L1", 3)]


def test_a_queue_whose_takers_die_one_after_the_other_is_looked_at_again_as_soon(process):
    process.ask()
    for _ in range(3):
        process.pass_time(1.5)
        assert [queue for queue, _ in process.sweep()] == ["L1"]


def test_a_queue_that_nobody_ever_takes_is_looked_at_ever_less(process):
    process.ask()
    looks = 0
    for _ in range(400):
        process.pass_time(0.5)
        looks += len(process.sweep())
    assert 8 <= looks <= 12


def test_the_sweep_finds_a_queue_whose_wait_is_over(process):
    process.ask("c1")
    process.finish(process.acquire(), again())
    assert process.sweep() == []
    process.pass_time(1)
    assert process.sweep() == [("L1", 1)]


def test_the_sweep_leaves_a_queue_alone_during_its_quiet_time(process):
    process.ask("c1")
    process.finish(process.acquire(), again(quiet=True, sent_ms=0))
    for _ in range(2):
        process.pass_time(30)
        assert process.sweep() == []
    process.pass_time(2)
    assert process.sweep() == [("L1", 1)]


def test_the_sweep_finds_a_queue_whose_worker_died(process):
    process.ask("c1")
    process.acquire()
    process.pass_time(67)
    assert process.sweep() == [("L1", 1)]


def test_a_queue_at_rest_is_in_no_index(process):
    process.ask("c1")
    process.finish(process.acquire())
    process.pass_time(1000)
    assert process.sweep() == []


def test_the_sweep_finds_a_queue_that_was_due_before_the_clock_jumped_back(process):
    process.ask("c1")
    process.now -= timedelta(days=2)
    assert process.sweep() == [("L1", 2)]
    assert process.sweep() == []


def test_the_sweep_cuts_a_wait_to_its_length_after_the_clock_jumped_back(process):
    process.ask("c1")
    process.finish(process.acquire(), again(quiet=True, sent_ms=0))
    process.now -= timedelta(days=2)
    assert process.sweep() == []
    for _ in range(3):
        process.pass_time(31)
        if rung := process.sweep():
            break
    assert rung == [("L1", 1)]


def test_the_sweep_looks_at_a_waiting_queue_now_and_then(process):
    process.ask("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="asked to", wait_ms=3_600_000))
    assert process.due() == process.ms() + 30_000
    process.pass_time(30)
    assert process.sweep() == []
    assert process.due() == process.ms() + 30_000
    process.pass_time(3571)
    assert process.sweep() == [("L1", 1)]
