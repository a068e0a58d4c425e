"""The filters, tests and operators of templates. Their results have a limited size.

If an argument of a filter is absent or null, the result is absent, except for `default` and the filters
of placeholders. Tests and comparisons of an absent value are false, except those for absent values.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import wraps
from types import MappingProxyType
from typing import Any
from zoneinfo import ZoneInfo

from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.tests import TESTS as JINJA_TESTS

from integration.domain.dates import in_zone, parse_day, parse_format, parse_moment, parse_time_on
from integration.domain.errors import UnmappableError, UnreadableError
from integration.domain.json_codec import parse_json
from integration.mapping.expressions.data import (
    MAX_DIGITS,
    MAX_JSON_TEXT,
    MAX_TEXT,
    Absent,
    as_text,
    bounded,
    collected,
    is_missing,
    item_of,
    items_of,
    kind,
    refuse_text,
    require_short,
)

_LONGEST_FORMAT = 200  # characters
_DIRECTIVES = re.compile(r"(?:[^%]|%[-_0^#]?[EO]?:?[A-Za-z%])*")


def _propagating(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter that returns Absent for an absent or null argument, and a list for an iterator."""
    first = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for argument in (*args[first:], *kwargs.values()):
            if is_missing(argument):
                return Absent()
        require_short(*args[first:], *kwargs.values())
        result = function(*args, **kwargs)
        return collected(result) if isinstance(result, Iterator | list) else result

    return guarded


