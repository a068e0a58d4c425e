"""Retries of dead recalls."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration.domain.errors import ConflictError
from integration.domain.recall import State
from integration.store.token_queue import PushResult
from support.queue_process import fail_until_aside
from support.store_process import NOON


def test_a_retry_of_one_that_is_no_longer_the_newest_is_refused(process):
    old = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="ended", state="dead", reason="refused"))
    process.ask("c1")
    with pytest.raises(ConflictError) as caught:
        process.recalls.retry(old, "again")
    assert caught.value.state == "dead"
    assert process.state(old) is State.DEAD


def test_a_dead_recall_is_retried(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="ended", state="dead", reason="refused", passed=True))
    assert [wake_up.queue for wake_up in process.recalls.retry(recall, "again")] == ["L1"]
    assert process.acquire().recall_id == recall
    assert [change.state for change in process.recalls.get(recall).history] == ["queued", "dead", "queued"]


def test_a_retry_begins_with_a_clean_sheet(process):
    poison = process.ask_id("c0", due_minutes=1)
    process.ask("c1", due_minutes=2)
    fail_until_aside(process, process.acquire())
    claim = process.finish(process.acquire(), more=True)
    assert claim.rounds == 1
    process.finish(claim, PushResult(kind="ended", state="dead", reason="refused"))
    process.recalls.retry(poison, "again")
    claim = process.acquire()
    assert (claim.recall_id, claim.rounds, claim.strikes, claim.crashes) == (poison, 0, 0, 0)


def test_a_dead_recall_that_is_retried_waits_for_its_turn_like_the_others(process):
    poison = process.ask_id("c0", due_minutes=100)
    others = [process.ask_id(f"c{n}", due_minutes=200 + n) for n in range(1, 4)]
    for _ in range(2):
        for _ in range(3):
            process.acquire()
            process.pass_time(67)
        process.finish(process.acquire())
    for _ in range(3):
        process.acquire()
        process.pass_time(67)
    process.queues.pause("L1", "x")
    process.acquire()
    assert process.state(poison) is State.DEAD
    process.recalls.retry(poison, "again", date=NOON + timedelta(days=9))
    process.queues.resume("L1")
    assert process.acquire().recall_id == others[2]
