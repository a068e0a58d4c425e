"""Claims of a token queue: their order, the lease, the fence, and replies that were lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration.domain.recall import State
from integration.store.token_queue import Claim, NoClaim, PushResult, queue_id
from support.queue_process import again, woken
from support.store_process import NOON, TERMS


def test_an_admitted_recall_is_claimed_and_accepted(process):
    admitted = process.ask()
    assert woken(admitted) == ("L1",)
    claim = process.acquire()
    assert isinstance(claim, Claim)
    assert claim.recall_id == admitted.answer.recalls[0]
    assert process.state(claim.recall_id) is State.PUSHING
    assert process.finish(claim).kind == "released"
    assert process.state(claim.recall_id) is State.ACCEPTED
    assert process.due() is None


def test_the_earliest_date_goes_first_then_arrival(process):
    late = process.ask_id("c1", due_minutes=600)
    early = process.ask_id("c2", due_minutes=60)
    early_too = process.ask_id("c3", due_minutes=60)
    claim = process.acquire()
    order = [claim.recall_id]
    while isinstance(claim := process.finish(claim, more=True), Claim):
        order.append(claim.recall_id)
    assert order == [early, early_too, late]
    assert claim == NoClaim("empty")


def test_a_second_drain_is_refused_while_the_lease_holds(process):
    process.ask("c1")
    process.ask("c2")
    process.acquire()
    assert process.acquire().kind == "busy"
    process.pass_time(66.9)
    assert process.acquire().kind == "busy"


def test_a_dead_workers_recall_goes_first_after_the_lease(process):
    first = process.ask_id("c1", due_minutes=60)
    process.acquire()
    process.ask("c2", due_minutes=1)
    process.pass_time(67)
    claim = process.acquire()
    assert claim.recall_id == first
    assert claim.crashes == 1
    assert process.recalls.get(first).attempts[0].outcome == "worker lost"


def test_a_stale_fence_changes_nothing(process):
    process.ask("c1")
    stale = process.acquire()
    process.pass_time(67)
    fresh = process.acquire()
    assert process.finish(stale).kind == "lost"
    assert process.state(fresh.recall_id) is State.PUSHING
    assert process.finish(fresh).kind == "released"


def test_a_late_finish_of_the_same_fence_counts_when_nobody_took_over(process):
    process.ask("c1")
    claim = process.acquire()
    process.pass_time(500)
    assert process.finish(claim).kind == "released"
    assert process.state(claim.recall_id) is State.ACCEPTED


def test_a_finish_whose_reply_was_lost_gives_the_same_claim_again(process):
    process.ask("c1")
    process.ask("c2")
    claim = process.acquire()
    second = process.finish(claim, more=True, step=1)
    assert process.finish(claim, more=True, step=1) == second
    assert process.state(second.recall_id) is State.PUSHING
    assert process.client.hget(process.store.key("queue:L1"), "pushed") == "1"


def test_an_acquire_whose_reply_was_lost_gives_the_same_claim_again(process):
    process.ask("c1")
    one = process.queues.acquire("L1", "nonce", TERMS)[0]
    assert process.queues.acquire("L1", "nonce", TERMS)[0] == one


def test_only_the_first_claim_of_a_drain_is_asked_for_again_by_acquiring(process):
    process.ask("c1")
    process.ask("c2")
    claim = process.queues.acquire("L1", "nonce", TERMS)[0]
    process.finish(claim, more=True)
    assert process.queues.acquire("L1", "nonce", TERMS)[0].kind == "busy"


def test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first(process):
    first = process.ask_id("c1", due_minutes=60)
    claim = process.acquire()
    process.finish(claim, again(quiet=True, sent_ms=20_000, counts_against_recall=True))
    process.ask("c2", due_minutes=1)
    assert process.queue().state == "waiting"
    process.pass_time(41.9)
    waiting = process.acquire()
    assert (waiting.kind, waiting.reason) == ("wait", "quiet")
    process.pass_time(0.1)
    assert process.acquire().recall_id == first


def test_a_recall_that_was_not_sent_waits_only_for_the_backoff(process):
    process.ask("c1")
    process.finish(process.acquire(), again())
    process.pass_time(0.9)
    assert process.acquire().kind == "wait"
    process.pass_time(0.2)
    assert isinstance(process.acquire(), Claim)


def test_a_store_clock_that_jumps_back_locks_no_queue(process):
    process.ask("c1")
    process.finish(process.acquire(), again(quiet=True, sent_ms=0))
    process.now -= timedelta(days=2)
    assert process.acquire().kind == "wait"
    process.pass_time(62)
    assert isinstance(process.acquire(), Claim)


def test_a_step_that_is_neither_the_next_nor_the_last_changes_nothing(process):
    for n in range(3):
        process.ask(f"c{n}")
    first = process.acquire()
    second = process.finish(first, more=True, step=1)
    third = process.finish(second, more=True, step=2)
    before = process.client.hgetall(process.store.key("queue:L1"))
    assert process.finish(first, step=1).kind == "lost"
    assert process.finish(third, step=4).kind == "lost"
    assert process.client.hgetall(process.store.key("queue:L1")) == before


def test_an_outcome_for_another_recall_than_the_one_in_flight_changes_nothing(process):
    for n in range(2):
        process.ask(f"c{n}")
    first = process.acquire()
    second = process.finish(first, more=True, step=1)
    assert process.finish(first, step=2).kind == "lost"
    assert process.state(second.recall_id) is State.PUSHING


def test_an_attempt_list_keeps_its_latest_hundred(process):
    recall = process.ask_id("c1")
    for n in range(103):
        told = f'{{"started_at":{n},"outcome":"wait"}}'
        process.finish(process.acquire(), PushResult(kind="again", reason="x", wait_ms=1, attempt=told))
        process.pass_time(1)
    attempts = process.recalls.get(recall).attempts
    assert len(attempts) == 100
    assert attempts[-1].started_at.timestamp() == pytest.approx(0.102)


def test_a_queue_id_does_not_give_the_token_away():
    assert queue_id(b"k" * 32, "token") != queue_id(b"j" * 32, "token")
    assert "token" not in queue_id(b"k" * 32, "token")


def test_a_claim_shows_no_telephone():
    claim = Claim(
        fence=1,
        recall_id="rc_1",
        account="bogota",
        campaign_id="10",
        customer_id="c1",
        telephone="3001112233",
        date=NOON.isoformat(),
        strikes=0,
        rounds=0,
        crashes=0,
        history="",
    )
    assert "3001112233" not in f"{claim} {claim!r}"
