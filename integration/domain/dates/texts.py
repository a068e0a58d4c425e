"""Prepare the text of a date for parsing, and describe a text that is not a date."""

from __future__ import annotations

import unicodedata
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from integration.domain.errors import UnmappableError

if TYPE_CHECKING:
    from datetime import date

    _MomentT = TypeVar("_MomentT", datetime, date)

FIRST_YEAR, LAST_YEAR = 2000, 2100
_FIRST_OFFSET, _LAST_OFFSET = timedelta(hours=-12), timedelta(hours=14)  # of the time zones in use
ALLOWED: Final = (
    "ISO 8601, epoch seconds (10 digits), milliseconds (13 digits), microseconds (16 digits) or nanoseconds "
    "(19 digits), YYYYmmddHHMMSS, RFC 2822, /Date(milliseconds)/, a date alone where the account has "
    f"calling_hours, years {FIRST_YEAR} to {LAST_YEAR}; other forms by date(format)"
)
_FIELD: Final = "recall_date"
_SHAPE_LENGTH: Final = 40
_LONGEST_TEXT: Final = 200  # characters; longer than any date, and limits the cost of parsing
_TOO_BIG: Final = 10**19  # has more digits than any form of a date


def date_text(value: object) -> str:
    """Return a text or number as the text to parse, without invisible characters.

    Raise UnmappableError for other values, for a text that is too long, and for a number out of range.
    """
    if isinstance(value, str):
        if len(value) > _LONGEST_TEXT:
            raise unreadable(f"a text of {len(value)} characters")
        # Some browsers write marks for the direction of writing into the texts of dates.
        return "".join(c for c in value if c.isascii() or unicodedata.category(c) != "Cf").strip()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unreadable("missing" if value is None else f"a {type(value).__name__}")
    if not abs(value) < _TOO_BIG:  # False for inf and nan, too
        raise unreadable("a number out of range")
    return str(int(value)) if value == int(value) else f"{value:.6f}"


def folded(text: str) -> str:
    """Return a text in lower case without accents. Compatibility characters become plain ones.

    Browsers and telephones write U+00A0 and U+202F before "p. m.". Both become spaces.
    """
    apart = unicodedata.normalize("NFKD", text)
    return "".join(c for c in apart if not unicodedata.combining(c)).casefold()


def shape(text: str) -> str:
    """Return the shape of a text: digits become 9, letters a, and at most 40 characters are kept.

    Characters that cannot be printed become "?". Other characters are unchanged.
    """
    cut = text[:_SHAPE_LENGTH]
    masked = "".join(
        "9" if c.isdigit() else "a" if c.isalpha() else c if c.isprintable() else "?" for c in cut
    )
    return masked + "…" if len(text) > _SHAPE_LENGTH else masked


def in_range(moment: _MomentT) -> _MomentT:
    """Return the moment unchanged.

    Raise UnmappableError for an offset outside -12:00 to +14:00, and for a year before 2000 or after 2100:
    databases write years such as 0001, 1899, 1900, 1970 and 9999 for "no date".
    """
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise unreadable("a date in a year that is out of range")
    if not _FIRST_OFFSET <= _offset(moment) <= _LAST_OFFSET:
        raise unreadable("a date with an offset that no time zone has")
    return moment


def _offset(moment: date) -> timedelta:
    """Return the UTC offset; timedelta(0) for a date and for a naive datetime."""
    return (moment.utcoffset() if isinstance(moment, datetime) else None) or timedelta(0)


def unreadable(found: str, allowed: str = ALLOWED) -> UnmappableError:
    """Return the UnmappableError of `recall_date` for a value that cannot be parsed as a date."""
    return UnmappableError(_FIELD, found, allowed)
