"""From a verdict and what went before it to one bounded decision."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.clients.wolkvox_protocol import Verdict, VerdictKind, broken_off, decipher_response, not_sent
from workers.retry import (
    Accept,
    QueueHistory,
    RecallHistory,
    Refuse,
    RetryIn,
    SetAside,
    StopQueue,
    WaitUntil,
    decide,
)

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
RESET = datetime(2026, 3, 3, 5, 0, tzinfo=UTC)

ACCEPTED = Verdict(kind=VerdictKind.ACCEPTED, reason="accepted")
REFUSED = Verdict(kind=VerdictKind.REFUSED, reason="refused", words="NO SUCH CUSTOMER", may_stop_queue=True)
PARAMETERS = Verdict(kind=VerdictKind.REFUSED, reason="parameters", words="SOME PARAMETERS ARE REQUIRED")
CONCURRENCY = Verdict(kind=VerdictKind.CONCURRENCY, reason="in use")
QUOTA = Verdict(kind=VerdictKind.QUOTA, reason="used up")
STOPPED = Verdict(kind=VerdictKind.STOPPED, reason="bad token")
UNSENT = not_sent("connect: Connection refused")
TIMEOUT = broken_off(None, "no complete answer within 20 s")


def decided(verdict, queue=None, recall=None, *, jitter=0.5, now=NOW, reset=RESET):
    queue, recall = queue or QueueHistory(), recall or RecallHistory()
    return decide(verdict, queue, recall, jitter=jitter, now=now, quota_resets_at=reset)


def run(verdicts, queue=None):
    """Decide one after the other; give the last decision and history."""
    decision = None
    for verdict in verdicts:
        decision, queue = decided(verdict, queue)
    return decision, queue


# --- the clear answers ---


def test_an_accepted_recall_clears_every_count():
    queue = QueueHistory(faults=4, concurrency=2, quota_refusals=3, words="x", same_words=4)
    assert decided(ACCEPTED, queue) == (Accept(), QueueHistory())


def test_a_refused_recall_is_dead_at_once_and_clears_the_faults():
    decision, queue = decided(REFUSED, QueueHistory(faults=4, concurrency=2, quota_refusals=1))
    assert decision == Refuse(reason="refused")
    assert (queue.faults, queue.concurrency, queue.quota_refusals, queue.same_words) == (0, 0, 0, 1)


def test_five_refusals_in_a_row_with_the_same_words_stop_the_queue_and_not_four():
    assert isinstance(run([REFUSED] * 4)[0], Refuse)
    decision, queue = run([REFUSED] * 5)
    assert isinstance(decision, StopQueue)
    assert decision.recall_dead
    assert queue == QueueHistory()


def test_faults_between_them_do_not_break_the_row():
    assert isinstance(
        run([REFUSED, UNSENT, REFUSED, TIMEOUT, REFUSED, REFUSED, CONCURRENCY, REFUSED])[0], StopQueue
    )


@pytest.mark.parametrize(
    "other",
    [ACCEPTED, PARAMETERS, Verdict(kind=VerdictKind.REFUSED, reason="r", words="OTHER", may_stop_queue=True)],
)
def test_another_clear_answer_breaks_the_row(other):
    queue = QueueHistory()
    for verdict in [*[REFUSED] * 4, other, *[REFUSED] * 4]:
        decision, queue = decided(verdict, queue)
        assert not isinstance(decision, StopQueue)


def test_any_number_of_parameter_refusals_stop_nothing():
    assert isinstance(run([PARAMETERS] * 50)[0], Refuse)


def test_the_history_keeps_a_mark_of_the_words_and_not_the_words():
    assert "CUSTOMER" not in run([REFUSED])[1].to_json()


def test_a_wrong_configuration_stops_the_queue_and_burns_nothing():
    queue = QueueHistory(faults=3)
    assert decided(STOPPED, queue, RecallHistory(strikes=9, rounds=9)) == (
        StopQueue(reason="bad token"),
        queue,
    )


# --- waits ---


def test_faults_wait_about_a_second_doubling_to_five_minutes():
    queue, waits = QueueHistory(), []
    for _ in range(12):
        decision, queue = decided(UNSENT, queue)
        waits.append(decision.seconds)
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 240, 240, 240, 240]


def test_a_busy_token_waits_five_seconds_doubling_to_two_minutes():
    queue, waits = QueueHistory(), []
    for _ in range(7):
        decision, queue = decided(CONCURRENCY, queue, jitter=0)
        waits.append(decision.seconds)
    assert waits == [5, 10, 20, 40, 80, 96, 96]


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_every_wait_is_bounded_and_never_nearly_nothing(count, jitter):
    fault, _ = decided(UNSENT, QueueHistory(faults=count), jitter=jitter)
    busy, _ = decided(CONCURRENCY, QueueHistory(concurrency=count), jitter=jitter)
    assert 0.75 <= fault.seconds <= 300
    assert 5 <= busy.seconds <= 120


@given(st.integers(0, 40), st.floats(0, 1, exclude_max=True))
def test_a_further_fault_never_waits_less(count, jitter):
    for verdict, field in ((UNSENT, "faults"), (CONCURRENCY, "concurrency")):
        first, _ = decided(verdict, QueueHistory(**{field: count}), jitter=jitter)
        second, _ = decided(verdict, QueueHistory(**{field: count + 1}), jitter=jitter)
        assert first.seconds <= second.seconds


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_jitter_spreads_the_queues(one, other):
    first, second = decided(UNSENT, jitter=one)[0], decided(UNSENT, jitter=other)[0]
    assert (first.seconds < second.seconds) <= (one < other)
    assert decided(UNSENT, jitter=0)[0].seconds == 0.75


@pytest.mark.parametrize(("asked", "seconds"), [(0.2, 1), (30, 30), (3600, 3600), (10**9, 3600)])
def test_retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_wait(asked, seconds):
    for kind, least in ((VerdictKind.WAIT, 1), (VerdictKind.UNKNOWN, 1), (VerdictKind.CONCURRENCY, 5.625)):
        verdict = Verdict(kind=kind, reason="later", retry_after_seconds=asked)
        assert decided(verdict)[0].seconds == max(seconds, least)


# --- quota ---


def test_a_used_up_quota_waits_for_the_reset_then_looks_hourly():
    first, queue = decided(QUOTA)
    assert first == WaitUntil(moment=RESET, reason="used up")
    after = RESET + timedelta(seconds=1)
    for n in range(3):
        now = after + timedelta(hours=n)
        probe, queue = decided(QUOTA, queue, now=now, reset=RESET + timedelta(days=1))
        assert probe.moment == now + timedelta(hours=1)


def test_an_hourly_probe_never_sleeps_past_the_reset():
    probe, _ = decided(QUOTA, QueueHistory(quota_refusals=2), now=RESET - timedelta(minutes=10))
    assert probe.moment == RESET


def test_a_reset_that_is_past_is_no_moment_to_wait_for():
    assert decided(QUOTA, now=RESET)[0].moment == RESET + timedelta(hours=1)


def test_a_fault_of_the_probe_does_not_start_the_wait_for_the_reset_anew():
    _, queue = run([QUOTA, UNSENT])
    assert decided(QUOTA, queue)[0].moment == NOW + timedelta(hours=1)


# --- whose fault ---


def test_three_faults_that_may_be_its_own_set_a_recall_aside():
    assert isinstance(decided(TIMEOUT, recall=RecallHistory(strikes=1))[0], RetryIn)
    decision, queue = decided(TIMEOUT, QueueHistory(faults=2), RecallHistory(strikes=2))
    assert decision == SetAside(seconds=4, reason=TIMEOUT.reason, quiet=True)
    assert queue.faults == 3


def test_workers_that_die_under_a_recall_count_as_its_faults():
    assert isinstance(decided(TIMEOUT, recall=RecallHistory(crashes=2))[0], SetAside)
    assert isinstance(decided(TIMEOUT, recall=RecallHistory(crashes=1, strikes=1))[0], SetAside)


def test_a_recall_is_dead_only_when_others_passed_twice_where_it_failed():
    assert isinstance(decided(TIMEOUT, recall=RecallHistory(strikes=2, rounds=1))[0], SetAside)
    decision, queue = decided(TIMEOUT, recall=RecallHistory(strikes=2, rounds=2))
    assert isinstance(decision, Refuse)
    assert decision.quiet
    assert decision.seconds == 1
    assert queue.faults == 1


def test_a_retry_says_whether_it_counts_against_the_recall():
    assert decided(TIMEOUT)[0].counts_against_recall
    assert not decided(UNSENT)[0].counts_against_recall


@pytest.mark.parametrize("kind", list(VerdictKind))
def test_every_decision_but_accepted_keeps_the_quiet_time(kind):
    decision, _ = decided(Verdict(kind=kind, reason="r", quiet=True))
    assert isinstance(decision, Accept) or decision.quiet


HISTORIES = st.builds(
    QueueHistory,
    faults=st.integers(0, 10**6),
    concurrency=st.integers(0, 10**6),
    quota_refusals=st.integers(0, 10**6),
    words=st.text(max_size=20),
    same_words=st.integers(0, 10**6),
)
RECALLS = st.builds(
    RecallHistory, strikes=st.integers(0, 99), rounds=st.integers(0, 99), crashes=st.integers(0, 99)
)
BODIES_403 = [
    b"",
    b"<html>",
    b"{}",
    b'{"code":403}',
    b'{"code":403,"msg":"TOKEN LIMIT EXCEEDED"}',
    b'{"code":500}',
]
INNOCENT = st.one_of(
    st.just(UNSENT),
    st.sampled_from(BODIES_403).map(lambda body: decipher_response(403, {}, body)),
    st.just(broken_off(403, "cut")),
    st.just(CONCURRENCY),
)


@given(INNOCENT, HISTORIES, RECALLS, st.floats(0, 1, exclude_max=True))
def test_no_connect_error_and_no_403_burns_a_recall_whatever_went_before(verdict, queue, recall, jitter):
    decision, _ = decided(verdict, queue, recall, jitter=jitter)
    assert isinstance(decision, RetryIn | WaitUntil)
    assert not getattr(decision, "counts_against_recall", False)


# --- the history as text ---


@given(HISTORIES)
def test_a_history_reads_back_as_it_was_written(queue):
    assert QueueHistory.from_json(queue.to_json()) == queue


def test_a_clean_history_is_an_empty_text():
    assert QueueHistory().to_json() == ""


@pytest.mark.parametrize(
    "text",
    [None, "", b"", "{", "[]", "7", b"\xff", '{"faults":"x","words":3,"same_words":-5}', '{"other":1}'],
)
def test_a_history_that_cannot_be_read_counts_as_none(text):
    assert QueueHistory.from_json(text) == QueueHistory()


# --- what is handed in ---


@pytest.mark.parametrize("jitter", [-0.1, 1, float("nan")])
def test_a_jitter_out_of_range_is_refused(jitter):
    with pytest.raises(ValueError, match="jitter"):
        decided(UNSENT, jitter=jitter)


@pytest.mark.parametrize("dates", [{"now": datetime(2026, 1, 1)}, {"reset": datetime(2026, 1, 1)}])
def test_dates_without_a_zone_are_refused(dates):
    with pytest.raises(ValueError, match="zone"):
        decided(QUOTA, **dates)
