"""A test call has the lane for itself: no push meets it, whatever operators and workers do meanwhile."""

from __future__ import annotations

import threading
import time

import pytest

from integration.delivery import Delivery, Event
from integration.plan import plan_delivery
from support import SOURCES_AND_ROUTES, make_desk, two_accounts
from workers.drain import utc_now
from workers.inquiry import LaneInUseError, ask_in_lane
from workers.lane import Claim, NoClaim, Outcome
from workers.quota import terms_of

QUICK = "timeout_seconds = 0.4\nserver_limit_seconds = 0.3"


@pytest.fixture
def desk(tmp_path, store, sandbox):
    desk = make_desk(tmp_path, store, two_accounts(sandbox.url, QUICK) + SOURCES_AND_ROUTES)
    desk.bind()
    return desk


@pytest.fixture
def lane(desk):
    return desk.lanes.bound()["bogota"]


@pytest.fixture
def queued(desk):
    now = utc_now()
    delivery = Delivery(
        id="dl_1", source="forms", method="POST", url="", headers={}, body=b"{}", received_at=now
    )
    event = Event(data={"customer": "1", "phone": "3001112233", "at": "2030-01-01T10:00:00"}, dedup_key="1")
    desk.admit(delivery, plan_delivery(desk.book, delivery, [event], now), b"{}")


def account(desk):
    return desk.config.accounts["bogota"]


def terms(desk):
    return terms_of(account(desk), utc_now())


@pytest.fixture
def pass_lease(desk):
    """The clock of the store stands still until this is called; then a lease is over."""
    now = [round(utc_now().timestamp() * 1000)]
    desk.store._clock = lambda: now[0]

    def passed():
        now[0] += round((account(desk).lease_seconds + 0.1) * 1000)

    return passed


def lend(desk, lane):
    return desk.lanes.lend(lane, "loan", terms(desk))


def acquire(desk, lane, nonce="worker"):
    return desk.lanes.acquire(lane, nonce, terms(desk))[0]


def ask(desk, lane):
    return ask_in_lane(desk.lanes, lane, account(desk), lambda _: None)


def test_no_push_begins_while_the_lane_is_lent_and_one_does_after(desk, lane, queued):
    fence = lend(desk, lane)
    assert acquire(desk, lane).kind == "busy"
    assert (desk.account("bogota").state, desk.account("bogota").reason) == (
        "busy",
        "a test call is being made",
    )
    assert desk.lanes.give_back(lane, fence, sent_ms=5, quiet=False).lane == lane
    assert isinstance(acquire(desk, lane), Claim)


def test_an_operator_who_resumes_meanwhile_does_not_let_a_push_in(desk, lane, queued):
    fence = lend(desk, lane)
    desk.pause("bogota", "a break")
    desk.resume("bogota")
    assert acquire(desk, lane).kind == "busy"
    desk.lanes.give_back(lane, fence, sent_ms=5, quiet=True)
    assert acquire(desk, lane).kind == "wait"


def test_a_lane_that_pushes_or_is_quiet_is_not_lent(desk, lane, queued):
    claim = acquire(desk, lane)
    assert lend(desk, lane).kind == "busy"
    outcome = Outcome(kind="ended", state="accepted", quiet=True, sent_ms=0)
    desk.lanes.finish(lane, claim, 1, outcome, more=False, terms=terms(desk))
    refused = lend(desk, lane)
    assert (refused.kind, refused.reason) == ("wait", "quiet")


def test_a_lane_that_waits_is_not_lent_and_a_stopped_or_paused_one_is_and_stays_so(desk, lane, queued):
    claim = acquire(desk, lane)
    stop = Outcome(kind="again", reason="401", stop="the token is refused", sent_ms=0)
    desk.lanes.finish(lane, claim, 1, stop, more=False, terms=terms(desk))
    desk.pause("bogota", "a break")
    assert ask(desk, lane).good
    assert desk.account("bogota").state == "stopped"
    desk.resume("bogota")
    claim = acquire(desk, lane, "again")
    waits = Outcome(kind="again", reason="no answer", wait_ms=60_000)
    desk.lanes.finish(lane, claim, 1, waits, more=False, terms=terms(desk))
    with pytest.raises(LaneInUseError, match="the lane waits: no answer"):
        ask(desk, lane)


def test_a_test_call_counts_for_the_day_and_is_not_made_beyond_its_limit(tmp_path, store, sandbox):
    text = two_accounts(sandbox.url, QUICK + "\ndaily_limit = 1") + SOURCES_AND_ROUTES
    desk = make_desk(tmp_path, store, text)
    desk.bind()
    lane = desk.lanes.bound()["bogota"]
    assert ask(desk, lane).good
    assert desk.account("bogota").pushed_today == 1
    with pytest.raises(LaneInUseError, match="the daily limit is used up"):
        ask(desk, lane)
    assert len(sandbox.calls()) == 1


def test_who_dies_with_the_lane_keeps_it_only_as_long_as_its_call_may_run(desk, lane, queued, pass_lease):
    assert isinstance(lend(desk, lane), int)
    assert acquire(desk, lane).kind == "busy"
    pass_lease()
    claim = acquire(desk, lane, "next")
    assert isinstance(claim, Claim)
    # It may have been sent.
    assert desk.account("bogota").pushed_today == 1


def test_a_late_return_changes_nothing(desk, lane, queued, pass_lease):
    fence = lend(desk, lane)
    pass_lease()
    claim = acquire(desk, lane, "next")
    desk.lanes.give_back(lane, fence, sent_ms=1, quiet=True)
    assert desk.account("bogota").state == "busy"
    done = desk.lanes.finish(
        lane, claim, 1, Outcome(kind="ended", state="accepted"), more=False, terms=terms(desk)
    )
    assert done[0] == NoClaim("released", "", 0)


def test_an_unknown_outcome_leaves_the_lane_quiet_and_says_so(desk, lane, sandbox):
    sandbox.add_rule(action="hang", seconds=5)
    answer = ask(desk, lane)
    assert not answer.good
    assert "may still be working on the call" in answer.told
    assert desk.account("bogota").state == "waiting"


def test_a_call_that_was_never_sent_leaves_no_quiet_time(tmp_path, store, queued):
    desk = make_desk(tmp_path, store, two_accounts("http://127.0.0.1:9", QUICK) + SOURCES_AND_ROUTES)
    desk.bind()
    answer = ask(desk, desk.lanes.bound()["bogota"])
    assert not answer.good
    assert desk.account("bogota").pushed_today == 0
    assert desk.account("bogota").state == "idle"


def test_test_calls_and_turns_at_once_never_overlap(desk, lane, queued, sandbox):
    """Two who ask and one who pushes, all as often as they can: the sandbox sees one call at a time."""
    end = time.monotonic() + 60

    def goes_on():
        return len(sandbox.calls()) < 12 and time.monotonic() < end

    def asking():
        while goes_on():
            try:
                ask(desk, lane)
            except LaneInUseError:
                time.sleep(0.001)

    threads = [threading.Thread(target=asking) for _ in range(3)]
    for thread in threads:
        thread.start()
    while goes_on():
        desk.resume("bogota")
    for thread in threads:
        thread.join()
    assert len(sandbox.calls()) >= 12
    assert not sandbox.stats()["overlaps"]


def test_a_late_return_leaves_what_was_lent_to_another(desk, lane, queued, pass_lease):
    late = lend(desk, lane)
    pass_lease()
    desk.lanes.lend(lane, "another loan", terms(desk))
    desk.lanes.give_back(lane, late, sent_ms=1, quiet=False)
    assert acquire(desk, lane).kind == "busy"
