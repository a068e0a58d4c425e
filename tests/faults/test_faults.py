"""The fault run, short, and proof that its checker names what is broken. The long one: `make faults`."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import pytest

from faults.chaos import clocks, plan
from faults.chaos.checker import (
    IN_FLIGHT_SECONDS,
    NOTICED_SECONDS,
    REPLACED_SECONDS,
    TAKEN_UP_SECONDS,
    check,
)
from faults.chaos.config_file import ConfigFile, cut_off
from faults.chaos.history import (
    Attempt,
    Call,
    CustomerRequest,
    DuePeriod,
    Hang,
    History,
    Leak,
    Outage,
    SentDelivery,
    StoredRecall,
    UnsafePeriod,
)
from faults.chaos.mutants import MUTANTS
from faults.chaos.run import run
from faults.chaos.settings import LONGEST_WORK, Settings, config_text
from faults.chaos.watch import is_due

DATE = "20310101000000"


@pytest.mark.timeout(300)
def test_every_promise_is_kept_while_everything_is_killed_frozen_and_cut_off(tmp_path):
    seed = int(os.environ.get("FAULTS_SEED") or time.time_ns() % 1_000_000)
    # What is written is shown where the test fails, the seed first.
    report = run(Settings(seed=seed, seconds=12, accounts=6, rate=15, sentry=True), tmp_path)
    assert not report.broken, f"\n{report}\nagain: FAULTS_SEED={seed}, or: make faults SENTRY=1 SEED={seed}"
    assert report.history.envelopes
    assert report.history.calls
    assert any(delivery.acknowledged for delivery in report.history.deliveries)


def with_restores(seed, times=3):
    """Give the first seed from this one on that puts an old copy back so often: one alone may be as new as what it replaces."""
    planned = (plan.faults(each, 14, 6, LONGEST_WORK, restores=True) for each in itertools.count(seed))
    return seed + next(
        n for n, faults in enumerate(planned) if sum(f.kind == "restore" for f in faults) >= times
    )


@pytest.mark.timeout(400)
def test_with_old_copies_of_the_store_put_back_no_two_calls_overlap(tmp_path):
    seed = int(os.environ.get("FAULTS_SEED") or with_restores(time.time_ns() % 1_000_000))
    report = run(Settings(seed=seed, seconds=14, accounts=6, rate=15, restores=True), tmp_path)
    again = f"cd tests && python -m faults.chaos --restores --seconds 14 --seed {seed}"
    assert not report.broken, f"\n{report}\nagain: {again}"
    assert report.history.restores
    assert report.history.calls


def test_the_same_seed_plans_the_same_faults():
    assert plan.faults(7, 60, 8, 1.7) == plan.faults(7, 60, 8, 1.7)
    assert plan.faults(7, 60, 8, 1.7) != plan.faults(8, 60, 8, 1.7)


def test_no_planned_call_is_worked_on_for_longer_than_the_limit():
    rules = [fault.rule for fault in plan.faults(1, 600, 8, LONGEST_WORK) if fault.kind == "rule"]
    assert rules
    for rule in rules:
        assert rule.get("seconds", 0) + rule.get("interval", 0) * 260 <= LONGEST_WORK + 0.03


def test_every_seed_stops_a_process_for_good_and_damages_the_file():
    for seed in range(20):
        kinds = {fault.kind for fault in plan.faults(seed, 12, 6, LONGEST_WORK)}
        assert "file" in kinds
        assert kinds & {"hang", "hang child"}


def test_a_long_run_makes_the_store_unsafe_for_longer_than_that_may_go_unnoticed():
    unsafe = [fault for fault in plan.faults(7, 600, 8, LONGEST_WORK) if fault.kind == "unsafe"]
    assert unsafe
    assert all(fault.seconds > NOTICED_SECONDS and fault.at + fault.seconds < 600 for fault in unsafe)
    assert all(later.at > fault.at + fault.seconds for fault, later in itertools.pairwise(unsafe))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99, 1.0])
def test_a_file_that_is_cut_off_is_no_valid_file(share):
    text = config_text(Settings(seed=1, seconds=1), "http://127.0.0.1:9")
    rest = cut_off(text, share)
    assert text.startswith(rest)
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(rest)


def test_a_file_that_is_cut_off_before_its_routes_is_valid(tmp_path):
    text = config_text(Settings(seed=1, seconds=1), "http://127.0.0.1:9")
    file = ConfigFile(tmp_path / "ringback.toml", text)
    file.damage("cut before the routes")
    found = tomllib.loads(file.path.read_text("utf-8"))
    assert set(found) == {"api_keys", "sources", "accounts"}
    assert file.was_damaged
    file.restore()
    assert "routes" in tomllib.loads(file.path.read_text("utf-8"))


@pytest.mark.parametrize("name", MUTANTS)
def test_a_mutant_still_finds_what_it_takes_out(name, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(MUTANTS[name].code)
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run_ = subprocess.run(
        [sys.executable, "-c", ""], env=environ, capture_output=True, text=True, check=False
    )
    assert (run_.returncode, run_.stderr) == (0, "")


# --- the checker, on histories made by hand -------------------------------------------------------


def request(version=1, phone="3000000001", customer="cust"):
    return CustomerRequest(
        account="a0", customer=customer, version=version, phone=phone, date=DATE if phone else ""
    )


def accepted(*recalls, at=100.0, status=202):
    return Attempt(web="web0", began=at - 0.1, ended=at, status=status, body={"recalls": list(recalls)})


def sent(key, requests, *attempts, kind="forms", recall=""):
    return SentDelivery(key=key, kind=kind, requests=tuple(requests), attempts=attempts, recall=recall)


def stored(recall, phone, *states, customer="cust"):
    changes = tuple((100.0 + n, state, "why") for n, state in enumerate(states))
    return StoredRecall(
        id=recall,
        state=states[-1],
        account="a0",
        customer=customer,
        phone=phone,
        changes=changes,
        listed=(states[-1],),
    )


def call(seq, phone, *, at=101.0, effect=True):
    return Call(
        seq=seq, token="t0", customer="cust", phone=phone, date=DATE, began=at, ended=at, effect=effect
    )


OLD, NEW = request(1, "3000000001"), request(2, "3000000002")
OFF = request(3, "")
GOOD = History(
    deliveries=(sent("d1", [OLD], accepted("rc_1")), sent("d2", [NEW], accepted("rc_2", at=110.0))),
    recalls=(
        stored("rc_1", OLD.phone, "queued", "accepted"),
        stored("rc_2", NEW.phone, "queued", "accepted"),
    ),
    calls=(call(1, OLD.phone), call(2, NEW.phone, at=111.0)),
    queues={"a0": "t0"},
)


def broken(**changes):
    return {found.promise for found in check(replace(GOOD, **changes))}


def test_a_history_without_fault_breaks_nothing():
    assert check(GOOD) == []


def test_an_acknowledged_recall_that_is_not_there_is_lost():
    assert "P1" in broken(recalls=GOOD.recalls[1:])


def test_an_acknowledged_id_that_is_not_there_is_lost():
    assert broken(deliveries=(sent("d1", [OLD], accepted("rc_1", "rc_9")), GOOD.deliveries[1])) == {"P1"}


def test_a_delivery_that_is_never_accepted_is_a_promise_broken():
    refused = Attempt(web="web0", began=1, ended=2, status=503)
    assert "P1" in broken(deliveries=(sent("d1", [OLD], refused), GOOD.deliveries[1]))


def test_a_recall_that_nobody_asked_for_is_found():
    assert broken(recalls=(*GOOD.recalls, stored("rc_3", "3000000009", "queued", "accepted"))) == {"P1"}


def test_an_end_that_never_comes_is_found():
    assert broken(drained=False) == {"P6"}


def test_with_an_old_copy_put_back_what_came_after_it_may_be_lost_but_nothing_overlaps():
    lost = {"recalls": GOOD.recalls[:1], "restores": 2}
    assert broken(**lost, losses_reported=1) == set()
    assert broken(**lost, losses_reported=0) == {"report"}
    assert broken(**lost, losses_reported=3) == {"report"}
    assert broken(
        **lost, losses_reported=1, overlaps=({"token": "t0", "seq": 2, "with": [1], "at": ""},)
    ) == {"P2"}


def test_two_calls_at_once_are_an_overlap():
    assert broken(overlaps=({"token": "t0", "seq": 2, "with": [1], "at": ""},)) == {"P2"}


@pytest.mark.parametrize(
    "states",
    [
        ("queued",),
        ("queued", "accepted", "dead", "accepted"),
        ("queued", "dead", "accepted"),
        ("queued", "pushing"),
    ],
)
def test_a_recall_has_one_end(states):
    assert "P3" in broken(recalls=(stored("rc_1", OLD.phone, *states), GOOD.recalls[1]))


def test_a_cancel_that_came_too_late_is_no_second_end():
    assert (
        broken(recalls=(stored("rc_1", OLD.phone, "queued", "accepted", "accepted"), GOOD.recalls[1]))
        == set()
    )


def test_an_index_that_names_another_state_is_found():
    assert broken(recalls=(replace(GOOD.recalls[0], listed=("accepted", "queued")), GOOD.recalls[1])) == {
        "P3"
    }


def test_an_older_wish_over_a_newer_one_is_found():
    assert broken(calls=(call(1, NEW.phone), call(2, OLD.phone))) == {"P4"}


def test_an_older_wish_begun_long_after_a_newer_one_was_acknowledged_is_found():
    late = call(1, OLD.phone, at=110.0 + IN_FLIGHT_SECONDS + 1, effect=False)
    assert broken(calls=(late, replace(GOOD.calls[1], began=late.began))) == {"P4"}


def test_a_newest_wish_that_was_superseded_is_found():
    assert broken(recalls=(GOOD.recalls[0], stored("rc_2", NEW.phone, "queued", "superseded"))) == {"P4"}


def test_a_newest_wish_that_was_cancelled_without_being_asked_is_found():
    cancelled = (GOOD.recalls[0], stored("rc_2", NEW.phone, "queued", "cancelled"))
    assert broken(recalls=cancelled) == {"P4"}
    cancellation = sent("c", [], accepted(at=112.0), kind="cancel", recall="rc_2")
    assert (
        broken(recalls=cancelled, calls=GOOD.calls[:1], deliveries=(*GOOD.deliveries, cancellation)) == set()
    )


def test_a_cancel_that_was_accepted_and_not_done_is_found():
    cancellation = sent("c", [], accepted(at=112.0), kind="cancel", recall="rc_2")
    assert broken(deliveries=(*GOOD.deliveries, cancellation)) == {"P4"}


def test_a_push_long_after_the_customer_took_the_wish_back_is_found():
    off = sent("d3", [OFF], accepted(at=104.0))
    late = call(2, NEW.phone, at=104.0 + IN_FLIGHT_SECONDS + 1)
    assert broken(deliveries=(*GOOD.deliveries, off), calls=(GOOD.calls[0], late)) == {"P4"}


def test_accepted_without_a_word_at_wolkvox_is_found():
    assert broken(calls=GOOD.calls[:1]) == {"P4"}


def test_a_call_with_another_date_than_asked_is_found():
    assert broken(calls=(GOOD.calls[0], replace(GOOD.calls[1], date="20310101000001"))) == {"P4"}


def test_one_event_with_two_recalls_is_found():
    assert "P5" in broken(recalls=(*GOOD.recalls, stored("rc_3", NEW.phone, "queued", "accepted")))


A_B_A = {
    "deliveries": tuple(
        sent(f"plain-{n}", [each], accepted(f"rc_{n}", at=100.0 + 10 * n), kind="plain")
        for n, each in enumerate((OLD, NEW, OLD), 1)
    ),
    "recalls": (
        stored("rc_1", OLD.phone, "queued", "accepted"),
        stored("rc_2", NEW.phone, "queued", "accepted"),
        stored("rc_3", OLD.phone, "queued", "accepted"),
    ),
    "calls": tuple(call(n, each.phone, at=101.0 + 10 * n) for n, each in enumerate((OLD, NEW, OLD), 1)),
}


def test_a_body_without_an_id_may_be_the_newest_request_twice():
    assert broken(**A_B_A) == set()


def test_a_body_without_an_id_that_was_taken_for_a_duplicate_is_found():
    answered_as_before = sent("plain-3", [OLD], accepted("rc_1", at=130.0), kind="plain")
    assert broken(
        deliveries=(*A_B_A["deliveries"][:2], answered_as_before),
        recalls=A_B_A["recalls"][:2],
        calls=A_B_A["calls"][:2],
    ) == {"P4"}


def test_a_body_without_an_id_with_more_recalls_than_deliveries_is_found():
    assert "P5" in broken(
        **{**A_B_A, "recalls": (*A_B_A["recalls"], stored("rc_4", OLD.phone, "queued", "accepted"))}
    )


def test_a_delivery_answered_with_another_recall_the_second_time_is_found():
    twice = sent("d1", [OLD], accepted("rc_1"), accepted("rc_2"))
    assert broken(deliveries=(twice, GOOD.deliveries[1])) == {"P5"}


def test_a_queue_that_nobody_takes_is_found():
    period = DuePeriod(queue="l", began=1, seconds=TAKEN_UP_SECONDS + 1)
    assert broken(due_periods=(period,)) == {"P6"}


def test_a_process_that_ends_by_itself_is_found():
    assert broken(ended_by_themselves=("worker0",)) == {"P6"}


def test_a_leak_is_a_promise_broken():
    assert broken(leaks=(Leak(place="log", what="a token", line="…"),)) == {"P8"}


def test_an_answer_that_takes_too_long_is_found_unless_its_web_was_down():
    slow = Attempt(web="web0", began=100, ended=109, status=503)
    deliveries = (sent("d1", [OLD], slow, accepted("rc_1")), GOOD.deliveries[1])
    assert broken(deliveries=deliveries) == {"P9"}
    assert broken(deliveries=deliveries, outages=(Outage(name="web1", began=99, ended=200),)) == {"P9"}
    assert broken(deliveries=deliveries, outages=(Outage(name="web0", began=108, ended=200),)) == set()


@pytest.mark.parametrize("seconds", [None, REPLACED_SECONDS + 1])
def test_a_process_that_was_stopped_and_stays_so_is_found(seconds):
    assert broken(hangs=(Hang(name="web0", what="a web process", seconds=seconds),)) == {"P6"}
    assert broken(hangs=(Hang(name="web0", what="a web process", seconds=11.0),)) == set()


UNSAFE = UnsafePeriod(began=1000.0, ended=1000.0 + NOTICED_SECONDS + 20)


@pytest.mark.parametrize(
    ("seconds", "found"), [(NOTICED_SECONDS - 1, set()), (NOTICED_SECONDS + 5, {"P1"}), (200.0, set())]
)
def test_an_accepted_delivery_is_false_when_the_store_has_had_no_log_for_long(seconds, found):
    deliveries = (sent("d1", [OLD], accepted("rc_1", at=1000.0 + seconds)), GOOD.deliveries[1])
    assert broken(deliveries=deliveries, unsafe_periods=(UNSAFE,)) - {"P4"} == found


@pytest.mark.parametrize(("status", "found"), [(503, set()), (0, set()), (200, {"P1"})])
def test_a_web_that_is_ready_while_the_store_has_no_log_is_found(status, found):
    assert broken(unsafe_periods=(replace(UNSAFE, readiness=(("web0", status),)),)) == found


def test_an_event_that_is_ignored_is_found():
    ignored = replace(accepted("rc_1"), body={"recalls": ["rc_1"], "ignored": 1})
    assert broken(deliveries=(sent("d1", [OLD], ignored), GOOD.deliveries[1])) == {"P1"}


def test_a_parked_event_has_to_be_accepted_later():
    parked = replace(accepted(), body={"recalls": [], "parked": 1})
    again = sent("d1", [OLD], parked, accepted("rc_1", at=103.0))
    assert broken(deliveries=(again, GOOD.deliveries[1])) == set()
    assert "P1" in broken(deliveries=(sent("d1", [OLD], parked), GOOD.deliveries[1]))


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500])
def test_an_answer_that_fits_nothing_is_found(status):
    odd = Attempt(web="web0", began=99, ended=100, status=status)
    assert broken(deliveries=(sent("d1", [OLD], odd, accepted("rc_1")), GOOD.deliveries[1])) == {"HTTP"}


@pytest.mark.parametrize(
    ("fields", "queued", "due"),
    [
        ({}, 0, False),
        ({}, 1, True),
        ({"wait": "11000"}, 1, False),
        ({"quiet": "11000"}, 1, False),
        ({"paused": "why"}, 1, False),
        ({"inflight": "rc_1", "lease": "11000"}, 0, False),
        ({"inflight": "rc_1", "lease": "9000"}, 0, True),
        ({"held": "9000", "lease_ms": "2000"}, 1, False),
        ({"held": "7000", "lease_ms": "2000"}, 1, True),
        ({"settle": "11000"}, 1, False),
    ],
)
def test_a_queue_is_due_when_it_has_work_and_no_reason_to_wait(fields, queued, due):
    assert is_due(fields, queued, 10.0) is due


def test_each_life_of_a_worker_has_another_clock_and_the_seed_gives_the_same_ones():
    ours = clocks.clock_errors(7, "worker0")
    assert ours == clocks.clock_errors(7, "worker0") != clocks.clock_errors(7, "worker1")
    assert len(set(ours)) > 900
    assert max(map(abs, ours)) <= clocks.FURTHEST_SECONDS


def test_a_worker_of_the_run_goes_by_the_wrong_clock(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(clocks.CODE)
    ask = "import workers.worker as e, datetime as d; print((e.utc_now() - d.datetime.now(d.UTC)).total_seconds())"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), clocks.VARIABLE: "-300"}
    process = subprocess.run(
        [sys.executable, "-c", ask], env=environ, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert float(process.stdout) == pytest.approx(-300, abs=5)
