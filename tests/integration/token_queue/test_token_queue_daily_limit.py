"""The daily limit of a token, and workers whose clock differs from the store's."""

from __future__ import annotations

from integration.store.token_queue import Claim, PushResult
from support.queue_process import again
from support.store_process import NOON, terms_of_day


def test_the_daily_limit_holds_until_the_day_ends(process):
    terms = terms_of_day("2026-03-02", limit=2)
    for n in range(3):
        process.ask(f"c{n}")
    claim = process.acquire(terms=terms)
    claim = process.finish(claim, more=True, terms=terms)
    stopped = process.finish(claim, more=True, terms=terms)
    assert (stopped.kind, stopped.reason) == ("wait", "the daily limit is used up")
    process.pass_time(12 * 3600)
    tomorrow = terms_of_day("2026-03-03", limit=2)
    assert isinstance(process.acquire(terms=tomorrow), Claim)


def push_until_the_limit(process, terms):
    claim = process.acquire(terms=terms)
    while isinstance(claim, Claim):
        claim = process.finish(claim, more=True, terms=terms)
    return claim


def test_a_worker_whose_clock_is_behind_does_not_begin_the_count_of_yesterday_anew(process):
    today, yesterday = terms_of_day("2026-03-02", limit=2), terms_of_day("2026-03-01", limit=2)
    for n in range(3):
        process.ask(f"c{n}")
    push_until_the_limit(process, today)
    process.queues.resume("L1")
    assert process.acquire(terms=yesterday).kind == "wait"
    process.queues.resume("L1")
    assert process.acquire(terms=today).kind == "wait"


def test_a_worker_whose_clock_was_days_ahead_does_not_use_up_the_days_to_come(process):
    for n in range(3):
        process.ask(f"c{n}")
    push_until_the_limit(process, terms_of_day("2027-01-01", limit=2))
    process.queues.resume("L1")
    assert isinstance(process.acquire(terms=terms_of_day("2026-03-02", limit=2)), Claim)


def test_a_day_that_is_over_by_the_stores_clock_alone_makes_no_worker_ask_on_and_on(process):
    over = terms_of_day("2026-03-02", limit=2, ends=NOON)
    for n in range(3):
        process.ask(f"c{n}")
    waiting = push_until_the_limit(process, over)
    assert waiting.until_ms == process.ms() + 1000
    assert process.acquire(terms=over).kind == "wait"


def test_a_wait_until_a_moment_that_is_over_already_lasts_a_second(process):
    process.ask("c1")
    process.finish(process.acquire(), PushResult(kind="again", reason="quota", wait_until=process.ms() - 1))
    process.pass_time(0.9)
    assert process.acquire().kind == "wait"
    process.pass_time(0.1)
    assert isinstance(process.acquire(), Claim)


def test_no_worker_can_make_a_queue_wait_for_longer_than_a_day_and_a_bit(process):
    process.ask("c1")
    process.finish(
        process.acquire(), PushResult(kind="again", reason="quota", wait_until=process.ms() + 10**11)
    )
    process.pass_time(26 * 3600)
    assert isinstance(process.acquire(), Claim)


def test_a_push_under_which_a_worker_died_counts_as_a_call_of_the_day(process):
    terms = terms_of_day("2026-03-02", limit=1)
    process.ask("c1")
    process.acquire(terms=terms)
    process.pass_time(67)
    assert process.acquire(terms=terms).reason == "the daily limit is used up"


def test_a_call_that_was_not_sent_is_not_counted(process):
    process.ask("c1")
    process.finish(process.acquire(), again())
    assert process.queue().pushed_today == 0
