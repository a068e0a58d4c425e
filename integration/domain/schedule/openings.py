"""Apply calling hours to the calendar: whether they are open at a moment, and the next opening."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from integration.domain.schedule.holidays import closed_days

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from integration.domain.account import CallingHours
    from integration.domain.field_types import Window

DAYS_SEARCHED: Final = 400  # how far to look for the next opening, more than a year of closed days


def is_open(hours: CallingHours, moment: datetime) -> bool:
    """Return True if the wall clock time of `moment` is in a window. The end of a window is exclusive."""
    wall = moment.time()
    return any(
        opens <= wall and (wall < closes or closes == time(0))
        for opens, closes in _windows(hours, moment.date())
    )


def next_opening(hours: CallingHours, moment: datetime) -> datetime | None:
    """Return `moment` if it is inside the hours, else the next opening.

    Return None if there is no opening within DAYS_SEARCHED days. `moment` is aware, in the account's
    zone. Its wall clock time counts, because wolkvox receives no zone.
    """
    if is_open(hours, moment):
        return moment
    return next(
        (opening for opening in openings(hours, moment) if _instant(opening) > _instant(moment)), None
    )


def open_time(hours: CallingHours, zone: ZoneInfo, begin: datetime, end: datetime) -> timedelta:
    """Return the part of the time from `begin` to `end` (aware) that is inside the hours in `zone`.

    Only the last DAYS_SEARCHED days count.
    """
    first = max(begin, end - timedelta(days=DAYS_SEARCHED))
    day, last, total = first.astimezone(zone).date(), end.astimezone(zone).date(), timedelta(0)
    while day <= last:
        for opens, closes in _windows(hours, day):
            until = day + timedelta(days=1) if closes == time(0) else day
            start = _instant(datetime.combine(day, opens, tzinfo=zone))
            stop = _instant(datetime.combine(until, closes, tzinfo=zone))
            total += max(timedelta(0), min(stop, _instant(end)) - max(start, _instant(first)))
        day += timedelta(days=1)
    return total


def openings(hours: CallingHours, start: datetime) -> Iterator[datetime]:
    """Yield the openings of the hours on DAYS_SEARCHED days in order, from the day of `start` (aware).

    The first opening can be before `start` on the same day.
    """
    zone, first = start.tzinfo, start.date()
    for offset in range(DAYS_SEARCHED):
        day = first + timedelta(days=offset)
        for opens, _ in _windows(hours, day):
            opening = _instant(datetime.combine(day, opens, tzinfo=zone)).astimezone(zone)
            if is_open(hours, opening):  # False if a clock change skips the whole window
                yield opening


def _instant(moment: datetime) -> datetime:
    # Python compares aware datetimes of the same zone by wall clock, which is wrong around a clock change.
    return moment.astimezone(UTC)


def _windows(hours: CallingHours, day: date) -> tuple[Window, ...]:
    if hours.holidays is not None and day in closed_days(hours.holidays, day.year):
        return ()
    return hours.windows[day.weekday()]
