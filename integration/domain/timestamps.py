"""Convert between aware datetimes, epoch times and ISO 8601 texts. Naive arguments raise ValueError."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo


def epoch_seconds(moment: datetime) -> float:
    """Return a moment as seconds since 1970 (UTC)."""
    return _aware(moment).timestamp()


def epoch_ms(moment: datetime) -> int:
    """Return a moment as milliseconds since 1970 (UTC), rounded."""
    return round(_aware(moment).timestamp() * 1000)


def from_epoch_seconds(seconds: float | str) -> datetime:
    """Return the moment of an epoch time in seconds, aware, UTC."""
    return datetime.fromtimestamp(float(seconds), UTC)


def from_epoch_ms(ms: float | str) -> datetime:
    """Return the moment of an epoch time in milliseconds, aware, UTC."""
    return datetime.fromtimestamp(float(ms) / 1000, UTC)


def iso_seconds(moment: datetime) -> str:
    """Return a moment as ISO 8601 text with seconds and offset."""
    return _aware(moment).isoformat(timespec="seconds")


def iso_milliseconds(moment: datetime) -> str:
    """Return a moment as ISO 8601 text with milliseconds and offset."""
    return _aware(moment).isoformat(timespec="milliseconds")


def from_iso(text: str) -> datetime:
    """Return the moment of an ISO 8601 text with an offset. Raise ValueError for any other text."""
    return _aware(datetime.fromisoformat(text))


def read_iso(text: str, zone: tzinfo) -> datetime | None:
    """Return the moment of an ISO 8601 text, or None for any other text.

    A text without an offset is a time in `zone`.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _aware(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError("naive datetime: a time zone is required")
    return moment
