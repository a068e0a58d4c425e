"""Recalls that are set aside, and the probes that acquit them."""

from __future__ import annotations

from integration.domain.recall import State
from integration.store.token_queue import Claim, PushResult
from support.queue_process import again, fail_until_aside


def test_a_recall_set_aside_lets_another_probe_and_is_then_tried_again(process):
    poison = process.ask_id("c1", due_minutes=1)
    other = process.ask_id("c2", due_minutes=2)
    process.ask("c3", due_minutes=3)
    fail_until_aside(process, process.acquire())
    probe = process.acquire()
    assert probe.recall_id == other
    tried_again = process.finish(probe, more=True)
    assert tried_again.recall_id == poison
    assert (tried_again.rounds, tried_again.strikes) == (1, 0)


def test_a_probe_that_fails_too_acquits_both(process):
    poison = process.ask_id("c1", due_minutes=1)
    other = process.ask_id("c2", due_minutes=2)
    fail_until_aside(process, process.acquire())
    probe = process.acquire()
    process.finish(probe, again(counts_against_recall=True))
    process.pass_time(2)
    claim = process.acquire()
    assert (claim.recall_id, claim.strikes) == (other, 0)
    claim = process.finish(claim, more=True)
    assert (claim.recall_id, claim.rounds) == (poison, 0)


def test_a_probe_that_is_to_be_set_aside_itself_acquits_both(process):
    poison = process.ask_id("c1", due_minutes=1)
    other = process.ask_id("c2", due_minutes=2)
    third = process.ask_id("c3", due_minutes=3)
    fail_until_aside(process, process.acquire())
    process.finish(process.acquire(), PushResult(kind="aside", reason="again and again", wait_ms=1000))
    process.pass_time(2)
    claim = process.acquire()
    order = [claim.recall_id]
    while isinstance(claim := process.finish(claim, more=True), Claim):
        assert claim.rounds == 0
        order.append(claim.recall_id)
    assert order == [other, poison, third]


def test_a_recall_set_aside_goes_on_when_there_is_nobody_else(process):
    poison = process.ask_id("c1")
    fail_until_aside(process, process.acquire())
    claim = process.acquire()
    assert (claim.recall_id, claim.rounds) == (poison, 0)


def test_a_recall_under_which_workers_die_is_set_aside_and_at_last_dead(process):
    poison = process.ask_id("c0", due_minutes=1)
    for n in range(1, 4):
        process.ask(f"c{n}", due_minutes=10 + n)
    for _ in range(2):
        for _ in range(3):
            assert process.acquire().recall_id == poison
            process.pass_time(67)
        probe = process.acquire()
        assert probe.recall_id != poison
        process.finish(probe)
    for _ in range(3):
        assert process.acquire().recall_id == poison
        process.pass_time(67)
    assert process.acquire().recall_id != poison
    assert process.state(poison) is State.DEAD


def test_a_recall_set_aside_and_then_cancelled_leaves_nothing_behind(process):
    poison = process.ask_id("c1", due_minutes=1)
    process.ask("c2", due_minutes=2)
    fail_until_aside(process, process.acquire())
    probe = process.acquire()
    process.recalls.cancel(poison, "by hand")
    process.pass_time(1)
    process.deliveries.purge(before=process.now)
    process.finish(probe)
    assert not process.client.exists(process.store.key(f"recall:{poison}"))


def test_a_failed_probe_of_one_that_was_cancelled_leaves_nothing_behind(process):
    poison = process.ask_id("c1", due_minutes=1)
    process.ask("c2", due_minutes=2)
    fail_until_aside(process, process.acquire())
    probe = process.acquire()
    process.recalls.cancel(poison, "by hand")
    process.pass_time(1)
    process.deliveries.purge(before=process.now)
    process.finish(probe, again(counts_against_recall=True))
    assert not process.client.exists(process.store.key(f"recall:{poison}"))


def test_where_the_one_set_aside_was_cancelled_the_next_is_no_probe(process):
    poison = process.ask_id("c1", due_minutes=1)
    process.ask("c2", due_minutes=2)
    fail_until_aside(process, process.acquire())
    process.recalls.cancel(poison, "by hand")
    process.finish(process.acquire(), again(counts_against_recall=True))
    process.pass_time(2)
    assert process.acquire().strikes == 1
