"""Functions that verify signatures and credentials of deliveries. Pure.

`matches_any` compares secrets as bytes and in constant time. Errors contain neither the received nor the
expected value.
"""

from __future__ import annotations

import hmac
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from integration.domain.delivery import header_name
from integration.domain.errors import NotVerifiedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import SecretStr

    from integration.domain.delivery import Delivery

# HubSpot's page on validating requests and the libraries of Standard Webhooks both use five minutes.
TOLERANCE = timedelta(minutes=5)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_TIMESTAMP = 15
_LONGEST_SECONDS = 11
_ISO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)", re.ASCII)


def matches_any(candidate: bytes, allowed: Iterable[bytes]) -> bool:
    """Return True if `candidate` equals one of `allowed`. The comparison takes constant time.

    All of `allowed` are compared, so that the time does not show which of a source's secrets matched.
    """
    return place_of(candidate, allowed) is not None


def place_of(candidate: bytes, allowed: Iterable[bytes]) -> int | None:
    """Return the first index at which `allowed` has `candidate`, or None. Takes constant time."""
    places = [place for place, value in enumerate(allowed) if hmac.compare_digest(value, candidate)]
    return places[0] if places else None


def proof_text(check: str, place: int, secrets: int) -> str:
    """Return the proof: the check, and the number of the secret if there are several."""
    return f"{check}, secret {place + 1} of {secrets}" if secrets > 1 else check


def hmac_sha256(key: bytes, message: bytes) -> bytes:
    """Return the HMAC-SHA256 digest, 32 bytes."""
    return hmac.digest(key, message, "sha256")


def secret_bytes(secret: SecretStr) -> bytes:
    """Return the secret's UTF-8 bytes."""
    return secret.get_secret_value().encode()


def required_header(delivery: Delivery, name: str, check: str) -> str:
    """Return the value of a header that the verification needs, without white space at its ends.

    Raise NotVerifiedError with `check` if the header is missing, empty or not ASCII.
    """
    value = delivery.headers.get(header_name(name), "").strip()
    if not value:
        raise NotVerifiedError(check, f"the header {name} is missing or empty")
    if not value.isascii():
        raise NotVerifiedError(check, f"the header {name} contains characters outside ASCII")
    return value


def require_fresh(timestamp: str, unit: timedelta, now: datetime) -> None:
    """Raise NotVerifiedError for a timestamp more than five minutes before or after `now`.

    Also raise it for an invalid timestamp. `timestamp` is a whole number of `unit` since 1970-01-01 UTC,
    as text. `now` is aware. A future time is rejected too, because a captured delivery could be replayed
    until then.
    """
    require_near(_since_epoch(timestamp, unit), now, TOLERANCE)


def moment_of(timestamp: str) -> datetime:
    """Return the time (aware) of a timestamp in a header. Raise NotVerifiedError for an invalid one.

    `timestamp` is a time in ISO 8601 with its offset, or a whole number since 1970-01-01 UTC: of seconds
    if it has at most 11 digits, else of milliseconds.
    """
    if not _ISO_TIME.fullmatch(timestamp):
        seconds = len(timestamp) <= _LONGEST_SECONDS
        return _since_epoch(timestamp, timedelta(seconds=1) if seconds else timedelta(milliseconds=1))
    try:
        return datetime.fromisoformat(timestamp)
    except ValueError as error:
        raise NotVerifiedError("timestamp", "the timestamp is outside the range of dates") from error


def require_near(moment: datetime, now: datetime, tolerance: timedelta) -> None:
    """Raise NotVerifiedError for a time more than `tolerance` before or after `now`. Both are aware."""
    off = now - moment
    if abs(off) > tolerance:
        side = "in the past" if off > timedelta(0) else "in the future"
        seconds, allowed = abs(off).total_seconds(), tolerance.total_seconds()
        raise NotVerifiedError(
            "timestamp", f"the timestamp is {seconds:.0f} s {side}; at most {allowed:.0f} s are allowed"
        )


def _since_epoch(timestamp: str, unit: timedelta) -> datetime:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= _LONGEST_TIMESTAMP):
        raise NotVerifiedError(
            "timestamp",
            f"the timestamp is neither a whole number of at most {_LONGEST_TIMESTAMP} digits nor a time in "
            "ISO 8601 with an offset",
        )
    try:
        return _EPOCH + int(timestamp) * unit
    except OverflowError as error:
        raise NotVerifiedError("timestamp", "the timestamp is outside the range of dates") from error


def require_url_key(delivery: Delivery, expected: SecretStr | None) -> None:
    """Raise NotVerifiedError if the path does not end with the source's `url_key`.

    If the source has no `url_key`, a path with a key is rejected, because its sender expects the key to be
    checked.
    """
    if expected is None:
        if delivery.url_key is not None:
            raise NotVerifiedError("url_key", "the path ends with a key, but the source has no `url_key`")
        return
    if delivery.url_key is None:
        raise NotVerifiedError("url_key", "the path does not end with the `url_key` of the source")
    key = delivery.url_key.encode(errors="replace")
    if not matches_any(key, (secret_bytes(expected),)):
        raise NotVerifiedError("url_key", "the key in the path is not the `url_key` of the source")
