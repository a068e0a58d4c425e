"""Moments as epoch times and as ISO 8601 text, and back. Moments are aware: a naive one raises ValueError."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


def epoch_seconds(moment: datetime) -> float:
    """Return a moment in seconds since 1970."""
    return _aware(moment).timestamp()


def epoch_ms(moment: datetime) -> int:
    """Return a moment in whole milliseconds since 1970."""
    return round(_aware(moment).timestamp() * 1000)


def from_epoch_seconds(seconds: float | str) -> datetime:
    """Return the moment, in UTC, so many seconds after 1970 began."""
    return datetime.fromtimestamp(float(seconds), UTC)


def from_epoch_ms(ms: float | str) -> datetime:
    """Return the moment, in UTC, so many milliseconds after 1970 began."""
    return datetime.fromtimestamp(float(ms) / 1000, UTC)


def iso_seconds(moment: datetime) -> str:
    """Return a moment as text, to the second, with its offset."""
    return _aware(moment).isoformat(timespec="seconds")


def iso_milliseconds(moment: datetime) -> str:
    """Return a moment as text, to the millisecond, with its offset."""
    return _aware(moment).isoformat(timespec="milliseconds")


def from_iso(text: str) -> datetime:
    """Return the moment of a text with an offset. Raise ValueError for any other."""
    return _aware(datetime.fromisoformat(text))


def read_iso(text: str, zone: tzinfo) -> datetime | None:
    """Return the moment that somebody typed, in `zone` if it has no offset; None if it cannot be read."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _aware(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("a moment without a zone")
    return moment
