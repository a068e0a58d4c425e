from datetime import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.schedule.calling_hours import DAYS, PRESETS, CallingHoursError, read_hours


def window(text: str) -> tuple[time, time]:
    start, end = text.split("-")
    return time.fromisoformat(start), time(0) if end == "24:00" else time.fromisoformat(end)


def issues_of(value: object) -> dict[tuple[str | int, ...], tuple[str, str | None]]:
    with pytest.raises(CallingHoursError) as caught:
        read_hours(value)
    return {issue.place: (issue.allowed, issue.found) for issue in caught.value.issues}


@pytest.mark.parametrize(
    ("preset", "week", "holidays"),
    [
        ("co-ley-2300", ["07:00-19:00"] * 5 + ["08:00-15:00", ""], "CO"),
        ("ec-cobranza", ["07:00-20:00"] * 5 + ["", ""], "EC"),
        ("pe-cobranza", ["07:00-20:00"] * 5 + ["", ""], "PE"),
        ("mx-cobranza", ["07:00-22:00"] * 7, None),
        ("us-tcpa", ["08:00-21:00"] * 7, None),
    ],
)
def test_a_preset_has_the_windows_that_users_of_its_country_ask_for(preset, week, holidays):
    hours = read_hours(preset)
    assert hours.windows == tuple((window(day),) if day else () for day in week)
    assert hours.holidays == holidays


def test_a_mistyped_preset_is_refused_with_the_nearest_and_all_that_there_are():
    allowed, _ = issues_of("co-ley-2301")[()]
    assert 'Did you mean "co-ley-2300"?' in allowed
    assert all(name in allowed for name in PRESETS)


def test_a_day_that_is_not_named_is_closed():
    hours = read_hours({"tuesday": ["08:00-12:00", "14:00-18:00"]})
    assert hours.windows == ((), (window("08:00-12:00"), window("14:00-18:00")), (), (), (), (), ())
    assert hours.holidays is None


def test_what_is_said_of_fewer_days_wins():
    hours = read_hours(
        {"friday": "09:00-10:00", "weekdays": "08:00-18:00", "every_day": "10:00-11:00", "sunday": []}
    )
    assert hours.windows == (
        *[(window("08:00-18:00"),)] * 4,
        (window("09:00-10:00"),),
        (window("10:00-11:00"),),
        (),
    )


def test_weekend_is_saturday_and_sunday():
    hours = read_hours({"weekend": "08:00-12:00"})
    assert [bool(day) for day in hours.windows] == [False] * 5 + [True] * 2


@pytest.mark.parametrize("text", ["18:00-24:00", "18:00-00:00"])
def test_midnight_may_close_a_window(text):
    assert read_hours({"monday": text}).windows[0] == ((time(18), time(0)),)


@pytest.mark.parametrize("text", ["8:00-9:30", " 08:00 - 09:30 ", "08:00\u201309:30"])
def test_hours_are_read_as_people_write_them(text):
    assert read_hours({"monday": text}).windows[0] == ((time(8), time(9, 30)),)


def test_windows_are_sorted_and_those_that_touch_are_joined():
    hours = read_hours({"monday": ["14:00-16:00", "12:00-14:00", "08:00-10:00"]})
    assert hours.windows[0] == (window("08:00-10:00"), window("12:00-16:00"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "08:00",
        "08:00-08:00",
        "18:00-08:00",
        "22:00-06:00",
        "08:60-09:00",
        "08:75-12:00",
        "08:00-09:60",
        "08:00-24:01",
        "25:00-26:00",
        "8-9",
        "08:00-12:00h",
        "0٨:00-09:00",
    ],
)
def test_a_window_that_is_none_is_refused_at_its_place(text):
    assert "with the earlier time first" in issues_of({"monday": ["06:00-07:00", text]})["monday", 1][0]
    assert "with the earlier time first" in issues_of({"monday": text})["monday",][0]


def test_windows_that_overlap_are_refused():
    places = issues_of({"monday": ["08:00-12:00", "11:59-13:00", "07:00-08:01"], "tuesday": "08:00-12:00"})
    assert places.keys() == {("monday", 1), ("monday", 2)}
    assert "do not overlap" in places["monday", 1][0]


@pytest.mark.parametrize("value", [5, True, None, {"from": "08:00"}])
def test_a_day_that_is_no_list_of_windows_is_refused(value):
    assert "a list of windows" in issues_of({"monday": value, "tuesday": "08:00-09:00"})["monday",][0]


@pytest.mark.parametrize("value", [8, ["08:00-12:00", 8]])
def test_a_window_that_is_no_text_is_refused(value):
    assert issues_of({"monday": value})


@pytest.mark.parametrize("value", ["XX", "co", "Colombia", 57, ["CO"]])
def test_holidays_of_a_country_that_is_not_known_are_refused(value):
    assert "public holidays" in issues_of({"monday": "08:00-09:00", "holidays": value})["holidays",][0]


def test_holidays_may_be_those_of_another_country():
    assert read_hours({"monday": "08:00-09:00", "holidays": "EC"}).holidays == "EC"


def test_an_unknown_key_is_refused_with_the_nearest():
    allowed, found = issues_of({"monday": "08:00-09:00", "thusday": []})["thusday",]
    assert allowed.endswith('Did you mean "thursday"?')
    assert found == "an unknown key"


@pytest.mark.parametrize("value", [{}, {"monday": []}, {"holidays": "CO"}])
def test_hours_without_any_window_are_refused(value):
    assert issues_of(value) == {(): ("at least one day with a window", "a table without a window")}


@pytest.mark.parametrize("value", [5, ["08:00-18:00"], True])
def test_what_is_neither_preset_nor_table_is_refused(value):
    assert "a preset" in issues_of(value)[()][0]


def test_all_issues_are_reported_at_once():
    assert issues_of({"monday": "x", "tusday": [], "holidays": "XX"}).keys() == {
        ("monday",),
        ("tusday",),
        ("holidays",),
    }


minutes = st.integers(0, 24 * 60)


@given(
    st.dictionaries(
        st.sampled_from(DAYS), st.lists(st.tuples(minutes, minutes), min_size=1, max_size=4), min_size=1
    )
)
def test_hours_that_are_read_are_sorted_and_neither_overlap_nor_touch(table):
    texts = {
        day: [f"{a // 60:02}:{a % 60:02}-{b // 60:02}:{b % 60:02}" for a, b in windows]
        for day, windows in table.items()
    }
    try:
        hours = read_hours(texts)
    except CallingHoursError:
        return
    for windows in hours.windows:
        ends = [(start, end if end != time(0) else time.max) for start, end in windows]
        assert all(start < end for start, end in ends)
        assert all(before[1] < after[0] for before, after in pairwise(ends))
