"""Calling hours: the presets, and the parser for a table of windows.

The presets are no legal advice.
"""

from __future__ import annotations

import re
from datetime import time
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import holidays

from integration.domain.account import CallingHours
from integration.domain.field_types import ValidationIssue, Window

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")

# Keys that stand for several days. A key for fewer days overrides a key for more days.
_SHORTHANDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"every_day": DAYS, "weekdays": DAYS[:5], "weekend": DAYS[5:]}
)
_KEYS: Final = (*_SHORTHANDS, *DAYS, "holidays")

_WINDOWS_WORDS = 'a list of windows such as ["08:00-12:00", "14:00-18:00"], or [] for a closed day'
_WINDOW_WORDS = '"HH:MM-HH:MM" with the earlier time first, such as "08:00-18:00", and "24:00" for midnight'
_HOLIDAYS_WORDS = 'the code of a country whose public holidays are known, such as "CO" (default: none)'

_MINUTES_OF_A_DAY = 24 * 60
_Minutes = tuple[int, int]


class CallingHoursError(ValueError):
    """The calling hours of an account are invalid. `issues` has every reason."""

    def __init__(self, issues: tuple[ValidationIssue, ...]) -> None:
        super().__init__("; ".join(issue.allowed for issue in issues))
        self.issues = issues


def _hours(*week: str, holidays_of: str | None = None) -> CallingHours:
    windows = [(_window(day),) if day else () for day in week]
    return CallingHours(windows=tuple(tuple(map(_as_times, day)) for day in windows), holidays=holidays_of)


def _window(text: str) -> _Minutes:
    """Return the start and end of a text such as "08:00-18:00" in minutes since midnight.

    Raise ValueError for any other text.
    """
    # Word processors turn the hyphen into a dash.
    match = re.fullmatch(r"\s*(\d{1,2}):(\d\d)\s*[-\u2013\u2014]\s*(\d{1,2}):(\d\d)\s*", text, re.ASCII)
    if not match:
        raise ValueError(_WINDOW_WORDS)
    from_hour, from_minute, to_hour, to_minute = map(int, match.groups())
    start, end = from_hour * 60 + from_minute, to_hour * 60 + to_minute
    end = end or _MINUTES_OF_A_DAY
    if max(from_minute, to_minute) >= 60 or start >= end or end > _MINUTES_OF_A_DAY:  # noqa: PLR2004 (an hour)
        raise ValueError(_WINDOW_WORDS)
    return start, end


def _as_times(window: _Minutes) -> Window:
    start, end = window
    return time(*divmod(start, 60)), time(*divmod(end % _MINUTES_OF_A_DAY, 60))


PRESETS: Final[Mapping[str, CallingHours]] = MappingProxyType(
    {
        # Colombia, Ley 2300 of 2023. Callbacks that the customer asked for are reported to be exempt.
        "co-ley-2300": _hours(*["07:00-19:00"] * 5, "08:00-15:00", "", holidays_of="CO"),
        # Ecuador, collection calls.
        "ec-cobranza": _hours(*["07:00-20:00"] * 5, "", "", holidays_of="EC"),
        # Peru, collection calls.
        "pe-cobranza": _hours(*["07:00-20:00"] * 5, "", "", holidays_of="PE"),
        # Mexico, collection calls.
        "mx-cobranza": _hours(*["07:00-22:00"] * 7),
        # United States, 47 CFR 64.1200: local time of the called party, so one account per time zone.
        "us-tcpa": _hours(*["08:00-21:00"] * 7),
    }
)
HOURS_WORDS: Final = (
    "a preset ("
    + ", ".join(f'"{name}"' for name in PRESETS)
    + ") or a table of windows with the keys "
    + ", ".join(_KEYS)
)


def read_hours(value: object) -> CallingHours:
    """Return the calling hours for a preset's name or a table of windows.

    The table's keys are days (`monday` … `sunday`), `weekdays` (Monday to Friday), `weekend`,
    `every_day`, and `holidays`, a country code. The value of a day is a list of texts "HH:MM-HH:MM", or
    one such text. A key for fewer days overrides a key for more days. A day without a key is closed.
    Windows that touch are joined. Raise CallingHoursError with every issue. The places of issues are
    relative to `value`.
    """
    if isinstance(value, str):
        return _preset(value)
    if not isinstance(value, dict):
        raise CallingHoursError((ValidationIssue((), HOURS_WORDS),))
    issues = tuple(_issues(value))
    if issues:
        raise CallingHoursError(issues)
    week = _week(value)
    return CallingHours(
        windows=tuple(tuple(map(_as_times, _joined(day))) for day in week), holidays=value.get("holidays")
    )


def _preset(name: str) -> CallingHours:
    if name in PRESETS:
        return PRESETS[name]
    close = get_close_matches(name, PRESETS, n=1)
    raise CallingHoursError(
        (ValidationIssue((), f'{HOURS_WORDS}. Did you mean "{close[0]}"?' if close else HOURS_WORDS),)
    )


def _issues(table: dict[str, object]) -> Iterator[ValidationIssue]:
    for key, value in table.items():
        if key == "holidays":
            yield from _holiday_issues(value)
        elif key in _KEYS:
            yield from _day_issues(key, value)
        else:
            yield _unknown(key)
    days = [value for key, value in table.items() if key != "holidays" and key in _KEYS]
    if not any(days):
        yield ValidationIssue((), "at least one day with a window", "a table without a window")


def _unknown(key: str) -> ValidationIssue:
    close = get_close_matches(key, _KEYS, n=1)
    known = "one of " + ", ".join(_KEYS)
    allowed = f'{known}. Did you mean "{close[0]}"?' if close else known
    return ValidationIssue((key,), allowed, "an unknown key")


def _holiday_issues(value: object) -> Iterator[ValidationIssue]:
    if not isinstance(value, str) or value not in holidays.list_supported_countries(include_aliases=False):
        yield ValidationIssue(("holidays",), _HOLIDAYS_WORDS)


def _day_issues(key: str, value: object) -> Iterator[ValidationIssue]:
    if not isinstance(value, str | list):
        yield ValidationIssue((key,), _WINDOWS_WORDS)
        return
    good: list[_Minutes] = []
    for index, text in enumerate(_texts(value)):
        place = (key, index) if isinstance(value, list) else (key,)
        try:
            window = _window(text if isinstance(text, str) else "")
        except ValueError:
            yield ValidationIssue(place, _WINDOW_WORDS)
            continue
        if any(window[0] < end and start < window[1] for start, end in good):
            yield ValidationIssue(
                place, "windows that do not overlap", "a window that overlaps an earlier window of the day"
            )
        good.append(window)


def _texts(value: object) -> list[object]:
    return value if isinstance(value, list) else [value]


def _week(table: dict[str, object]) -> list[list[_Minutes]]:
    by_day: dict[str, object] = {}
    for shorthand, days in _SHORTHANDS.items():
        if shorthand in table:
            by_day.update(dict.fromkeys(days, table[shorthand]))
    by_day.update({day: table[day] for day in DAYS if day in table})
    return [[_window(str(text)) for text in _texts(by_day.get(day, []))] for day in DAYS]


def _joined(windows: list[_Minutes]) -> list[_Minutes]:
    joined: list[_Minutes] = []
    for start, end in sorted(windows):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return joined
