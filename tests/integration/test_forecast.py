"""Forecasts of an account: the end of its queue, the recalls at risk, and the end of the daily quota."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.account import AccountView
from integration.services.forecast import HORIZONS, forecast
from integration.store.monitoring.time_series import Pace
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.installation import Installation

NOW = datetime(2026, 11, 25, 15, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def view(**more):
    fields = {"state": "busy", "reason": None, "until": None, "queued": 10, "dead": 0, "pushed_today": 0}
    return AccountView(name="bogota", **{**fields, "daily_limit": None, "oldest_seconds": None, **more})


def pace(pushes=30, seconds=60.0):
    return Pace(minutes=15, pushes=pushes, busy_seconds=seconds)


def due(**numbers):
    """Return the number of due recalls by horizon, in minutes: `due(m0=1, m15=2)`."""
    return {timedelta(minutes=int(name[1:])): number for name, number in numbers.items()}


def test_a_queue_goes_on_at_the_rate_of_its_calls():
    found = forecast(view(queued=60), pace(), {}, NOW)
    assert found.per_minute == 30
    assert found.drained_at == NOW + 2 * MINUTE


def test_without_a_call_lately_one_a_second_is_taken():
    assert forecast(view(queued=120), pace(0, 0.0), {}, NOW).drained_at == NOW + 2 * MINUTE


@pytest.mark.parametrize("state", ["stopped", "paused"])
def test_a_queue_that_stands_still_is_never_through_and_keeps_no_date(state):
    found = forecast(view(state=state), pace(), due(m0=1, m1440=7), NOW)
    assert (found.drained_at, found.at_risk) == (None, 10), "later dates cannot be kept either"
    assert forecast(view(state=state, queued=13), pace(), due(m0=0, m1440=0), NOW).at_risk == 13
    assert forecast(view(state=state, queued=0), pace(), {}, NOW).at_risk == 0


def test_a_pause_with_an_end_delays_the_queue_and_no_more():
    paused = view(state="paused", until=NOW + 10 * MINUTE, queued=30)
    found = forecast(paused, pace(), due(m0=0, m15=200), NOW)
    assert found.at_risk == 50
    assert found.drained_at == NOW + 11 * MINUTE


def test_what_is_due_before_its_turn_is_at_risk():
    # 30 a minute: 450 in 15 minutes, 1800 in an hour.
    assert forecast(view(), pace(), due(m0=0, m15=450, m60=1800), NOW).at_risk == 0
    assert forecast(view(), pace(), due(m0=3, m15=453, m60=1810), NOW).at_risk == 10


def test_a_queue_that_waits_starts_late():
    waiting = view(state="waiting", until=NOW + 10 * MINUTE, queued=30)
    found = forecast(waiting, pace(), due(m0=0, m15=200), NOW)
    assert found.at_risk == 50
    assert found.drained_at == NOW + 11 * MINUTE


def test_the_days_calls_bound_what_can_be_kept():
    limited = view(daily_limit=100, pushed_today=90)
    resets = NOW + timedelta(hours=2)
    assert forecast(limited, pace(), due(m60=25), NOW, resets).at_risk == 15
    assert forecast(limited, pace(), due(m240=25), NOW, resets).at_risk == 0, (
        "after two hours there are 100 more"
    )
    assert forecast(limited, pace(), due(m240=150), NOW, resets).at_risk == 40


def test_the_days_calls_are_used_up_as_they_went_lately():
    found = forecast(view(daily_limit=100, pushed_today=40), pace(pushes=30), {}, NOW)
    assert found.quota_out_at == NOW + 30 * MINUTE
    assert forecast(view(), pace(), {}, NOW).quota_out_at is None
    assert forecast(view(daily_limit=100), pace(0, 0.0), {}, NOW).quota_out_at is None


def test_the_store_is_asked_for_the_horizons_between_where_they_may_be_the_worst(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES)
    services.binding.bind()
    now = datetime.now(UTC)
    Installation(services).ask(hours=3)
    queue = services.queues.bound()["bogota"]
    soon = round((now + 10 * MINUTE).timestamp() * 1000)
    store.zadd(f"{{ringback}}:queue:{queue}:recalls", {f"rc_{n}": soon for n in range(2000)})
    found = services.accounts.forecasts(services.accounts.all(["bogota"]), now)["bogota"]
    assert found.at_risk == 2000 - 15 * 60
    assert len(HORIZONS) == 6
