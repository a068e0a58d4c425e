from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.account import Account, CallingHours
from integration.domain.schedule import (
    Drop,
    Scheduled,
    is_open,
    next_opening,
    reschedule,
)

BOGOTA = ZoneInfo("America/Bogota")
NEW_YORK = ZoneInfo("America/New_York")  # gap 2026-03-08 02:00-03:00, fold 2026-11-01 01:00-02:00
SANTIAGO = ZoneInfo("America/Santiago")  # gap at midnight, 2026-09-06 00:00-01:00
OFFICE = (time(7), time(19))
SATURDAY = (time(8), time(15))
WEEK = CallingHours(windows=((OFFICE,),) * 5 + ((SATURDAY,), ()), holidays="CO")
ALWAYS = CallingHours(windows=(((time(0), time(0)),),) * 7)
NEVER = CallingHours(windows=((),) * 7)
SPLIT = CallingHours(windows=(((time(8), time(12)), (time(14), time(18))),) * 7)


def account(**changes):
    fields = {"name": "bogota", "server": "0003", "token": "t", "timezone": "America/Bogota", **changes}
    return Account(**fields)


def bogota(day, hour=0, minute=0, second=0):
    return datetime(2026, 3, day, hour, minute, second, tzinfo=BOGOTA)  # 2026-03-02 is a Monday


NOW = bogota(2, 10)


def test_a_date_that_is_fine_stays_as_it_is():
    assert reschedule(account(calling_hours=WEEK), bogota(2, 15), NOW) == Scheduled(bogota(2, 15))


def test_an_earlier_date_moves_to_now_and_the_lead_time():
    made = reschedule(account(), bogota(2, 10, 29, 59), NOW)
    assert made.date == bogota(2, 10, 30)
    assert "min_lead_minutes" in made.notes[0]


def test_a_date_at_exactly_the_lead_time_stays():
    assert reschedule(account(), bogota(2, 10, 30), NOW) == Scheduled(bogota(2, 10, 30))


def test_a_lead_of_zero_leaves_a_date_of_now_alone():
    assert reschedule(account(min_lead_minutes=0), NOW, NOW) == Scheduled(NOW)


def test_the_lead_time_never_falls_short_by_a_fraction_of_a_second():
    made = reschedule(account(), NOW, NOW + timedelta(microseconds=1))
    assert made.date == bogota(2, 10, 30, 1)


def test_a_past_date_becomes_now_and_the_lead_time_under_asap():
    made = reschedule(account(late="asap"), bogota(1, 9), NOW)
    assert made.date == bogota(2, 10, 30)
    assert "past" in made.notes[0]


def test_a_past_date_is_dropped_under_drop():
    made = reschedule(account(late="drop"), bogota(2, 9, 59, 59), NOW)
    assert isinstance(made, Drop)
    assert "late" in made.reason


def test_a_date_in_the_second_that_runs_is_not_past():
    made = reschedule(account(late="drop", min_lead_minutes=0), NOW, NOW + timedelta(milliseconds=900))
    assert isinstance(made, Scheduled)


def test_a_date_inside_the_lead_time_is_not_late():
    assert reschedule(account(late="drop"), bogota(2, 10, 1), NOW).date == bogota(2, 10, 30)


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (bogota(2, 6, 59, 59), bogota(2, 7)),
        (bogota(2, 7), bogota(2, 7)),
        (bogota(2, 18, 59, 59), bogota(2, 18, 59, 59)),
        (bogota(2, 19), bogota(3, 7)),
        (bogota(7, 7), bogota(7, 8)),
        (bogota(7, 15), bogota(9, 7)),
        (bogota(8, 12), bogota(9, 7)),
        (bogota(23, 12), bogota(24, 7)),
    ],
)
def test_a_date_outside_the_hours_moves_to_the_next_opening(asked, sent):
    made = reschedule(account(calling_hours=WEEK), asked, bogota(1))
    assert made.date == sent
    assert bool(made.notes) == (asked != sent)


def test_a_date_in_the_break_moves_to_the_end_of_the_break():
    assert next_opening(SPLIT, bogota(2, 12)) == bogota(2, 14)


def test_the_lead_time_may_carry_a_date_over_closing_time():
    made = reschedule(account(calling_hours=WEEK), bogota(2, 18, 40), bogota(2, 18, 35))
    assert made.date == bogota(3, 7)
    assert len(made.notes) == 2


def test_asap_stays_inside_the_hours():
    assert reschedule(account(calling_hours=WEEK), bogota(1, 9), bogota(2, 22)).date == bogota(3, 7)