def _list_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a filter of lists that reads a mapping with numbers as keys as the list of its items.

    A text is the only item for the filters in `_FILTERS_ACCEPTING_TEXT`.
    """
    guarded = _propagating(function)
    place = 1 if hasattr(function, "jinja_pass_arg") else 0

    @wraps(function)
    def applied(*args: Any, **kwargs: Any) -> Any:
        value = items_of(args[place])
        if isinstance(value, str) and name in _FILTERS_ACCEPTING_TEXT:
            value = [value]
        return guarded(*args[:place], value, *args[place + 1 :], **kwargs)

    return applied


def _text_filter(function: Callable[..., Any]) -> Callable[..., Any]:
    def applied(value: object, *args: Any, **kwargs: Any) -> Any:
        result = function(as_text(value), *args, **kwargs)
        return bounded(result) if isinstance(result, str) else result

    return _propagating(applied)


def _default(value: object, fallback: object = "", boolean: object = False) -> object:  # noqa: FBT002  (Jinja's)
    """Return `fallback` if the value is absent, null or blank. With `boolean`, also for falsy values."""
    unset = is_missing(value) or (isinstance(value, str) and not value.strip())
    return fallback if unset or (boolean and not value) else value


def _replace(value: str, old: str, new: str, count: int = -1) -> str:
    old, new = as_text(old), as_text(new)
    if len(value) + value.count(old) * len(new) > MAX_TEXT:
        refuse_text("a text that is too long")
    return value.replace(old, new, count)


def _zfill(value: str, width: int) -> str:
    return value.zfill(min(width, MAX_TEXT))


def _digits(value: str) -> str:
    """Return the decimal digits of a text as ASCII digits."""
    return "".join(str(int(c)) for c in value if c.isdecimal())


def _slice(value: Any, start: int | None, stop: int | None, step: int | None) -> Any:
    if is_missing(value):
        return Absent()
    value = items_of(value)
    if not isinstance(value, str | list | tuple):
        raise TypeError("slice")
    return value[start:stop:step]


def _join(value: Any, separator: str = "", attribute: Any = None) -> Any:
    parts = list(value)
    if attribute is not None:
        parts = [item_of(part, attribute) for part in parts]
    if any(is_missing(part) for part in parts):
        return Absent()
    texts, between = [as_text(part) for part in parts], as_text(separator)
    if sum(map(len, texts)) + len(between) * len(texts) > 2 * MAX_TEXT:
        refuse_text("a text that is too long")
    return bounded(between.join(texts))


def _flatten(value: Any) -> Iterator[Any]:
    """Return the items of nested lists, one level flattened."""
    parts = map(items_of, value)
    return (inner for part in parts for inner in (part if isinstance(part, list | tuple) else (part,)))


def _int(value: object) -> int:
    return int(float(as_text(value))) if isinstance(value, float) else int(as_text(value).strip())


def _round(value: float, precision: int = 0) -> float:
    return round(value, max(0, min(precision, MAX_DIGITS)))


def _float(value: object) -> float:
    return float(as_text(value))


def _concat(*parts: Any) -> Any:
    return bounded("".join(as_text(part) for part in parts))


def _date(value: object, form: str | None = None) -> datetime | date:
    return parse_moment(value) if form is None else parse_format(value, form)


def _in_named_zone(value: object, name: str) -> datetime:
    """Return a moment in a time zone. A moment without an offset is a time in that zone.

    Raise UnmappableError for a date without a time.
    """
    moment = parse_moment(value)
    if not isinstance(moment, datetime):
        raise UnmappableError("recall_date", "a date without a time", "a moment with a time of day")
    return in_zone(moment, ZoneInfo(name))


def _plus(value: object, *, minutes: float = 0, hours: float = 0, days: float = 0) -> datetime | date:
    """Return a moment moved by days of the calendar, and by minutes and hours of elapsed time.

    Raise UnmappableError for minutes or hours after a date without a time.
    """
    moment = parse_moment(value)
    later = timedelta(minutes=minutes, hours=hours)
    if not isinstance(moment, datetime):
        if later:
            raise UnmappableError("recall_date", "a date without a time", "a moment with a time of day")
        return moment + timedelta(days=days)
    moment += timedelta(days=days)
    zone = moment.tzinfo
    return (moment.astimezone(UTC) + later).astimezone(zone) if zone else moment + later


def _strftime(value: object, form: str) -> str:
    # A width, as in %20000000d, makes the C library write as many characters.
    if len(form) > _LONGEST_FORMAT or not _DIRECTIVES.fullmatch(form):
        found, allowed = "an invalid strftime format", "directives without a width"
        raise UnmappableError("template", found, allowed)
    moment = parse_moment(value)
    return moment.strftime(form)


def _from_json(value: object) -> Any:
    """Return the value of a JSON text.

    Raise UnmappableError for other values, invalid JSON, and texts longer than MAX_JSON_TEXT.
    """
    if not isinstance(value, str):
        raise UnmappableError("template", kind(value), "a text with JSON")
    if len(value) > MAX_JSON_TEXT:
        raise UnmappableError(
            "template", f"a text of {len(value)} characters", f"JSON of at most {MAX_JSON_TEXT} characters"
        )
    try:
        return parse_json(value.encode("utf-8", "replace"))
    except UnreadableError as error:
        raise UnmappableError("template", f"a text with {error.found}", "a text with JSON") from None


def _ordered(test: Callable[[Any, Any], Any]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        if is_missing(left) or is_missing(right):
            return False
        return bool(test(left, right))

    return compare


def _contains(left: Any, right: Any) -> bool:
    """Return True if `left` is an item of a list, a part of a text, or a key of a mapping.

    For numeric keys the value is compared instead, because a mapping with numeric keys stands for a list
    (see `items_of`).
    """
    if is_missing(left) or is_missing(right):
        return False
    require_short(right)
    if not isinstance(right, Mapping):
        return left in right
    named = isinstance(left, str) and not left.isdecimal() and left in right
    return named or any(left == value for key, value in right.items() if key.isdecimal())


def _absence(place: str) -> tuple[str, str]:
    if looked_up := re.match(r"(contact|record)\b", place):
        owner = looked_up[1]
        return owner, f"a property that the lookup reads and the {owner} has, or the filter default"
    return "event", "a field that is in the stored delivery, or the filter default"


def _placeholder_value(value: object, place: str) -> str | float | date:
    """Return a placeholder's value. Raise UnmappableError if it is blank or no text, number or date."""
    if value is None:
        raise UnmappableError("template", f"{place}, which is null", "a value")
    if is_missing(value):
        owner, allowed = _absence(place)
        raise UnmappableError("template", f"{place}, which this {owner} does not have", allowed)
    if isinstance(value, str) and not value.strip():
        raise UnmappableError("template", f"{place}, which is blank", "a value")
    try:
        as_text(value)
    except UnmappableError as error:
        raise UnmappableError("template", f"{place}, which is {error.found}", error.allowed) from None
    return value  # type: ignore[return-value]  # as_text refuses all other types


