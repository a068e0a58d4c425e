"""Parse the dates that senders write. Pure.

Without a format, only forms with one meaning are parsed. Other forms need a format in the template.
Errors are UnmappableError and do not quote the value.
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
