"""How a delivery is proved to come from its sender: keys, digests, freshness, comparison. Pure.

Every comparison of something secret goes through `matches_any`, on bytes and in constant time.
Nothing here quotes what was received or what was expected, reads a clock, or parses a body.
"""

from __future__ import annotations

import hmac
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from integration.domain.delivery import header_name
from integration.domain.errors import NotVerifiedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from integration.domain.delivery import Delivery

# HubSpot's page on validating requests and the libraries of Standard Webhooks both say five minutes.
TOLERANCE = timedelta(minutes=5)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_TIMESTAMP = 15


def matches_any(given: bytes, allowed: Iterable[bytes]) -> bool:
    """Tell whether `given` equals one of `allowed`, without telling by the time taken which or how nearly.

    All of `allowed` are looked at, so that a sender may be moved from one secret to the next.
    """
    return place_of(given, allowed) is not None


def place_of(given: bytes, allowed: Iterable[bytes]) -> int | None:
    """Give the place of the one of `allowed` that equals `given`, from 0, in the way of `matches_any`."""
    places = [place for place, one in enumerate(allowed) if hmac.compare_digest(one, given)]
    return places[0] if places else None


def by_secret(check: str, place: int, secrets: int) -> str:
    """Say by what a delivery was proved; which secret, from 0, matters only where there are several."""
    return f"{check}, secret {place + 1} of {secrets}" if secrets > 1 else check


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Give the 32 bytes of HMAC-SHA256."""
    return hmac.digest(key, message, "sha256")


def secret_bytes(secret: SecretStr) -> bytes:
    """Give the secret's UTF-8 bytes."""
    return secret.get_secret_value().encode()


def required_header(delivery: Delivery, name: str, check: str) -> str:
    """Give the value of a header that a proof rests on: ASCII, not empty.

    Raises NotVerifiedError, naming `check`, when it is absent, empty or holds anything else: a digest
    that is compared as text must not reach the comparison with letters that bytes cannot hold.
    """
    value = delivery.headers.get(header_name(name), "").strip()
    if not value:
        raise NotVerifiedError(check, f"the header {name} is absent or empty")
    if not value.isascii():
        raise NotVerifiedError(check, f"the header {name} holds characters outside ASCII")
    return value


def require_fresh(timestamp: str, unit: timedelta, now: datetime) -> None:
    """Refuse a timestamp more than five minutes from `now`, before or after; exactly five pass.

    `timestamp` is a whole number of `unit` since 1970-01-01 UTC, as text; `now` is aware. A time in the
    future is refused as well: it would keep a captured delivery usable until then.
    Raises NotVerifiedError.
    """
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise NotVerifiedError("timestamp", "it is not a whole number of plausible length")
    try:
        off = now - (_EPOCH + int(timestamp) * unit)
    except OverflowError as error:
        raise NotVerifiedError("timestamp", "it lies outside the calendar") from error
    if abs(off) > TOLERANCE:
        side = "in the past" if off > timedelta(0) else "in the future"
        seconds = abs(off).total_seconds()
        allowed = TOLERANCE.total_seconds()
        raise NotVerifiedError("timestamp", f"it lies {seconds:.0f} s {side}; allowed: {allowed:.0f} s")


def require_url_key(delivery: Delivery, expected: SecretStr | None) -> None:
    """Refuse a delivery whose address does not end in the source's `url_key`.

    A source without one takes no delivery with one: whoever adds a part to the path means a check that
    is not made. Raises NotVerifiedError.
    """
    if expected is None:
        if delivery.url_key is not None:
            raise NotVerifiedError("url_key", "the path ends in one, but none is configured for this source")
        return
    if delivery.url_key is None:
        raise NotVerifiedError("url_key", "the path does not end in one")
    given = delivery.url_key.encode(errors="replace")
    if not matches_any(given, (secret_bytes(expected),)):
        raise NotVerifiedError("url_key", "the one in the path is not the configured one")
