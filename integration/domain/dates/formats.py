"""Parse a date with a format, as the template filter `date(format)` does.

The directives are those of strptime with a fixed meaning:
`%d %m %Y %y %j`, `%b %B` (month), `%a %A` (weekday), `%H %I %M %S %f`, `%p`, `%z` and `%%`.

strptime itself is not used. It takes names from the locale of the process, so that Spanish months fail
under the C locale; it ignores `%p` without `%I`, so that 03:30 PM is 03:30
(https://docs.python.org/3/library/datetime.html#format-codes); and it ignores a wrong weekday.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from integration.domain.dates.names import MONTHS, WEEKDAYS
from integration.domain.dates.texts import date_text, folded, in_range, shape, unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LONGEST_FORMAT: Final = 200  # characters


def _one_of(names: Iterable[str]) -> str:
    longest_first = sorted(names, key=len, reverse=True)
    return "(?:" + "|".join(map(re.escape, longest_first)) + r")(?![^\W\d_])\.?"


_MONTH: Final = _one_of(MONTHS)
_WEEKDAY: Final = _one_of(WEEKDAYS)
_PATTERNS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "d": r"0?[1-9]|[12][0-9]|3[01]",
        "m": r"0?[1-9]|1[0-2]",
        "Y": r"[0-9]{4}",
        "y": r"[0-9]{2}",
        "j": r"[0-9]{3}",
        "b": _MONTH,
        "B": _MONTH,
        "a": _WEEKDAY,
        "A": _WEEKDAY,
        "H": r"2[0-3]|[01]?[0-9]",
        "I": r"1[0-2]|0?[1-9]",
        "M": r"[0-5][0-9]",
        "S": r"[0-5][0-9]",
        "f": r"[0-9]{1,9}",
        "z": r"z|[+-][0-9]{2}(?::?[0-5][0-9])?",
        # "m." alone is noon: https://www.rae.es/espanol-al-dia (abbreviations of the hours)
        "p": r"[ap]\.?\s?m\.?|m\.?",
    }
)
_LOCALE_DIRECTIVES: Final = frozenset("cxX")
_TIME_DIRECTIVES: Final = frozenset("HIMSfp")
_SAME_FIELD: Final = (frozenset("bBm"), frozenset("aA"), frozenset("Yy"), frozenset("HI"))
# The years that two digits can mean. Others show that the digits are a day or a month.
_SHORT_YEARS: Final = range(20, 69)
_NOON: Final = 12
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
# Minutes are optional where an h or %p marks the number before them as the hour: "15h", "3 p. m.".
_TOKEN = re.compile(
    r"(?P<hour_and_minutes>%Hh%M|%I:%M(?=\s*%p))|\s*%(?P<half>p)|%(?P<word>[aAbB])\.?|%(?P<number>.)"
    r"|(?P<space>\s+)|(?P<literal>.)",
    re.DOTALL,
)
_NUMBER = re.compile(r"%[dmYyjHIMSf]")
_NUMBER_BEFORE = re.compile(r"%[dmYyjHIMSf]\Z")
_LAST_OF_TIME = re.compile(r"%[HMS](?!.*%[HMSfp])(?!\s?[^\W\d_])", re.DOTALL)


def parse_format(value: object, form: str) -> datetime | date:
    """Return `value` parsed with a format: an aware datetime for `%z`, else a naive datetime or a date.

    A value that is a datetime or a date is returned unchanged. Names of months and weekdays are English,
    Spanish or Portuguese, short or long, with or without accents and dot. `%p` matches "a. m.", "p. m."
    and their other spellings; "m." after a 12 is noon. After the last of `%H`, `%M` and `%S` the text may
    have "h", "hs" or "hrs".

    Raise UnmappableError for any other text, for a weekday of another date, for a year before 2000 or
    after 2100, and for an invalid format.
    """
    if isinstance(value, datetime | date):
        return in_range(value)
    text = date_text(value)
    if format_fault(form) is not None:  # a format that is part of the event
        raise unreadable("an invalid date format", "a format that `ringback check` accepts")
    match = _pattern(form).fullmatch(folded(text))
    try:
        moment = None if match is None else _moment(match.groupdict())
    except (ValueError, OverflowError):
        moment = None
    if moment is None:
        raise unreadable(f"a text shaped like {shape(text)!r}", f"a text in the format {form}")
    return in_range(moment)


@lru_cache(maxsize=1024)
def format_fault(form: str) -> str | None:
    """Return a description of the fault in a format for `date(…)`, or None if it is valid."""
    if len(form) > _LONGEST_FORMAT:
        return f"a format of {len(form)} characters"
    directives = [name for name in _DIRECTIVE.findall(form) if name != "%"]
    present = set(directives)
    if "Z" in present:
        return "a format with %Z, which loses the zone (use %z, or the filter zone)"
    if present & _LOCALE_DIRECTIVES:
        return "a format with %c, %x or %X, which depend on the locale of the machine"
    if present - _PATTERNS.keys():
        return "a format with an unknown directive"
    if len(directives) != len(present) or any(len(present & same) > 1 for same in _SAME_FIELD):
        return "a format that names a part of the date twice"
    return _time_fault(present) or _date_fault(present)


def _time_fault(present: set[str]) -> str | None:
    if "I" in present and "p" not in present:
        return "a format with %I and no %p, so 10 could be morning or evening"
    if "p" in present and "I" not in present:
        return "a format with %p and no %I, so 03:30 PM would be 03:30 (use %I instead of %H)"
    if present & set("MSfz") and not present & set("HI"):
        return "a format with minutes, seconds or a zone and no hour"
    return None


def _date_fault(present: set[str]) -> str | None:
    names_a_day = "j" in present or ("d" in present and bool(present & set("mbB")))
    if names_a_day and present & set("Yy"):
        return None
    return "a format that does not name a year, a month and a day"


@lru_cache(maxsize=1024)
def _pattern(form: str) -> re.Pattern[str]:
    """Return the regular expression for dates in a valid format, after `folded`."""
    return re.compile(_TOKEN.sub(_piece, form))


def _piece(token: re.Match[str]) -> str:
    """Return the regular expression of one token of a format."""
    form, hour_word = token.string, ""
    if _LAST_OF_TIME.match(form, token.end() - 2):
        hour_word = r"(?:\s?h(?:r?s)?\.?)?"  # "15:04 hs" in Argentina, "15:04 hrs." in Mexico and Chile
    if token["hour_and_minutes"] == "%Hh%M":
        return f"{_group('H')}h(?:{_group('M')})?{hour_word}"
    if token["hour_and_minutes"] is not None:
        return f"{_group('I')}(?::{_group('M')})?"
    if token["half"] is not None:
        return rf"\s*{_group('p')}"
    if token["word"] is not None:
        return _group(token["word"])
    if token["number"] == "%":
        return "%"
    if token["number"] is not None:
        stands_alone = not (_NUMBER_BEFORE.search(form, 0, token.start()) or _NUMBER.match(form, token.end()))
        return _group(token["number"], fixed=not stands_alone) + hour_word
    return r"\s+" if token["space"] is not None else re.escape(folded(token["literal"]))


def _group(name: str, *, fixed: bool = False) -> str:
    pattern = _PATTERNS[name]
    if fixed:  # without a separator, 1112026 could be the 1st or the 11th
        pattern = pattern.replace("0?", "0").replace("[01]?", "[01]")
    ordinal = "[o°]?" if name == "d" and not fixed else ""  # "1º de março"
    return f"(?P<{name}>{pattern}){ordinal}"


def _moment(parts: Mapping[str, str | None]) -> datetime | date | None:
    """Return the moment of the parts of a text, or None if they contradict each other.

    Raise ValueError for a date that does not exist.
    """
    found = {name: text for name, text in parts.items() if text is not None}
    day = _day(found)
    if day is None or not _TIME_DIRECTIVES & found.keys():
        return day
    hour = _hour(found)
    if hour is None:
        return None
    clock = time(hour, int(found.get("M", 0)), int(found.get("S", 0)), _microsecond(found))
    return datetime.combine(day, clock, _offset(found.get("z")))


def _day(found: Mapping[str, str]) -> date | None:
    year = _year(found)
    if year is None:
        return None
    month_name = found.get("b") or found.get("B")
    month = MONTHS[month_name.rstrip(".")] if month_name else int(found["m"]) if "m" in found else None
    if "j" in found:
        day = date(year, 1, 1) + timedelta(days=int(found["j"]) - 1)
        agrees = day.year == year and month in {None, day.month} and int(found.get("d", day.day)) == day.day
    else:
        assert month is not None  # noqa: S101  (format_fault lets no other format pass)
        day, agrees = date(year, month, int(found["d"])), True
    weekday = found.get("a") or found.get("A")
    if weekday is not None and WEEKDAYS[weekday.rstrip(".")] != day.weekday():
        return None
    return day if agrees else None


def _year(found: Mapping[str, str]) -> int | None:
    if "Y" in found:
        return int(found["Y"])
    short = int(found["y"])
    return 2000 + short if short in _SHORT_YEARS else None


def _hour(found: Mapping[str, str]) -> int | None:
    """Return the hour from 0 to 23, or None for "m." after an hour other than 12. "12 m." is noon."""
    if "H" in found:
        return int(found["H"])
    hour, half = int(found["I"]), found["p"][0]
    if half == "m":
        return hour if hour == _NOON else None
    return hour % _NOON + (_NOON if half == "p" else 0)


def _microsecond(found: Mapping[str, str]) -> int:
    return int(found.get("f", "0").ljust(6, "0")[:6])  # .NET writes seven digits


def _offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text == "z":
        return UTC
    hours, minutes = int(text[1:3]), int(text[3:].lstrip(":") or 0)
    offset = timedelta(hours=hours, minutes=minutes)
    return timezone(-offset if text[0] == "-" else offset)
