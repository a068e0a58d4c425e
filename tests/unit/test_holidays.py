"""Which days public holidays close, where the package `holidays` alone is wrong or must be new enough.

The days are those of facts of law, not of the package: see the comments.
"""

from __future__ import annotations

from datetime import date

import pytest

from integration.domain.schedule.holidays import closed_days

HOLIDAYS = [
    # Ley 2578 of 1 June 2026, article 6, moved to the Monday by Ley 51 of 1983.
    ("CO", "2026-07-13"),
    ("CO", "2027-07-12"),
    ("CO", "2028-07-10"),
    # Official list of Ecuador 2026-2030.
    ("EC", "2026-11-02"),
    ("EC", "2026-11-03"),
    ("EC", "2027-08-09"),
    ("EC", "2027-11-01"),
    ("EC", "2027-11-02"),
    ("EC", "2027-12-24"),
    ("EC", "2027-12-31"),
    ("EC", "2028-05-26"),
    ("EC", "2028-08-11"),
    ("EC", "2028-11-02"),
    ("EC", "2028-11-03"),
    # Two holidays on one day: Maundy Thursday is optional, the day of the veterans is not.
    ("AR", "2026-04-02"),
    ("AR", "2026-11-09"),
    ("AR", "2027-03-26"),
    ("CL", "2027-09-17"),
    ("PE", "2027-07-23"),
]
WORKING_DAYS = [
    # Ecuador moves the rest, so that the day itself is a working day (law of December 2016).
    ("EC", "2026-05-24"),
    ("EC", "2027-05-01"),
    ("EC", "2027-08-10"),
    ("EC", "2027-10-09"),
    ("EC", "2027-11-03"),
    ("EC", "2027-12-25"),
    ("EC", "2028-01-01"),
    ("EC", "2028-05-24"),
    ("EC", "2028-08-10"),
    # Argentina: "días no laborables", on which each employer decides (Ley 27.399, Resolución 164/2025).
    ("AR", "2026-03-23"),
    ("AR", "2026-07-10"),
    ("AR", "2026-12-07"),
    ("AR", "2027-03-25"),
    ("AR", "2028-04-13"),
]


@pytest.mark.parametrize(("country", "day"), HOLIDAYS)
def test_a_public_holiday_is_closed(country, day):
    assert date.fromisoformat(day) in closed_days(country, int(day[:4]))


@pytest.mark.parametrize(("country", "day"), WORKING_DAYS)
def test_a_moved_or_optional_holiday_is_open(country, day):
    assert date.fromisoformat(day) not in closed_days(country, int(day[:4]))


@pytest.mark.parametrize("year", range(2018, 2036))
def test_a_moved_holiday_of_ecuador_closes_one_day(year):
    """11 holidays: the first of the next year may be observed in this one."""
    first = date(year, 1, 1).weekday() != 5
    next_first = date(year + 1, 1, 1).weekday() == 5
    assert len(closed_days("EC", year)) == 10 + first + next_first
