"""Diagnose timestamps: too old, in the future, in another unit, or not a number. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from integration.webhooks.diagnosis.findings import Finding
from integration.webhooks.verification import TOLERANCE

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "seconds": timedelta(seconds=1),
    "milliseconds": timedelta(milliseconds=1),
    "microseconds": timedelta(microseconds=1),
}
_LONGEST = 20


def time_findings(timestamp: str, unit: str, now: datetime) -> tuple[Finding, ...]:
    """Return the findings about a timestamp, an empty tuple if it is at most five minutes from `now`.

    `timestamp` should be a whole number of `unit` (`seconds` or `milliseconds`) since 1970-01-01 UTC.
    `now` is aware.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST):
        return (Finding("time unreadable", {"expected": unit}),)
    off = _off(timestamp, unit, now)
    if off is not None and abs(off) <= TOLERANCE:
        return ()
    for other in _UNITS:
        other_off = _off(timestamp, other, now)
        if other != unit and other_off is not None and abs(other_off) <= TOLERANCE:
            return (Finding("time in other unit", {"found": other, "expected": unit}),)
    if off is None:
        return (Finding("time unreadable", {"expected": unit}),)
    facts = {"seconds": f"{abs(off).total_seconds():.0f}"}
    return (Finding("stale" if off > timedelta(0) else "early", facts),)


def _off(timestamp: str, unit: str, now: datetime) -> timedelta | None:
    try:
        return now - (_EPOCH + int(timestamp) * _UNITS[unit])
    except OverflowError:
        return None
