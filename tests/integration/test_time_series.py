"""Minutes and paces, as the store remembers them: told by a clock in hand, on a real store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.clients.wolkvox_protocol import VerdictKind
from integration.store.client import Store, connect
from integration.store.monitoring.counter_flusher import CounterFlusher
from integration.store.monitoring.time_series import TOTALS, TimeSeries
from integration.telemetry.counters import RESULTS, Counters
from support import url_of

NOON = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)


class Clocked:
    def __init__(self, client):
        self.now = NOON
        self.redis = client
        self.store = Store(connect(url_of(client)), clock=lambda: round(self.now.timestamp() * 1000))
        self.counters = Counters()
        self.flusher = CounterFlusher(self.store, self.counters)
        self.series = TimeSeries(self.store)

    def flush(self, **later):
        self.now += timedelta(**later)
        self.flusher.flush()

    def minutes(self, last=60):
        return self.series.minutes(self.now, last)


@pytest.fixture
def clocked(store):
    return Clocked(store)


def test_a_new_store_has_quiet_minutes_the_last_of_which_is_now(clocked):
    minutes = clocked.minutes(5)
    assert [m.at.minute for m in minutes] == [56, 57, 58, 59, 0]
    assert all((m.deliveries, m.admitted, m.pushes, m.ended) == ({}, 0, {}, {}) for m in minutes)
    assert minutes[-1].at == NOON.replace(second=0)


def test_each_minute_shows_what_happened_in_it_and_the_running_one_at_once(clocked):
    clocked.flush()
    clocked.counters.delivery("forms", "admitted")
    clocked.redis.hset("{ringback}:counts", mapping={"pushes:accepted": 3, "ended:dead": 1, "admitted": 2})
    clocked.flush(seconds=5)
    now = clocked.minutes()[-1]
    assert (now.deliveries, now.admitted, now.pushes, now.ended) == (
        {"admitted": 1}, 2, {"accepted": 3}, {"dead": 1},
    )  # fmt: skip
    clocked.flush(minutes=1)
    clocked.counters.delivery("forms", "not verified")
    clocked.flush(seconds=1)
    before, now = clocked.minutes()[-2:]
    assert before.deliveries == {"admitted": 1}
    assert (now.deliveries, now.pushes) == ({"not verified": 1}, {})


def test_minutes_in_which_no_process_ran_are_quiet(clocked):
    clocked.flush()
    clocked.redis.hset("{ringback}:counts", "pushes:accepted", 7)
    clocked.flush(minutes=3)
    assert [m.pushes.get("accepted", 0) for m in clocked.minutes(4)] == [7, 0, 0, 0]


def test_what_an_older_version_counted_is_no_minute_of_its_own(clocked):
    clocked.redis.hset("{ringback}:counts", "pushes:accepted", 1_000_000)
    clocked.flush()
    clocked.flush(minutes=1)
    assert all(m.pushes == {} for m in clocked.minutes())


def test_a_store_that_was_emptied_counts_from_nothing(clocked):
    clocked.redis.hset("{ringback}:counts", "pushes:accepted", 50)
    clocked.flush()
    clocked.redis.hset("{ringback}:counts", "pushes:accepted", 2)
    assert clocked.minutes()[-1].pushes == {"accepted": 2}


def test_a_whole_day_is_there_and_goes_after_it(clocked):
    for _ in range(26):
        clocked.redis.hincrby("{ringback}:counts", "ended:dead", 1)
        clocked.flush(hours=1)
    minutes = clocked.minutes(5000)
    assert len(minutes) == 24 * 60
    assert sum(m.ended.get("dead", 0) for m in minutes) == 23
    for key in clocked.redis.keys("{ringback}:series:*"):
        assert 0 < clocked.redis.ttl(key) <= 26 * 3600


def test_reading_a_day_is_one_round_trip(clocked):
    clocked.flush()
    sent = []
    real = clocked.store.guarded
    clocked.store.guarded = lambda act: sent.append(1) or real(act)
    clocked.minutes(1440)
    assert len(sent) == 1


def test_every_result_and_verdict_has_its_minutes():
    assert {f"results:{name}" for name in RESULTS} <= set(TOTALS)
    assert {f"pushes:{kind}" for kind in VerdictKind} <= set(TOTALS)


def test_the_pace_of_accounts(clocked):
    clocked.counters.pushed("bogota", 0.5)
    clocked.counters.pushed("bogota", 1.5)
    clocked.flush()
    clocked.counters.pushed("bogota", 1.0)
    clocked.counters.pushed("lima", 2.0)
    clocked.flush(minutes=10)
    paces = clocked.series.paces(["bogota", "lima", "quito"], clocked.now)
    assert (paces["bogota"].pushes, paces["bogota"].busy_seconds) == (3, 3.0)
    assert paces["bogota"].per_minute == 3 / 15
    assert paces["bogota"].capacity_per_minute == 60
    assert paces["lima"].capacity_per_minute == 30
    assert (paces["quito"].pushes, paces["quito"].capacity_per_minute) == (0, None)
    assert clocked.series.paces(["bogota"], clocked.now, minutes=5)["bogota"].pushes == 1
    assert clocked.series.paces([], clocked.now) == {}
