from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.account import Account, CallingHours
from integration.domain.errors import UnmappableError
from integration.domain.schedule import (
    Drop,
    Scheduled,
    apply,
    format_fault,
    is_open,
    next_opening,
    parse_day,
    parse_format,
    parse_moment,
    read_date,
    shape,
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


def read(value, zone=BOGOTA, hours=None):
    return read_date(value, zone=zone, hours=hours)


# --- reading ---------------------------------------------------------------------------------

TEN = bogota(2, 10)  # 15:00 UTC, 1772463600


@pytest.mark.parametrize(
    "value",
    [
        "2026-03-02T10:00:00",
        "2026-03-02 10:00:00",
        "2026-03-02T10:00",
        "2026-03-02t10:00:00",
        " 2026-03-02T10:00:00 ",
        "2026-03-02T10:00:00-05:00",
        "2026-03-02T10:00:00 -05:00",
        "2026-03-02T10:00:00-05",
        "2026-03-02T15:00:00Z",
        "2026-03-02T15:00:00z",
        "2026-03-02T15:00:00.000Z",
        "2026-03-02T15:00:00.000+0000",
        "2026-03-02T15:00:00.123456789Z",
        "2026-03-02T15:00:00,5Z",
        "2026-03-03T00:00:00+09:00",
        "20260302T100000",
        "20260302T1000",
        "20260302T150000Z",
        "1772463600",
        "1772463600.25",
        1772463600,
        1772463600.25,
        "1772463600000",
        1772463600000,
        1772463600999,
        1772463600000.0,
        "20260302100000",
        20260302100000,
        datetime(2026, 3, 2, 10, 0),
        datetime(2026, 3, 2, 15, 0, 0, 5, tzinfo=UTC),
    ],
)
def test_each_form_is_read_as_the_same_moment_in_whole_seconds(value):
    made = read(value)
    assert (made, made.tzinfo, made.microsecond) == (TEN, BOGOTA, 0)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "tomorrow",
        "02/03/2026",
        "2/3/26 10:00",
        "2026-3-2",
        "2026-03",
        "2026",
        "20260302",
        20260302,
        "202603021000",
        "2026-W10-1",
        "2026-060",
        "2026-02-30T10:00:00",
        "2026-03-02T24:00:00",
        "2026-03-02T10:00:60",
        "2026-03-02X10:00:00",
        "2026-03-02T10:00:00+99:00",
        "2026-03-02T10:00:00[America/Bogota]",
        "2026-03-02T10:00:00 America/Bogota",
        "20260230100000",
        "20260302250000",
        "10:00",
        "+1772463600",
        "-1772463600",
        "946684799",
        "177246360",
        "17724636000",
        "177246360000",
        "1772463600000000",
        0,
        -1,
        1e300,
        float("inf"),
        float("nan"),
        True,
        None,
        [],
        {},
        b"2026-03-02",
        "９９",
        "２０２６-03-02T10:00:00",
        "1999-12-31T23:00:00",
        "2101-01-01T00:00:00",
        "0001-01-01T00:00:00",
        "9999999999",
        "9999999999999",
        "19991231235959",
        datetime(1999, 1, 1, tzinfo=UTC),
        "2026-03-02\x00",
    ],
)
def test_other_forms_are_unmappable_and_never_guessed(value):
    with pytest.raises(UnmappableError) as caught:
        read(value, hours=ALWAYS)
    assert caught.value.field == "recall_date"


def test_true_is_no_number():
    with pytest.raises(UnmappableError, match="a bool"):
        read(True)


def test_a_refused_date_is_described_by_its_shape_and_never_quoted():
    with pytest.raises(UnmappableError) as caught:
        read("Call 3001112233 at 10")
    assert "'aaaa 9999999999 aa 99'" in caught.value.found
    assert "3001112233" not in str(caught.value)


def test_a_shape_is_short():
    assert len(shape("1" * 1000)) <= 41


def test_a_moment_keeps_its_fraction_until_it_becomes_a_date_to_send():
    assert parse_moment(1772463600123) == datetime(2026, 3, 2, 15, 0, 0, 123000, tzinfo=UTC)
    assert parse_moment("1772463600.5").microsecond == 500000
    assert parse_moment(1772463600.5).microsecond == 500000


def test_a_date_alone_is_the_first_opening_of_that_day():
    assert read("2026-03-02", hours=WEEK) == bogota(2, 7)
    assert read(date(2026, 3, 2), hours=WEEK) == bogota(2, 7)
    assert read("2026-03-02", hours=ALWAYS) == bogota(2, 0)


def test_a_date_alone_on_a_closed_day_is_the_next_opening():
    assert read("2026-03-01", hours=WEEK) == bogota(2, 7)  # a Sunday
    assert read("2026-03-23", hours=WEEK) == bogota(24, 7)  # a holiday in Colombia


