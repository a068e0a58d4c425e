"""From the date that was asked for to the date that wolkvox gets. Pure: no clock, `now` is handed in.

Reads the forms of `recall_date` that have one meaning and refuses all others; applies lateness, lead
time and calling hours. Never guesses a format, never moves a callback to before it was asked for,
never says that calling hours make anything lawful.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from holidays import country_holidays

from integration.domain.errors import UnmappableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from zoneinfo import ZoneInfo

    from integration.domain.account import Account, CallingHours
    from integration.domain.field_types import Window

FIRST_YEAR, LAST_YEAR = 2000, 2100
ALLOWED = (
    "ISO 8601, epoch seconds (10 digits) or milliseconds (13 digits), YYYYmmddHHMMSS, a date alone where "
    f"the account has calling_hours, years {FIRST_YEAR} to {LAST_YEAR}; other forms by date(format)"
)
_FIELD = "recall_date"
_DAYS_SEARCHED = 400  # for an opening: longer than any run of closed days that is meant
_SHAPE_LENGTH = 40
_LONGEST_TEXT = 200  # characters: no form of a date is as long, and reading one takes longer than its length
_TOO_BIG = 10**15  # more digits than any form of a date has

_ISO = re.compile(
    r"(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?) ?(Z|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
_ISO_BASIC = re.compile(
    r"(\d{8})T(\d{4}(?:\d{2}(?:[.,]\d{1,9})?)?)(Z|[+-]\d{2}(?::?\d{2})?)?", re.ASCII | re.IGNORECASE
)
_DATE_ALONE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_SECONDS = re.compile(r"(\d{10})(?:\.(\d{1,9}))?", re.ASCII)
_MILLISECONDS = re.compile(r"(\d{10})(\d{3})(?:\.\d{1,9})?", re.ASCII)
_COMPACT = re.compile(r"\d{14}", re.ASCII)
_HALF_DAY = re.compile(r"(?:(?<=\d)|\s)\s*([ap])\.?\s?m\b\.?", re.IGNORECASE)
_MomentT = TypeVar("_MomentT", datetime, date)


@dataclass(frozen=True, slots=True)
class Scheduled:
    """The date that wolkvox gets, aware, in the account's zone; `notes` says why it is not the asked one."""

    date: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The callback is not to be made; `reason` says why."""

    reason: str


# --- the rules -------------------------------------------------------------------------------


def apply(account: Account, wanted: datetime, now: datetime) -> Scheduled | Drop:
    """Apply lateness, lead time and calling hours to the date that was asked for.

    `wanted` and `now` are aware. A date past at `now` (whole seconds) is dropped under `late = "drop"`.
    All others are moved, where they must be, to the first second that is at least
    `min_lead_minutes` after `now` and inside the hours. A date that is fine stays as it is, so applying
    the rules again to what they gave, at the same `now`, changes nothing.
    """
    asked = in_zone(wanted, account.timezone)
    past = asked < now.replace(microsecond=0)
    if past and account.late == "drop":
        return Drop("the date was past when its time comes, and the account has late = drop")
    date_, notes = asked, []
    earliest = _next_whole_second(now + timedelta(minutes=account.min_lead_minutes))
    if asked.astimezone(UTC) < earliest:
        date_ = in_zone(earliest, account.timezone)
        notes.append(_why_earliest(account, past=past))
    if account.calling_hours is None:
        return Scheduled(date_, tuple(notes))
    opening = next_opening(account.calling_hours, date_)
    if opening is None:
        return Drop(f"there are no calling hours within {_DAYS_SEARCHED} days")
    if opening != date_:
        notes.append("moved to the next opening of the calling hours")
    return Scheduled(opening, tuple(notes))


def is_open(hours: CallingHours, moment: datetime) -> bool:
    """Tell whether the wall clock of `moment` is inside the hours: from the first second, before the last."""
    wall = moment.time()
    return any(
        opens <= wall and (wall < closes or closes == time(0))
        for opens, closes in _windows(hours, moment.date())
    )


def next_opening(hours: CallingHours, moment: datetime) -> datetime | None:
    """Give `moment` itself when it is inside the hours, else the next opening; None when there is none.

    `moment` is aware in the account's zone. What counts is the wall clock, because wolkvox gets no zone.
    """
    if is_open(hours, moment):
        return moment
    return next(
        (opening for opening in _openings(hours, moment) if _instant(opening) > _instant(moment)), None
    )


def open_time(hours: CallingHours, zone: ZoneInfo, begin: datetime, end: datetime) -> timedelta:
    """Give how much of the time between two moments (aware) lies inside the hours, on that zone's clock.

    Looks at the last _DAYS_SEARCHED days at most.
    """
    first = max(begin, end - timedelta(days=_DAYS_SEARCHED))
    day, last, total = first.astimezone(zone).date(), end.astimezone(zone).date(), timedelta(0)
    while day <= last:
        for opens, closes in _windows(hours, day):
            until = day + timedelta(days=1) if closes == time(0) else day
            start = _instant(datetime.combine(day, opens, tzinfo=zone))
            stop = _instant(datetime.combine(until, closes, tzinfo=zone))
            total += max(timedelta(0), min(stop, _instant(end)) - max(start, _instant(first)))
        day += timedelta(days=1)
    return total


def _why_earliest(account: Account, *, past: bool) -> str:
    lead = f"moved to {account.min_lead_minutes} minutes from now"
    if past:
        return f"the date was past, late = asap: {lead}"
    return f"earlier than min_lead_minutes allows: {lead}"


def _next_whole_second(moment: datetime) -> datetime:
    up = timedelta(seconds=1) if moment.microsecond else timedelta(0)
    return (moment.replace(microsecond=0) + up).astimezone(UTC)


def _instant(moment: datetime) -> datetime:
    # Aware datetimes of one zone compare by their wall clocks; around a clock change that is wrong.
    return moment.astimezone(UTC)


def _openings(hours: CallingHours, start: datetime) -> Iterator[datetime]:
    """Every opening from the day of `start` on, in order."""
    zone, first = start.tzinfo, start.date()
    for offset in range(_DAYS_SEARCHED):
        day = first + timedelta(days=offset)
        for opens, _ in _windows(hours, day):
            opening = _instant(datetime.combine(day, opens, tzinfo=zone)).astimezone(zone)
            if is_open(hours, opening):  # not so where a clock change swallows the window
                yield opening


def _windows(hours: CallingHours, day: date) -> tuple[Window, ...]:
    if hours.holidays is not None and day in _closed_days(hours.holidays, day.year):
        return ()
    return hours.windows[day.weekday()]


@lru_cache(maxsize=1024)
def _closed_days(country: str, year: int) -> frozenset[date]:
    return frozenset(country_holidays(country, years=year))


# --- reading ---------------------------------------------------------------------------------


def read_date(value: object, *, zone: ZoneInfo, hours: CallingHours | None = None) -> datetime:
    """Read a `recall_date`: an aware datetime in `zone`, in whole seconds.

    A time without a zone is the clock of `zone`. In the gap of a clock change it moves forward by the
    gap (02:30 becomes 03:30); where an hour comes twice the first is meant. A date alone is the first
    opening of `hours` that day, or the next one when that day is closed; without `hours` it is
    unmappable. Raises UnmappableError.
    """
    moment = parse_moment(value)
    if isinstance(moment, datetime):
        return in_zone(moment, zone)
    if hours is None:
        raise _unreadable("a date alone, and the account has no calling_hours")
    opening = next(_openings(hours, in_zone(datetime.combine(moment, time(0)), zone)), None)
    if opening is None:
        raise _unreadable("a date alone, and no calling hours after it")
    return opening


def parse_moment(value: object) -> datetime | date:
    """Read one of the forms that have one meaning.

    Gives an aware datetime where the form tells the zone (epochs are UTC), a naive one where it does
    not, a date where no time is told. Raises UnmappableError, which describes the shape of what was
    found and never quotes it.
    """
    if isinstance(value, datetime | date):
        return _in_range(value)
    text = _as_text(value)
    try:
        moment = _parse_text(text)
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise _unreadable(f"a {'text' if isinstance(value, str) else 'number'} shaped like {shape(text)!r}")
    return _in_range(moment)


def parse_format(value: object, form: str) -> datetime | date:
    """Read `value` as the strptime format `form` says; a date alone where the format has no time.

    The Spanish "a. m." and "p. m." are read as AM and PM. Raises UnmappableError.
    """
    if isinstance(value, datetime | date):
        return _in_range(value)
    text = _as_text(value)
    try:
        moment = datetime.strptime(_english_half_days(text, form), form)  # noqa: DTZ007  (the zone comes later)
    except ValueError as error:
        raise _unreadable(f"a text shaped like {shape(text)!r}", f"a text in the format {form}") from error
    return (
        _in_range(moment) if re.search(r"%[HIMSfpcX]", form.replace("%%", "")) else _in_range(moment.date())
    )


def parse_day(value: object) -> date:
    """Read a date-only property, which CRMs send as midnight UTC, as the date that was meant.

    HubSpot stores date properties as epoch milliseconds of midnight UTC
    (https://developers.hubspot.com/docs/api/crm/properties). A moment that is not midnight by its own
    offset is refused: the day it belongs to would be a guess. Raises UnmappableError.
    """
    moment = parse_moment(value)
    if not isinstance(moment, datetime):
        return moment
    if moment.time() != time(0):
        raise _unreadable("a moment that is not midnight", "a date, or midnight UTC of a date")
    return moment.date()


@lru_cache(maxsize=1024)
def format_fault(form: str) -> str | None:
    """Say what is wrong with a format given to `date(…)`, or None; asked when the configuration is read."""
    directives = set(re.findall(r"%(.)", form.replace("%%", ""), re.DOTALL))
    try:
        datetime.strptime("", form)  # noqa: DTZ007  (nothing is read: only the format is tried)
    except ValueError as error:
        if "does not match" not in str(error):
            return "a format with an unknown directive"
    if "Z" in directives:
        return "a format with %Z, which loses the zone (use %z, or the zone filter)"
    if "I" in directives and "p" not in directives:
        return "a format with %I and no %p, so 10 could be morning or evening"
    if not _names_a_date(directives):
        return "a format that does not name a year, a month and a day"
    return None


def in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """Give `moment` on the clock of `zone`, in whole seconds; a naive one is read on that clock."""
    whole = moment.replace(microsecond=0)
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=zone, fold=0)
    return whole.astimezone(UTC).astimezone(zone)


def shape(text: str) -> str:
    """Show how a text is built but not what it says: digits as 9, letters as a, 40 characters at most."""
    cut = text[:_SHAPE_LENGTH]
    masked = "".join(
        "9" if c.isdigit() else "a" if c.isalpha() else c if c.isprintable() else "?" for c in cut
    )
    return masked + "…" if len(text) > _SHAPE_LENGTH else masked


def _parse_text(text: str) -> datetime | date | None:
    if match := _SECONDS.fullmatch(text) or _MILLISECONDS.fullmatch(text):
        microsecond = int((match[2] or "").ljust(6, "0")[:6])
        return datetime.fromtimestamp(int(match[1]), UTC).replace(microsecond=microsecond)
    if _COMPACT.fullmatch(text):
        return datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  (naive means the account's zone)
    if _DATE_ALONE.fullmatch(text):
        return date.fromisoformat(text)
    if match := _ISO.fullmatch(text) or _ISO_BASIC.fullmatch(text):
        return datetime.fromisoformat(f"{match[1]}T{match[2]}{(match[3] or '').upper()}")
    return None


def _as_text(value: object) -> str:
    if isinstance(value, str):
        text = value.strip()
        if len(text) > _LONGEST_TEXT:
            raise _unreadable(f"a text of {len(text)} characters")
        return text
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _unreadable("nothing" if value is None else f"a {type(value).__name__}")
    if not abs(value) < _TOO_BIG:  # so written that inf and nan are refused too
        raise _unreadable("a number out of range")
    return str(int(value)) if value == int(value) else f"{value:.6f}"


def _english_half_days(text: str, form: str) -> str:
    if "%p" not in form:
        return text
    gap = " " if re.search(r"\s%p", form) else ""
    return _HALF_DAY.sub(rf"{gap}\1m", text)


def _names_a_date(directives: set[str]) -> bool:
    if directives & set("cx"):
        return True
    day_of_year = "j" in directives
    day_of_month = "d" in directives and bool(directives & set("mbB"))
    return bool(directives & set("Yy")) and (day_of_year or day_of_month)


def _in_range(moment: _MomentT) -> _MomentT:
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise _unreadable("a date in a year that is out of range")
    return moment


def _unreadable(found: str, allowed: str = ALLOWED) -> UnmappableError:
    return UnmappableError(_FIELD, found, allowed)
