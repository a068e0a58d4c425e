"""The forms of a date that need no format, and the dates of an account."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.account import Account, CallingHours
from integration.domain.dates import parse_day, parse_format, parse_moment, parse_time_on, shape
from integration.domain.errors import UnmappableError
from integration.domain.schedule import read_date

BOGOTA = ZoneInfo("America/Bogota")
NEW_YORK = ZoneInfo("America/New_York")  # gap 2026-03-08 02:00-03:00, fold 2026-11-01 01:00-02:00
SANTIAGO = ZoneInfo("America/Santiago")  # gap at midnight, 2026-09-06 00:00-01:00
WEEK = CallingHours(windows=(((time(7), time(19)),),) * 5 + (((time(8), time(15)),), ()), holidays="CO")
ALWAYS = CallingHours(windows=(((time(0), time(0)),),) * 7)
NEVER = CallingHours(windows=((),) * 7)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def account(zone=BOGOTA, hours=None, days=36_500):
    return Account(
        name="a", server="0003", token="t", timezone=zone, calling_hours=hours, max_days_ahead=days
    )


def bogota(day, hour=0, minute=0, second=0):
    return datetime(2026, 3, day, hour, minute, second, tzinfo=BOGOTA)  # 2026-03-02 is a Monday


def read(value, zone=BOGOTA, hours=None):
    return read_date(account(zone, hours), value, NOW)


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
        "2026-03-02 10:00-05:00",
        "2026-03-02T05:00-10:00",
        "2026-03-03 05:00+14:00",
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
        "1772463600000000",
        1772463600999999,
        "1772463600000000000",
        1772463600000000001,
        "/Date(1772463600000)/",
        "/Date(1772463600000-0500)/",
        "2026-03-02T10:00:00[America/Bogota]",
        "2026-03-02T10:00:00-05:00[America/Bogota]",
        "2026-03-02T15:00:00Z[America/Bogota]",
        "2026-03-02 10:00:00 America/Bogota",
        "2026-03-02 12:00:00 America/Argentina/Buenos_Aires",
        "2026-03-02 15:00:00 UTC",
        "2026-03-02T10:00:00.0000000-05:00",
        "Mon, 02 Mar 2026 10:00:00 -0500",
        "Mon, 02 Mar 2026 15:00:00 GMT",
        "2 Mar 2026 15:00 UT",
        "Mon, 02 Mar 2026 15:00:00 -0000",
        "Mon, 2 Mar 2026 15:00:00 +0000 (UTC)",
        "Mon, 02 Mar 2026 10:00:00 EST",
        "Mon, 02 Mar 2026 07:00:00 PST",
        "\u200e2026-03-02T10:00:00\u200e",
        "\ufeff2026-03-02T10:00:00",
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
        "2026-03-02T10:00:00[America/Bogotá]",
        "2026-03-02T10:00:00[America]",
        "2026-03-02T10:00:00[../../etc/passwd]",
        "2026-03-02T10:00:00[u-ca=gregory]",
        "2026-03-02T10:00:00-03:00[America/Bogota]",
        "2026-03-02T15:00:00+00:00[America/Bogota]",
        "2026-03-02T10:00:00-03:00 America/Bogota",
        "2026-03-02T10:00:00[localtime]",
        "2026-03-02T10:00:00[Factory]",
        "2026-03-02 10:00:00 posix/America/Bogota",
        "2026-03-02T10:00:00[right/America/Bogota]",
        "2026-03-02 10:00-12:00",
        "2026-03-02 10:00 -12:00",
        "2026-03-02 10:00-1100",
        "2026-03-02 10:00-11",
        "2026-03-02T10:00-15:00",
        "2026-03-02T10:00:00+15:00",
        "2026-03-02 10:00:00 COT",
        "2026-03-02 10:00:00 EST",
        "20260302T240000",
        "20260302240000",
        "Mon, 02 Mar 2026 10:00:00 COT",
        "Mon, 02 Mar 2026 10:00:00 CST",
        "Mon, 02 Mar 2026 10:00:00 BRT",
        "Mon, 02 Mar 2026 10:00:00",
        "Tue, 02 Mar 2026 10:00:00 -0500",
        "Mon, 31 Feb 2026 10:00:00 -0500",
        "Mon, 02 Mar 26 10:00:00 -0500",
        "Mon, 02 Mar 2026 24:00:00 -0500",
        "/Date(1772463600)/",
        "/Date(-62135596800000)/",
        "Date(1772463600000)",
        "46086",
        "46086.625",
        46086.625,
        "05032026",
        "mañana 3pm",
        "hoy",
        "en 2 horas",
        "9:00 - 12:00",
        "entre 3 y 5",
        "15:00:00.000Z",
        "0000-00-00",
        "0000-00-00 00:00:00",
        "1900-01-01",
        "1970-01-01",
        "9999-12-31",
        "30/12/1899",
        "20260230100000",
        "20260302250000",
        "10:00",
        "+1772463600",
        "-1772463600",
        "946684799",
        "177246360",
        "17724636000",
        "177246360000",
        "17724636000000000",
        "177246360000000000",
        "9463115990000000",
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


@pytest.mark.parametrize(
    ("day", "clock"),
    [
        ("2026-03-02", "10:00:00.000Z"),
        ("2026-03-02", "10:00:00"),
        ("2026-03-02T00:00:00.000Z", "10:00"),
        (date(2026, 3, 2), "10:00:00.000"),
        ("1772409600000", "10:00"),
    ],
)
def test_a_day_and_a_time_field_are_the_accounts_clock(day, clock):
    """The Z of a Salesforce time field says nothing."""
    assert read(parse_time_on(day, clock)) == TEN


@pytest.mark.parametrize(
    ("day", "clock"),
    [
        ("2026-03-02", "10:00Z"),
        ("2026-03-02", "10:00:00-05:00"),
        ("2026-03-02", "24:00"),
        ("2026-03-02", "10:00:60"),
        ("2026-03-02", "99:00:00.000Z"),
        ("2026-03-02", "10"),
        ("2026-03-02", 10),
        ("2026-03-02", None),
        ("2026-03-02T05:00:00Z", "10:00"),
        ("2026-02-30", "10:00"),
    ],
)
def test_another_day_or_time_is_unmappable(day, clock):
    with pytest.raises(UnmappableError):
        parse_time_on(day, clock)


@pytest.mark.parametrize("value", ["2026-04-01T00:00:00Z", "2026-03-31T19:00:00", 1775001600])
def test_a_date_within_max_days_ahead_is_read(value):
    assert read_date(account(days=31), value, NOW).astimezone(UTC) == NOW + timedelta(days=31)


@pytest.mark.parametrize(
    "value", [3001112233, "3001112233", "2026-04-01T00:00:01Z", "2026-04-02", "Thu, 02 Apr 2026 00:00 GMT"]
)
def test_a_date_further_than_max_days_ahead_is_unmappable(value):
    """3001112233 is a telephone number of Colombia, and an epoch in 2065."""
    with pytest.raises(UnmappableError, match="31 days ahead"):
        read_date(account(hours=ALWAYS, days=31), value, NOW)


def test_max_days_ahead_is_a_year_unless_it_is_set():
    assert Account(name="a", server="0003", token="t", timezone="UTC").max_days_ahead == 365


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
    "value",
    ["1772409600000", 1772409600000, "2026-03-02T00:00:00Z", "2026-03-02", "2026-03-02T00:00:00-05:00"],
)
def test_a_date_only_property_is_the_day_whose_midnight_it_is(value):
    assert parse_day(value) == date(2026, 3, 2)


@pytest.mark.parametrize("value", ["2026-03-02T05:00:00Z", 1772409600001, "x"])
def test_a_date_only_property_that_is_not_midnight_is_unmappable(value):
    with pytest.raises(UnmappableError):
        parse_day(value)


zones = st.sampled_from(
    ["America/Bogota", "America/New_York", "America/Santiago", "Europe/Madrid", "Australia/Lord_Howe"]
)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))


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
