"""What templates meet in the data: fields, absent ones, records not read yet, and what may become text.

Promises that absent and null never become text. Errors describe what was found, and never quote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NoReturn

from jinja2.runtime import Undefined

from integration.domain.errors import UnmappableError

MAX_TEXT = 10_000  # characters that a template, or a step inside it, may make
MAX_LIST = 10_000  # items of a list that a template works on or makes; more than that are no events
MAX_MADE = 1_000_000  # characters and items, inner lists included, of a list that a template makes
MAX_DIGITS = 40
_EXACT_FLOAT = 2**53  # above it a float no longer says which whole number was sent
_DATE_PARTS = frozenset({"year", "month", "day", "hour", "minute", "second"})


class LookupNeeded(Exception):  # noqa: N818  (a signal: nothing is wrong, the record must be read first)
    """A template touched `contact`, which has not been looked up yet."""


class _NotLookedUp:
    """Stands for a contact that is not read yet; any use of it raises LookupNeeded."""

    __slots__ = ()

    def _touch(self, *_: object) -> NoReturn:
        raise LookupNeeded

    __bool__ = __str__ = __len__ = __iter__ = __contains__ = __getitem__ = _touch
    __lt__ = __le__ = __gt__ = __ge__ = _touch

    def __eq__(self, other: object) -> bool:
        raise LookupNeeded

    def __hash__(self) -> int:
        raise LookupNeeded

    def __repr__(self) -> str:
        return "NOT_LOOKED_UP"


NOT_LOOKED_UP = _NotLookedUp()


class Absent(Undefined):
    """A field that is not there: falsy, equal to nothing, not even to itself; neither greater nor less."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    def _never(self, *_: object) -> bool:
        return False

    __lt__ = __le__ = __gt__ = __ge__ = _never  # type: ignore[assignment]  # Undefined's own ones raise

    def __hash__(self) -> int:
        return id(self)

    def __str__(self) -> str:
        raise UnmappableError("template", "an absent field", "a value")


def as_text(value: object) -> str:
    """Write a text, number or date as text; raises UnmappableError for anything else, and for too much of it.

    A whole float is written as a whole number: JSON readers make floats of `12345.0`.
    """
    if isinstance(value, str):
        return value if len(value) <= MAX_TEXT else refuse_text(f"a text of {len(value)} characters")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if abs(value) < 10**MAX_DIGITS else refuse_text("a number with too many digits")
    if isinstance(value, float):
        return _float_as_text(value)
    return refuse_text(kind(value))


def kind(value: object) -> str:
    """Name what a value is, in the words of JSON, without saying what it holds."""
    if is_missing(value):
        return "null" if value is None else "an absent field"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "something that is not data"


def is_missing(value: object) -> bool:
    """Tell whether a value is absent or null; raises LookupNeeded for a contact that is not looked up."""
    if value is NOT_LOOKED_UP:
        raise LookupNeeded
    return value is None or isinstance(value, Undefined)


_KINDS: tuple[tuple[tuple[type, ...], str], ...] = (
    ((bool,), "true or false"),
    ((str,), "a text"),
    ((int, float), "a number"),
    ((datetime,), "a moment"),
    ((date,), "a date"),
    ((Mapping,), "an object"),
    ((list, tuple, range), "a list"),
)


def _float_as_text(value: float) -> str:
    if value.is_integer():
        return str(int(value)) if abs(value) < _EXACT_FLOAT else refuse_text("a number too big to be exact")
    written = repr(value)
    return written if re.fullmatch(r"-?\d+\.\d+", written) else refuse_text("a number out of range")


def refuse_text(found: str) -> NoReturn:
    """Raise the UnmappableError of what cannot become text; `found` describes it."""
    raise UnmappableError("template", found, f"a text, number or date of at most {MAX_TEXT} characters")


def field_of(value: Any, name: str) -> Any:
    """Give a field of a value: an item of a mapping, or a part of a date; Absent where there is none."""
    if is_missing(value):
        return value if isinstance(value, Absent) else Absent(name=name)
    if isinstance(value, Mapping):
        return value[name] if name in value else Absent(name=name)
    if isinstance(value, date) and name in _DATE_PARTS:
        return getattr(value, name, None)
    return Absent(name=name)


def item_of(value: Any, key: Any) -> Any:
    """Give an item of a mapping, list or text by its key or place; Absent where there is none."""
    if isinstance(key, str):
        return field_of(value, key)
    if is_missing(value) or is_missing(key):
        return Absent()
    try:
        return value[key] if isinstance(value, Mapping | list | tuple | str) else Absent()
    except LookupError:
        return Absent()


def is_number(value: object) -> bool:
    """Tell a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def bounded(made: str) -> str:
    """Give a text that is not too long. Raises UnmappableError."""
    return made if len(made) <= MAX_TEXT else refuse_text(f"a text of {len(made)} characters")


def require_short(*values: object) -> None:
    """Refuse lists that are too long to be gone over once for each item of another.

    Raises UnmappableError.
    """
    for value in values:
        if isinstance(value, list | tuple) and len(value) > MAX_LIST:
            _refuse_list(f"a list of {len(value)} items")


def collected(made: Iterable[Any]) -> list[Any]:
    """Make a list, unless it grows beyond what is kept; what is absent in it becomes null.

    Raises UnmappableError, before the rest is made.
    """
    items: list[Any] = []
    weight = 0
    for item in made:
        weight += _weight(item)
        if len(items) == MAX_LIST or weight > MAX_MADE:
            _refuse_list("a list that grows too long")
        items.append(None if isinstance(item, Undefined) else item)
    return items


def _weight(item: object) -> int:
    if isinstance(item, str):
        return len(item)
    return sum(map(_weight, item)) if isinstance(item, list | tuple) else 1


def _refuse_list(found: str) -> NoReturn:
    allowed = f"lists of at most {MAX_LIST} items and {MAX_MADE} characters"
    raise UnmappableError("template", found, allowed)
