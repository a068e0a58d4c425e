"""Access to the data of templates: fields, absent values, missing lookups, and conversion to text.

Absent and null values never become text. Errors describe values by type or size and do not quote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NoReturn

from jinja2.runtime import Undefined

from integration.domain.errors import UnmappableError

MAX_TEXT = 10_000  # characters of the result of a template or of a step inside it
MAX_JSON_TEXT = 1024 * 1024  # characters of a text that `fromjson` reads
MAX_LIST = 10_000  # items of a list that a template reads or creates
MAX_MADE = 1_000_000  # characters and items, including inner lists, of a list that a template creates
MAX_DIGITS = 40
_EXACT_FLOAT = 2**53  # floats above this do not represent every integer
_INDEX = re.compile(r"0|[1-9][0-9]{0,5}")
_DATE_PARTS = frozenset({"year", "month", "day", "hour", "minute", "second"})


class LookupNeeded(Exception):  # noqa: N818  (a signal, not an error)
    """A template reads `contact` or `record`, which have not been looked up yet."""


class NotLookedUp:
    """The value of a record before its lookup. Any use in a template raises LookupNeeded."""

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


NOT_LOOKED_UP = NotLookedUp()


class Absent(Undefined):
    """The value of a field that does not exist. It is falsy and equals nothing, not even itself."""

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
    """Return a text, number or date as text.

    Raise UnmappableError for other values, for texts that are too long and for numbers that are too
    large. A float with an integer value becomes an integer, because JSON parsers read `12345.0` as a
    float.
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
    """Return the type of a value in words, such as "a list". Raise LookupNeeded as `is_missing` does."""
    if is_missing(value):
        return "null" if value is None else "an absent field"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "a value of an unsupported type"


def is_missing(value: object) -> bool:
    """Return True if a value is absent or null. Raise LookupNeeded for a record that is not looked up."""
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
        return (
            str(int(value))
            if abs(value) < _EXACT_FLOAT
            else refuse_text("a number that is too large to be exact")
        )
    written = repr(value)
    return written if re.fullmatch(r"-?\d+\.\d+", written) else refuse_text("a number out of range")


def refuse_text(found: str) -> NoReturn:
    """Raise UnmappableError for a value that cannot become text. `found` describes the value."""
    raise UnmappableError("template", found, f"a text, number or date of at most {MAX_TEXT} characters")


def field_of(value: Any, name: str) -> Any:
    """Return an item of a mapping, an item of a list by its index as text, or a part of a date by name.

    Return Absent if it does not exist, and None for the time of a date without one. Some senders number
    the fields of a form. Whether these become a list or a mapping depends on the fields that a customer
    filled in, so both accept the same keys.
    """
    if is_missing(value):
        return value if isinstance(value, Absent) else Absent(name=name)
    if isinstance(value, Mapping):
        return value[name] if name in value else Absent(name=name)
    if isinstance(value, list) and _INDEX.fullmatch(name):
        return item_of(value, int(name))
    if isinstance(value, date) and name in _DATE_PARTS:
        return getattr(value, name, None)
    return Absent(name=name)


def item_of(value: Any, key: Any) -> Any:
    """Return an item of a mapping, list or text by key or index. Return Absent if it does not exist."""
    if isinstance(key, str):
        return field_of(value, key)
    if isinstance(value, Mapping) and isinstance(key, int):
        return field_of(value, str(key))
    if is_missing(value) or is_missing(key):
        return Absent()
    try:
        return value[key] if isinstance(value, Mapping | list | tuple | str) else Absent()
    except LookupError:
        return Absent()


def is_number(value: object) -> bool:
    """Return True for an int or a float, and False for a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def bounded(text: str) -> str:
    """Return the text unchanged. Raise UnmappableError if it is longer than MAX_TEXT."""
    return text if len(text) <= MAX_TEXT else refuse_text(f"a text of {len(text)} characters")


def require_short(*values: object) -> None:
    """Raise UnmappableError for a list longer than MAX_LIST, because filters may iterate repeatedly."""
    for value in values:
        if isinstance(value, list | tuple) and len(value) > MAX_LIST:
            _refuse_list(f"a list of {len(value)} items")


def items_of(value: Any) -> Any:
    """Return the items of a mapping with numbers as keys, in the order of the numbers; else the value.

    The indices of a form, and of a list of PHP, have a gap where a field was left empty. Such a mapping
    has the items that the list without the gap would have.
    """
    if not isinstance(value, dict) or not value or not all(key.isdecimal() for key in value):
        return value
    return [value[key] for key in sorted(value, key=lambda key: (len(key), key))]


def collected(iterable: Iterable[Any]) -> list[Any]:
    """Return the items as a list, with None for absent items.

    Raise UnmappableError as soon as the list exceeds MAX_LIST or MAX_MADE.
    """
    items: list[Any] = []
    weight = 0
    for item in iterable:
        weight += _weight(item)
        if len(items) == MAX_LIST or weight > MAX_MADE:
            _refuse_list("a list with too many items")
        items.append(None if isinstance(item, Undefined) else item)
    return items


def _weight(item: object) -> int:
    if isinstance(item, str):
        return len(item)
    return sum(map(_weight, item)) if isinstance(item, list | tuple) else 1


def _refuse_list(found: str) -> NoReturn:
    allowed = f"lists of at most {MAX_LIST} items and {MAX_MADE} characters"
    raise UnmappableError("template", found, allowed)