def test_a_date_alone_without_calling_hours_is_unmappable():
    with pytest.raises(UnmappableError, match="calling_hours"):
        read("2026-03-02")


def test_a_date_alone_without_any_opening_is_unmappable():
    with pytest.raises(UnmappableError, match="no calling hours"):
        read("2026-03-02", hours=NEVER)


@pytest.mark.parametrize(
    ("value", "zone", "wall", "offset_hours"),
    [
        ("2026-03-08T02:30:00", NEW_YORK, "03:30", -4),
        ("20260308023000", NEW_YORK, "03:30", -4),
        ("2026-09-06T00:15:00", SANTIAGO, "01:15", -3),
    ],
)
def test_a_time_in_the_gap_of_a_clock_change_moves_forward_by_the_gap(value, zone, wall, offset_hours):
    made = read(value, zone)
    assert (made.strftime("%H:%M"), made.utcoffset()) == (wall, timedelta(hours=offset_hours))


def test_a_time_that_comes_twice_is_the_first_one():
    made = read("2026-11-01T01:30:00", NEW_YORK)
    assert (made.fold, made.utcoffset()) == (0, timedelta(hours=-4))
    later = read("2026-11-01T06:30:00Z", NEW_YORK)
    assert (later.strftime("%H:%M"), later.fold) == ("01:30", 1)


@pytest.mark.parametrize(
    ("value", "form", "made"),
    [
        ("02/03/2026 10:00", "%d/%m/%Y %H:%M", datetime(2026, 3, 2, 10)),
        ("2/3/26", "%d/%m/%y", date(2026, 3, 2)),
        ("02/03/2026 10:00 p. m.", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00 a.m.", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 10)),
        ("02/03/2026 10:00PM", "%d/%m/%Y %I:%M%p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00pm", "%d/%m/%Y %I:%M %p", datetime(2026, 3, 2, 22)),
        ("02/03/2026 10:00 +0000", "%d/%m/%Y %H:%M %z", datetime(2026, 3, 2, 10, tzinfo=UTC)),
        ("061 2026", "%j %Y", date(2026, 3, 2)),
        (datetime(2026, 3, 2, 10), "%d/%m/%Y", datetime(2026, 3, 2, 10)),
    ],
)
def test_a_format_says_how_a_date_is_read(value, form, made):
    assert parse_format(value, form) == made
    assert type(parse_format(value, form)) is type(made)
    assert format_fault(form) is None


@pytest.mark.parametrize("value", ["03-02-2026", "31/02/2026", "", "02/03/1999", True, None, []])
def test_a_date_that_does_not_fit_its_format_is_unmappable(value):
    with pytest.raises(UnmappableError):
        parse_format(value, "%d/%m/%Y")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("%d/%m/%Y %Q", "directive"),
        ("%d/%m/%Y %", "directive"),
        ("%d/%m/%Y %I:%M", "%I"),
        ("%d/%m/%Y %H:%M %Z", "%Z"),
        ("%d/%m", "year"),
        ("%m/%Y", "day"),
        ("%d/%Y", "month"),
        ("%%d/%%m/%%Y", "year"),
    ],
)
def test_a_format_that_would_have_to_guess_is_a_fault(form, words):
    assert words in (format_fault(form) or "")


@pytest.mark.parametrize(
    "value",
    ["1772409600000", 1772409600000, "2026-03-02T00:00:00Z", "2026-03-02", "2026-03-02T00:00:00-05:00"],
)
def test_a_date_only_property_is_the_day_whose_midnight_it_is(value):
    assert parse_day(value) == date(2026, 3, 2)


@pytest.mark.parametrize("value", ["2026-03-02T05:00:00Z", 1772409600001, "x"])
def test_a_date_only_property_that_is_not_midnight_is_unmappable(value):
    with pytest.raises(UnmappableError):
        parse_day(value)


# --- the rules -------------------------------------------------------------------------------

NOW = bogota(2, 10)


def test_a_date_that_is_fine_stays_as_it_is():
    assert apply(account(calling_hours=WEEK), bogota(2, 15), NOW) == Scheduled(bogota(2, 15))


def test_an_earlier_date_moves_to_now_and_the_lead_time():
    made = apply(account(), bogota(2, 10, 29, 59), NOW)
    assert made.date == bogota(2, 10, 30)
    assert "min_lead_minutes" in made.notes[0]


def test_a_date_at_exactly_the_lead_time_stays():
    assert apply(account(), bogota(2, 10, 30), NOW) == Scheduled(bogota(2, 10, 30))


