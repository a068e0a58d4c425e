"""Parse the dates that senders write. Pure.

Only forms with one meaning are parsed. Every other form needs a format in the template. Errors are
UnmappableError, and describe the shape of a value without a quote.
"""

from integration.domain.dates.formats import format_fault, parse_format
from integration.domain.dates.moments import (
    ALLOWED,
    in_zone,
    parse_day,
    parse_moment,
    parse_time_on,
)
from integration.domain.dates.texts import shape, unreadable

__all__ = [
    "ALLOWED",
    "format_fault",
    "in_zone",
    "parse_day",
    "parse_format",
    "parse_moment",
    "parse_time_on",
    "shape",
    "unreadable",
]
