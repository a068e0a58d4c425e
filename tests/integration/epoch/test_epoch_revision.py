"""A store that only goes on holds no queue; every change raises its revision."""

from __future__ import annotations

import pytest

from integration.store.token_queue import Claim, PushResult
from support.store_process import Member


def test_a_store_that_only_goes_on_holds_nobody(history, worker):
    other = Member(history)
    for n in range(3):
        worker.ask(f"c{n}")
        for each in (worker, other):
            claim = each.acquire()
            assert isinstance(claim, Claim) or claim.kind == "empty"
            if isinstance(claim, Claim):
                each.finish(claim)
    assert worker.losses == other.losses == []


def test_looking_costs_no_write(history, worker):
    worker.ask()
    claim = worker.acquire()
    before = history.contents()
    worker.sweep()
    Member(history).sweep()
    assert history.contents() == before
    assert isinstance(claim, Claim)


@pytest.mark.parametrize("change", ["ask", "acquire", "finish", "cancel", "retry", "pause", "resume"])
def test_every_change_is_counted(history, worker, change):
    first, second = worker.ask_id("c1"), worker.ask_id("c2")
    if change != "cancel":
        claim = worker.acquire()
    if change == "retry":
        worker.finish(claim, PushResult(kind="ended", state="dead", reason="refused"))
    before = worker.epoch.seen().revision
    acts = {
        "ask": lambda: worker.ask("c3"),
        "acquire": lambda: worker.acquire("L2"),
        "finish": lambda: worker.finish(claim),
        "cancel": lambda: worker.recalls.cancel(first, "by hand"),
        "retry": lambda: worker.recalls.retry(claim.recall_id, "by hand"),
        "pause": lambda: worker.queues.pause("L2", "for the test"),
        "resume": lambda: worker.queues.resume("L2"),
    }
    acts[change]()
    assert worker.epoch.seen().revision == before + 1
    assert second
