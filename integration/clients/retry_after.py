"""`Retry-After` (RFC 9110, 10.2.3): how long a server asks to be left alone."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LIMIT_SECONDS: Final = 3600.0


def retry_after_seconds(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Return the seconds to wait, at most an hour; None when the header is absent or unreadable.

    `headers` has lower-case names. A date counts from `now` (aware), and for nothing without it.
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
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