def test_a_lead_of_zero_leaves_a_date_of_now_alone():
    assert apply(account(min_lead_minutes=0), NOW, NOW) == Scheduled(NOW)


def test_the_lead_time_never_falls_short_by_a_fraction_of_a_second():
    made = apply(account(), NOW, NOW + timedelta(microseconds=1))
    assert made.date == bogota(2, 10, 30, 1)


def test_a_past_date_becomes_now_and_the_lead_time_under_asap():
    made = apply(account(late="asap"), bogota(1, 9), NOW)
    assert made.date == bogota(2, 10, 30)
    assert "past" in made.notes[0]


def test_a_past_date_is_dropped_under_drop():
    made = apply(account(late="drop"), bogota(2, 9, 59, 59), NOW)
    assert isinstance(made, Drop)
    assert "late" in made.reason


def test_a_date_in_the_second_that_runs_is_not_past():
    made = apply(account(late="drop", min_lead_minutes=0), NOW, NOW + timedelta(milliseconds=900))
    assert isinstance(made, Scheduled)


def test_a_date_inside_the_lead_time_is_not_late():
    assert apply(account(late="drop"), bogota(2, 10, 1), NOW).date == bogota(2, 10, 30)


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
    made = apply(account(calling_hours=WEEK), asked, bogota(1))
    assert made.date == sent
    assert bool(made.notes) == (asked != sent)


def test_a_date_in_the_break_moves_to_the_end_of_the_break():
    assert next_opening(SPLIT, bogota(2, 12)) == bogota(2, 14)


def test_the_lead_time_may_carry_a_date_over_closing_time():
    made = apply(account(calling_hours=WEEK), bogota(2, 18, 40), bogota(2, 18, 35))
    assert made.date == bogota(3, 7)
    assert len(made.notes) == 2


def test_asap_stays_inside_the_hours():
    assert apply(account(calling_hours=WEEK), bogota(1, 9), bogota(2, 22)).date == bogota(3, 7)


def test_a_window_that_ends_at_midnight_is_open_until_the_day_ends():
    late = CallingHours(windows=(((time(20), time(0)),),) * 7)
    assert is_open(late, bogota(2, 23, 59, 59))
    assert next_opening(late, bogota(2, 0)) == bogota(2, 20)


def test_hours_that_never_open_drop_the_recall():
    assert isinstance(apply(account(calling_hours=NEVER), bogota(2, 15), NOW), Drop)


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
    made = apply(account(timezone="America/New_York"), now, now)
    assert made.date.isoformat() == "2026-03-08T03:15:00-04:00"


def test_a_date_asked_on_another_clock_is_sent_on_the_accounts():
    made = apply(account(), datetime(2026, 3, 2, 20, tzinfo=UTC), NOW)
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
    made = apply(made_for, wanted, now)
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
    made = apply(made_for, wanted, now)
    if isinstance(made, Scheduled):
        assert apply(made_for, made.date, now) == Scheduled(made.date)


@given(
    made_for=accounts, wanted=moments, earlier=moments, wait=st.timedeltas(timedelta(0), timedelta(days=2))
)
def test_a_date_that_is_still_fine_when_its_time_comes_is_not_moved(made_for, wanted, earlier, wait):
    made = apply(made_for, wanted, earlier)
    now = earlier + wait
    lead = timedelta(minutes=made_for.min_lead_minutes)
    if isinstance(made, Scheduled) and made.date.astimezone(UTC) >= now + lead:
        assert apply(made_for, made.date, now) == Scheduled(made.date)


@given(moment=moments, zone=zones)
def test_what_is_written_as_iso_or_epoch_is_read_back(moment, zone):
    whole = moment.replace(microsecond=0).astimezone(ZoneInfo(zone))
    forms = [whole.isoformat(), int(whole.timestamp()), str(int(whole.timestamp() * 1000)), whole]
    assert {read(form, ZoneInfo(zone)).astimezone(UTC) for form in forms} == {whole.astimezone(UTC)}


@given(value=st.text(max_size=30) | st.text("0123456789-:T.Z+ ", max_size=30) | st.integers() | st.floats())
def test_every_value_is_a_date_or_unmappable(value):
    try:
        made = read(value, hours=WEEK)
    except UnmappableError:
        return
    assert 1999 <= made.year <= 2101


@pytest.mark.parametrize("value", ["1" + " " * 300 + "x", "2026-03-02T10:00" + " " * 10 + "0" * 200])
def test_a_text_longer_than_any_date_is_not_even_looked_at(value):
    """Between its words a long run of blanks took time with the square of its length."""
    for read_ in (parse_moment, lambda text: parse_format(text, "%d/%m/%Y %I:%M %p")):
        with pytest.raises(UnmappableError, match="characters"):
            read_(value)
