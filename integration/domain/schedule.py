"""Parse the requested date of a callback, and apply lateness, lead time and calling hours to it. Pure.

Only unambiguous forms of `recall_date` are parsed; a format is never guessed. A callback is never moved to
before its requested date.
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
_DAYS_SEARCHED = 400  # how far to look for the next opening, more than a year of closed days
_SHAPE_LENGTH = 40
_LONGEST_TEXT = 200  # characters; longer than any date, and limits the cost of parsing
_TOO_BIG = 10**15  # has more digits than any form of a date

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
    """The date to send to wolkvox, aware, in the account's zone. `notes` explains each change of the date."""

    date: datetime
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Drop:
    """The callback must not be made. `reason` explains why."""

    reason: str


# --- the rules -------------------------------------------------------------------------------


def apply(account: Account, wanted: datetime, now: datetime) -> Scheduled | Drop:
    """Return the date to send to wolkvox for the requested date, or Drop.

    `wanted` and `now` are aware. A date before `now` (whole seconds) is dropped if the account has
    `late = "drop"`. Other dates are moved to the first second that is at least `min_lead_minutes` after
    `now` and inside the calling hours. The function is idempotent for the same `now`: a date that satisfies
    the rules stays unchanged.
    """
    requested = in_zone(wanted, account.timezone)
    past = requested < now.replace(microsecond=0)
    if past and account.late == "drop":
        return Drop("the date was in the past, and the account has late = drop")
    date_, notes = requested, []
    earliest = _next_whole_second(now + timedelta(minutes=account.min_lead_minutes))
    if requested.astimezone(UTC) < earliest:
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
    """Return True if the wall clock time of `moment` is in a window. The end of a window is exclusive."""
    wall = moment.time()
    return any(
        opens <= wall and (wall < closes or closes == time(0))
        for opens, closes in _windows(hours, moment.date())
    )


def next_opening(hours: CallingHours, moment: datetime) -> datetime | None:
    """Return `moment` if it is inside the hours, else the next opening, or None if there is none.

    `moment` is aware, in the account's zone. Its wall clock time decides, because wolkvox receives no zone.
    """
    if is_open(hours, moment):
        return moment
    return next(
        (opening for opening in _openings(hours, moment) if _instant(opening) > _instant(moment)), None
    )


def open_time(hours: CallingHours, zone: ZoneInfo, begin: datetime, end: datetime) -> timedelta:
    """Return how much of the time between `begin` and `end` (aware) is inside the hours in `zone`.

    At most the last _DAYS_SEARCHED days are considered.
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
        return f"the date was in the past, late = asap: {lead}"
    return f"earlier than min_lead_minutes allows: {lead}"


def _next_whole_second(moment: datetime) -> datetime:
    round_up = timedelta(seconds=1) if moment.microsecond else timedelta(0)
    return (moment.replace(microsecond=0) + round_up).astimezone(UTC)


def _instant(moment: datetime) -> datetime:
    # Python compares aware datetimes of the same zone by wall clock, which is wrong around a clock change.
    return moment.astimezone(UTC)


def _openings(hours: CallingHours, start: datetime) -> Iterator[datetime]:
    """Yield every opening from the day of `start` on, in order."""
    zone, first = start.tzinfo, start.date()
    for offset in range(_DAYS_SEARCHED):
        day = first + timedelta(days=offset)
        for opens, _ in _windows(hours, day):
            opening = _instant(datetime.combine(day, opens, tzinfo=zone)).astimezone(zone)
            if is_open(hours, opening):  # False if a clock change skips the whole window
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
    """Return a `recall_date` as an aware datetime in `zone`, in whole seconds. Raise UnmappableError.

    A time without an offset is in `zone`. A time in the gap of a clock change moves forward by the gap
    (02:30 becomes 03:30). If an hour occurs twice, the first is used. A date alone becomes the first opening
    of `hours` on that day or later. Without `hours`, a date alone is an error.
    """
    moment = parse_moment(value)
    if isinstance(moment, datetime):
        return in_zone(moment, zone)
    if hours is None:
        raise _unreadable("a date without a time, and the account has no calling_hours")
    opening = next(_openings(hours, in_zone(datetime.combine(moment, time(0)), zone)), None)
    if opening is None:
        raise _unreadable("a date without a time, and no calling hours after it")
    return opening


def parse_moment(value: object) -> datetime | date:
    """Return the moment of a value in one of the accepted forms.

    The result is an aware datetime if the form has an offset (epochs are UTC), a naive datetime if it has
    none, and a date if it has no time. Raise UnmappableError, which describes the shape of the value and
    never quotes it.
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
    """Return `value` parsed with the strptime format `form`; a date if the format has no time.

    The Spanish "a. m." and "p. m." are read as AM and PM. Raise UnmappableError.
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
    """Return the date of a date-only property, which CRMs send as midnight UTC.

    HubSpot stores date properties as epoch milliseconds of midnight UTC
    (https://developers.hubspot.com/docs/api/crm/properties). Raise UnmappableError for a moment that is not
    midnight in its own offset, because its day would be a guess.
    """
    moment = parse_moment(value)
    if not isinstance(moment, datetime):
        return moment
    if moment.time() != time(0):
        raise _unreadable("a moment that is not midnight", "a date, or midnight UTC of a date")
    return moment.date()


@lru_cache(maxsize=1024)
def format_fault(form: str) -> str | None:
    """Return a description of the error in a format for `date(…)`, or None.

    Called when the configuration is read.
    """
    directives = set(re.findall(r"%(.)", form.replace("%%", ""), re.DOTALL))
    try:
        datetime.strptime("", form)  # noqa: DTZ007  (only validates the format)
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
    """Return `moment` in `zone`, in whole seconds. A naive moment is taken as a time in `zone`."""
    whole = moment.replace(microsecond=0)
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=zone, fold=0)
    return whole.astimezone(UTC).astimezone(zone)


def shape(text: str) -> str:
    """Return the shape of a text without its content: digits as 9, letters as a, at most 40 characters."""
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
    if not abs(value) < _TOO_BIG:  # False for inf and nan, too
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
