"""Accounts that get another token, and tokens that become one."""

from __future__ import annotations

from datetime import timedelta

from integration.domain.recall import State
from integration.store.token_queue import Claim, NoClaim, PushResult
from support.queue_process import again
from support.store_process import NOON, TERMS, terms_of_day


def test_a_new_token_takes_the_queue_along(process):
    recall = process.ask_id("c1")
    process.finish(
        process.acquire(), PushResult(kind="again", reason="401", stop="the token is refused", sent_ms=1)
    )
    assert process.bind(bogota="L9", lima="L2") == 0
    assert process.acquire("L1") == NoClaim("empty")
    claim = process.acquire("L9")
    assert claim.recall_id == recall
    assert process.client.hget(process.store.key("queue:L9"), "pushed") == "1"
    newer = process.ask_id("c1")
    process.finish(claim, again(), queue="L9")
    assert (process.state(recall), process.state(newer)) == (State.SUPERSEDED, State.QUEUED)


def test_a_new_token_waits_for_the_call_on_the_old_one(process):
    process.ask("c1")
    claim = process.acquire()
    assert process.bind(bogota="L9", lima="L2") > 0
    assert process.queues.bound()["bogota"] == "L1"
    process.finish(claim, again(quiet=True, sent_ms=0))
    assert process.bind(bogota="L9", lima="L2") > 0
    process.pass_time(62)
    assert process.bind(bogota="L9", lima="L2") == 0
    assert isinstance(process.acquire("L9"), Claim)


def test_a_new_token_waits_no_longer_than_a_quiet_time_after_the_clock_jumped_back(process):
    process.ask("c1")
    process.finish(process.acquire(), again(quiet=True, sent_ms=0))
    process.now -= timedelta(days=2)
    assert process.bind(bogota="L9", lima="L2") == process.ms() + 62_000


def test_of_two_accounts_on_a_token_only_the_changed_one_moves(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    stays = process.ask_id("c1", account="cali")
    moves = process.ask_id("c2", account="bogota")
    process.bind(bogota="L9", lima="L2", cali="L1")
    assert process.acquire("L1").recall_id == stays
    assert process.acquire("L9").recall_id == moves


def test_a_drain_on_a_token_that_was_changed_meanwhile_has_lost_its_queue(process):
    process.ask("c1")
    claim = process.queues.acquire("L1", "nonce", TERMS)[0]
    process.pass_time(67)
    process.bind(bogota="L9", lima="L2")
    assert process.queues.acquire("L1", "nonce", TERMS)[0].kind == "lost"
    assert process.finish(claim).kind == "lost"
    assert isinstance(process.acquire("L9"), Claim)


def test_a_drain_on_a_token_that_was_changed_cannot_finish_what_came_after(process):
    process.bind(bogota="L1", lima="L2", cali="L1")
    process.ask("c1")
    claim = process.acquire()
    second = process.finish(claim, again())
    assert second.kind == "released"
    process.bind(bogota="L9", lima="L2", cali="L1")
    assert process.finish(claim, again(), step=1).kind == "lost"


def test_a_new_token_does_not_resume_a_queue_that_an_operator_paused(process):
    process.bind(bogota="L1", lima="L2", cali="L3")
    process.queues.pause("L2", "maintenance")
    process.bind(bogota="L2", lima="L2", cali="L3")
    assert process.queue("L2").state == "paused"


def test_a_pause_goes_along_to_a_new_token(process):
    process.queues.pause("L1", "maintenance")
    process.bind(bogota="L9", lima="L2")
    assert process.queue("L9").state == "paused"


def test_a_stop_does_not_go_along_to_a_new_token(process):
    recall = process.ask_id("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="401", stop="the token is refused"))
    process.bind(bogota="L9", lima="L2")
    assert process.queue("L1").state == "idle"
    assert process.acquire("L9").recall_id == recall


def two_tokens_become_one(process):
    process.bind(bogota="L1", lima="L1")


def test_when_two_tokens_become_one_the_newest_request_of_a_customer_wins(process):
    old = process.ask_id("c1", version=NOON, account="lima")
    new = process.ask_id("c1", version=NOON + timedelta(seconds=1))
    two_tokens_become_one(process)
    assert (process.state(old), process.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_when_two_tokens_become_one_the_newest_wins_also_when_it_is_the_one_that_moves(process):
    old = process.ask_id("c1", version=NOON)
    new = process.ask_id("c1", version=NOON + timedelta(seconds=1), account="lima")
    two_tokens_become_one(process)
    assert (process.state(old), process.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_when_two_tokens_become_one_a_newer_cancel_takes_the_older_request_back(process):
    process.cancel_event("c1", version=NOON + timedelta(seconds=1))
    old = process.ask_id("c1", version=NOON, account="lima")
    two_tokens_become_one(process)
    assert process.state(old) is State.CANCELLED


def test_the_calls_of_the_day_go_along_to_a_new_token(process):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        process.ask(f"c{n}")
    process.finish(process.acquire(terms=terms), terms=terms)
    process.bind(bogota="L9", lima="L2")
    assert process.acquire("L9", terms).reason == "the daily limit is used up"


def test_the_calls_of_the_day_that_a_token_has_made_itself_are_kept(process):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        process.ask(f"c{n}", account="lima")
    process.finish(process.acquire("L2", terms), queue="L2", terms=terms)
    process.bind(bogota="L2", lima="L2")
    assert process.acquire("L2", terms).reason == "the daily limit is used up"


def test_a_call_in_flight_on_a_token_counts_though_another_account_comes_to_it(process):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        process.ask(f"c{n}", account="lima")
    process.acquire("L2", terms)
    process.bind(bogota="L2", lima="L2")
    process.pass_time(67)
    assert process.acquire("L2", terms).reason == "the daily limit is used up"


def test_the_sweep_finds_what_a_new_token_took_along(process):
    process.ask("c1")
    process.bind(bogota="L9", lima="L2")
    assert process.due() is None
    process.pass_time(1.5)
    assert [queue for queue, _ in process.sweep()] == ["L9"]
