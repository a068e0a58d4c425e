"""Parser for `Retry-After` headers (RFC 9110, 10.2.3)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_SECONDS: Final = 3600.0


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Return the seconds to wait, at most an hour, or None if the header is missing or invalid.

    The names in `headers` are lower-case. A date is relative to `now` (aware). With `now=None` a date is
    ignored.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
        return min(float(text), LIMIT_SECONDS)
    until = _http_date(text)
    if until is None or now is None:
        return None
    return min(max((until - now).total_seconds(), 0.0), LIMIT_SECONDS)


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
