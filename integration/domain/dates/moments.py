"""Parse the forms of a date that need no format, because each has only one meaning."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from integration.domain.dates.names import MONTHS, WEEKDAYS
from integration.domain.dates.texts import ALLOWED, date_text, in_range, shape, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ALLOWED", "in_zone", "parse_day", "parse_moment", "parse_time_on"]

_CLOCK = r"((?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:[.,]\d{1,9})?)?)"  # 24:00 and leap seconds do not match
_OFFSET = r"(Z|[+-]\d{2}(?::?\d{2})?)"
# RFC 9557 writes the name of the zone in brackets, and others after a space. Names that depend on
# the machine (localtime, posix/…, right/…) do not match.
_ZONE = r"((?!posix/|right/)[a-z][\w+-]*(?:/[\w+-]+)+|UTC|GMT)"
_ZONE_NAME = rf"(?: ?\[{_ZONE}\]| {_ZONE})"
_ISO = re.compile(
    rf"(\d{{4}}-\d{{2}}-\d{{2}})[T ]{_CLOCK} ?{_OFFSET}?{_ZONE_NAME}?",
    re.ASCII | re.IGNORECASE,
)
_ISO_BASIC = re.compile(
    rf"(\d{{8}})T((?:[01]\d|2[0-3])[0-5]\d(?:[0-5]\d(?:[.,]\d{{1,9}})?)?){_OFFSET}?",
    re.ASCII | re.IGNORECASE,
)
# "09:00-12:00" can be 9 o'clock with the offset -12:00, or the time from 9 to 12 o'clock.
_TIME_AND_LATER = re.compile(r"[\d-]{10} (\d\d):(\d\d) ?-(\d\d)(?::?(\d\d))?", re.ASCII)
_DATE_ALONE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_EPOCH = re.compile(r"(\d{10})(\d{9}|\d{6}|\d{3})?(?:\.(\d{1,9}))?", re.ASCII)
# .NET's JSON. The milliseconds are UTC; the offset is the one of the server.
_DOTNET = re.compile(r"/Date\((\d{13})(?:[+-]\d{4})?\)/", re.ASCII)
_COMPACT = re.compile(r"\d{8}(?:[01]\d|2[0-3])[0-5]\d[0-5]\d", re.ASCII)
_RFC_2822 = re.compile(
    r"(?:(?P<weekday>[a-z]{3}),\s?)?(?P<day>\d{1,2}) (?P<month>[a-z]{3}) (?P<year>\d{4}) "
    rf"(?P<clock>{_CLOCK}) (?P<zone>[+-]\d{{4}}|[a-z]{{2,3}})(?: \([a-z ]{{1,40}}\))?",
    re.ASCII | re.IGNORECASE,
)
# RFC 2822, 4.3. CST and CDT are left out: senders in Mexico and Cuba mean other zones by them.
_RFC_2822_ZONES: Final = {
    "UT": "+0000", "UTC": "+0000", "GMT": "+0000", "EST": "-0500", "EDT": "-0400", "MST": "-0700",
    "MDT": "-0600", "PST": "-0800", "PDT": "-0700",
}  # fmt: skip
_TIME = re.compile(_CLOCK, re.ASCII)
_SALESFORCE_TIME = re.compile(r"(\d{2}:\d{2}:\d{2}\.\d{3})Z", re.ASCII)


def parse_moment(value: object) -> datetime | date:
    """Return the moment of a value in one of the forms with one meaning.

    The result is an aware datetime if the form has an offset or a zone (epochs are UTC), a naive datetime
    if it has none, and a date if it has no time. A datetime or a date is returned unchanged. Raise
    UnmappableError for every other form, and for a year before 2000 or after 2100.
    """
    if isinstance(value, datetime | date):
        return in_range(value)
    text = date_text(value)
    try:
        moment = next((read for form in _FORMS if (read := form(text)) is not None), None)
    except (ValueError, LookupError, OverflowError, OSError):  # OSError: ZoneInfo, for the name of a folder
        moment = None
    if moment is None:
        raise unreadable(f"a {'text' if isinstance(value, str) else 'number'} shaped like {shape(text)!r}")
    return in_range(moment)


def parse_day(value: object) -> date:
    """Return the date of a value that is a date or midnight of a date.

    HubSpot stores date properties as epoch milliseconds of midnight UTC
    (https://developers.hubspot.com/docs/api/crm/properties). Raise UnmappableError for a moment that is
    not midnight in its own offset, because its day would be a guess.
    """
    moment = parse_moment(value)
    if not isinstance(moment, datetime):
        return moment
    if moment.time() != time(0):
        raise unreadable("a moment that is not midnight", "a date, or midnight UTC of a date")
    return moment.date()


def parse_time_on(day: object, clock: object) -> datetime:
    """Return the naive datetime of a day and a time of day from two fields.

    `day` is a date, or a value for `parse_day`. `clock` is HH:MM or HH:MM:SS, with or without a fraction
    of a second, or a time field of Salesforce, `15:04:00.000Z`. Such a field has neither a day nor a
    zone, so its Z has no meaning
    (https://developer.salesforce.com/docs/atlas.en-us.api.meta/api/primitive_data_types.htm). Raise
    UnmappableError for every other text, also for one with another offset.
    """
    text = date_text(clock)
    match = _TIME.fullmatch(text) or _SALESFORCE_TIME.fullmatch(text)
    try:
        parsed = time.fromisoformat(match[1].replace(",", ".")) if match else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise unreadable(f"a time shaped like {shape(text)!r}", "HH:MM, HH:MM:SS or HH:MM:SS.sssZ")
    return datetime.combine(parse_day(day), parsed)


def in_zone(moment: datetime, zone: ZoneInfo) -> datetime:
    """Return `moment` in `zone`, in whole seconds. A moment without an offset is a time in `zone`."""
    whole = moment.replace(microsecond=0)
    if whole.tzinfo is None:
        whole = whole.replace(tzinfo=zone, fold=0)
    return whole.astimezone(UTC).astimezone(zone)


def _epoch(text: str) -> datetime | None:
    match = _EPOCH.fullmatch(text)
    if match is None:
        return None
    fraction = (match[2] or "") + (match[3] or "")
    return _utc(int(match[1]), fraction)


def _dotnet(text: str) -> datetime | None:
    match = _DOTNET.fullmatch(text)
    return None if match is None else _utc(int(match[1][:10]), match[1][10:])


def _utc(seconds: int, fraction: str) -> datetime:
    microsecond = int(fraction.ljust(6, "0")[:6])
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microsecond)


def _compact(text: str) -> datetime | None:
    if not _COMPACT.fullmatch(text):
        return None
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")


def _date_alone(text: str) -> date | None:
    return date.fromisoformat(text) if _DATE_ALONE.fullmatch(text) else None


def _iso(text: str) -> datetime | None:
    match = _ISO.fullmatch(text)
    if match is None or _is_period(text):
        return None
    offset = (match[3] or "").upper()
    moment = datetime.fromisoformat(f"{match[1]}T{match[2]}{offset}")
    name = match[4] or match[5]
    return moment if name is None else _in_named_zone(moment, offset, name)


def _is_period(text: str) -> bool:
    """Return True if the text can also be read as a period.

    "09:00-12:00" can be; "17:00-05:00" cannot, because 05:00 is before 17:00.
    """
    match = _TIME_AND_LATER.fullmatch(text)
    return match is not None and match.group(1, 2) < (match[3], match[4] or "00")


def _in_named_zone(moment: datetime, offset: str, name: str) -> datetime | None:
    """Return a moment in the zone that its text names, or None if its offset is not one of that zone.

    Z and the name of a zone do not contradict each other (RFC 9557, 2.2).
    """
    zone = ZoneInfo(name)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=zone)
    local = moment.astimezone(zone)
    return local if offset == "Z" or local.utcoffset() == moment.utcoffset() else None


def _iso_basic(text: str) -> datetime | None:
    match = _ISO_BASIC.fullmatch(text)
    return match and datetime.fromisoformat(f"{match[1]}T{match[2]}{(match[3] or '').upper()}")


def _rfc_2822(text: str) -> datetime | None:
    match = _RFC_2822.fullmatch(text)
    if match is None:
        return None
    zone = match["zone"].upper()
    day = date(int(match["year"]), MONTHS[match["month"].lower()], int(match["day"]))
    weekday = match["weekday"]
    if weekday is not None and WEEKDAYS[weekday.lower()] != day.weekday():
        return None
    offset = zone if zone[0] in "+-" else _RFC_2822_ZONES[zone]
    return datetime.fromisoformat(f"{day.isoformat()}T{match['clock']}{offset}")


_FORMS: Final[tuple[Callable[[str], datetime | date | None], ...]] = (
    _epoch, _iso, _date_alone, _compact, _iso_basic, _rfc_2822, _dotnet,
)  # fmt: skip