def _placeholder_text(value: object, place: str) -> str:
    return as_text(_placeholder_value(value, place))


_TEXT_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "string": str,
        "upper": str.upper,
        "lower": str.lower,
        "capitalize": str.capitalize,
        "title": str.title,
        "trim": str.strip,
        "strip": str.strip,
        "lstrip": str.lstrip,
        "rstrip": str.rstrip,
        "replace": _replace,
        "split": str.split,
        "startswith": str.startswith,
        "endswith": str.endswith,
        "removeprefix": str.removeprefix,
        "removesuffix": str.removesuffix,
        "isdigit": str.isdigit,
        "zfill": _zfill,
        "digits": _digits,
    }
)
_VALUE_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "date": _date,
        "day": parse_day,
        "at": parse_time_on,
        "zone": _in_named_zone,
        "plus": _plus,
        "strftime": _strftime,
        "fromjson": _from_json,
        "abs": abs,
        "int": _int,
        "float": _float,
        "round": _round,
    }
)
_JINJA_FILTERS = (
    "count", "first", "last", "length", "list", "map", "max", "min", "reject", "rejectattr", "reverse",
    "select", "selectattr", "sort", "unique",
)  # fmt: skip
_LIST_FILTERS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {**{name: JINJA_FILTERS[name] for name in _JINJA_FILTERS}, "join": _join, "flatten": _flatten}
)
# A form sends a choice of one option as a text, and of two options as a list.
_FILTERS_ACCEPTING_TEXT = frozenset({"first", "join", "last"})
_OPERATIONS: Mapping[str, Callable[..., Any]] = MappingProxyType(
    {
        "~": _propagating(_concat),
        "[:]": _slice,
        "placeholder": _placeholder_value,
        "placeholder text": _placeholder_text,
        "compare lt": _ordered(operator.lt),
        "compare lteq": _ordered(operator.le),
        "compare gt": _ordered(operator.gt),
        "compare gteq": _ordered(operator.ge),
        "compare in": _contains,
    }
)
FILTERS = tuple(sorted({*_LIST_FILTERS, *_TEXT_FILTERS, *_VALUE_FILTERS, "default", "d"}))
METHODS = frozenset({*_TEXT_FILTERS, "strftime"} - {"string", "trim", "digits"})
TESTS = (
    "boolean", "defined", "divisibleby", "eq", "==", "equalto", "even", "false", "float", "ge", ">=", "gt",
    ">", "greaterthan", "in", "integer", "iterable", "le", "<=", "lessthan", "lower", "lt", "<", "mapping",
    "ne", "!=", "none", "number", "odd", "sequence", "string", "true", "undefined", "upper",
)  # fmt: skip
_TESTS_OF_ABSENT = frozenset({"defined", "undefined", "none", "ne", "!="})
_TESTS_OF_LISTS = frozenset({"iterable", "mapping", "sequence"})


def _jinja_test(name: str) -> Callable[..., Any]:
    if name == "in":
        return _contains
    return JINJA_TESTS[name]  # type: ignore[return-value]  # their table has no types


def _test(name: str) -> Callable[..., Any]:
    function = _jinja_test(name)

    @wraps(function)
    def guarded(value: Any, *args: Any) -> bool:
        if is_missing(value) and name not in _TESTS_OF_ABSENT:
            return value is None and name in {"eq", "==", "equalto"} and args == (None,)
        require_short(*args)
        return bool(function(items_of(value) if name in _TESTS_OF_LISTS else value, *args))

    return guarded


def jinja_filters() -> dict[str, Callable[..., Any]]:
    """Return the filters of templates and of rewritten templates, by name."""
    return {
        **{name: _list_filter(name, function) for name, function in _LIST_FILTERS.items()},
        **{name: _text_filter(function) for name, function in _TEXT_FILTERS.items()},
        **{name: _propagating(function) for name, function in _VALUE_FILTERS.items()},
        **_OPERATIONS,
        "default": _default,
        "d": _default,
    }


def jinja_tests() -> dict[str, Callable[..., Any]]:
    """Return the tests of templates (`is …`), by name."""
    return {name: _test(name) for name in TESTS}