def test_a_window_that_ends_at_midnight_is_open_until_the_day_ends():
    late = CallingHours(windows=(((time(20), time(0)),),) * 7)
    assert is_open(late, bogota(2, 23, 59, 59))
    assert next_opening(late, bogota(2, 0)) == bogota(2, 20)


def test_hours_that_never_open_drop_the_recall():
    assert isinstance(reschedule(account(calling_hours=NEVER), bogota(2, 15), NOW), Drop)


def test_without_a_holiday_country_holidays_are_open():
    hours = CallingHours(windows=WEEK.windows)
    assert next_opening(hours, bogota(23, 12)) == bogota(23, 12)


def test_an_opening_in_a_gap_is_after_the_gap():
    night = CallingHours(windows=(((time(0), time(6)),),) * 7)
    made = next_opening(night, datetime(2026, 9, 5, 12, tzinfo=SANTIAGO))
    assert made.isoformat() == "2026-09-06T01:00:00-03:00"


def test_a_window_inside_a_gap_does_not_open_that_day():
    brief = CallingHours(windows=(((time(2, 15), time(2, 45)),),) * 7)
    made = next_opening(brief, datetime(2026, 3, 7, 12, tzinfo=NEW_YORK))
    assert made.isoformat() == "2026-03-09T02:15:00-04:00"


def test_the_lead_time_is_time_that_passes_across_a_clock_change():
    now = datetime(2026, 3, 8, 1, 45, tzinfo=NEW_YORK)
    made = reschedule(account(timezone="America/New_York"), now, now)
    assert made.date.isoformat() == "2026-03-08T03:15:00-04:00"


def test_a_date_asked_on_another_clock_is_sent_on_the_accounts():
    made = reschedule(account(), datetime(2026, 3, 2, 20, tzinfo=UTC), NOW)
    assert made.date.isoformat() == "2026-03-02T15:00:00-05:00"


# --- what always holds -----------------------------------------------------------------------

zones = st.sampled_from(
    ["America/Bogota", "America/New_York", "America/Santiago", "Europe/Madrid", "Australia/Lord_Howe"]
)
minutes = st.integers(0, 24 * 60 - 1)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


@st.composite
def days(draw):
    marks = sorted(draw(st.sets(minutes, max_size=4)))
    clocks = [time(mark // 60, mark % 60) for mark in marks]
    if len(clocks) % 2:
        clocks.append(time(0))
    return tuple(zip(clocks[::2], clocks[1::2], strict=True))


hours_of_a_week = st.builds(
    CallingHours, windows=st.tuples(*[days()] * 7), holidays=st.sampled_from([None, "CO", "US"])
)
accounts = st.builds(
    account,
    timezone=zones,
    min_lead_minutes=st.integers(0, 600),
    late=st.sampled_from(["asap", "drop"]),
    calling_hours=st.none() | hours_of_a_week,
)


@given(made_for=accounts, wanted=moments, now=moments)
def test_a_scheduled_date_is_inside_the_hours_after_the_lead_and_never_before_it_was_asked(
    made_for, wanted, now
):
    made = reschedule(made_for, wanted, now)
    if isinstance(made, Drop):
        assert made_for.late == "drop" or not any(made_for.calling_hours.windows)
        return
    sent = made.date
    assert sent.astimezone(UTC) >= now + timedelta(minutes=made_for.min_lead_minutes)
    assert sent.astimezone(UTC) >= wanted.replace(microsecond=0)
    assert sent.microsecond == 0
    assert sent.tzinfo == made_for.timezone
    assert made_for.calling_hours is None or is_open(made_for.calling_hours, sent)


@given(made_for=accounts, wanted=moments, now=moments)
def test_the_rules_applied_again_change_nothing(made_for, wanted, now):
    made = reschedule(made_for, wanted, now)
    if isinstance(made, Scheduled):
        assert reschedule(made_for, made.date, now) == Scheduled(made.date)


@given(
    made_for=accounts, wanted=moments, earlier=moments, wait=st.timedeltas(timedelta(0), timedelta(days=2))
)
def test_a_date_that_is_still_fine_when_its_time_comes_is_not_moved(made_for, wanted, earlier, wait):
    made = reschedule(made_for, wanted, earlier)
    now = earlier + wait
    lead = timedelta(minutes=made_for.min_lead_minutes)
    if isinstance(made, Scheduled) and made.date.astimezone(UTC) >= now + lead:
        assert reschedule(made_for, made.date, now) == Scheduled(made.date)
