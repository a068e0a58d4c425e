"""The verification schemes of `json` sources, each with a function to verify and one to sign. Pure.

`SCHEMES` is the table of schemes. Its keys are the values of `verify` in the configuration. Nothing here
parses the body. Messages contain no secrets and no digests.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from integration.domain.errors import NotVerifiedError
from integration.webhooks.signature import (
    by_secret,
    hmac_sha256,
    place_of,
    require_fresh,
    required_header,
    secret_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from pydantic import SecretStr

    from integration.config.source_models import JsonSource
    from integration.domain.delivery import Delivery

_SECOND = timedelta(seconds=1)
_STANDARD_PREFIX = "whsec_"


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message to sign: the body, the sender's message id, and the time of signing (aware)."""

    body: bytes
    id: str
    now: datetime


@dataclass(frozen=True, slots=True)
class Scheme:
    """`verify` returns the proof or raises NotVerifiedError. `sign` returns headers for the first secret."""

    verify: Callable[[Delivery, JsonSource, datetime], str]
    sign: Callable[[SignedMessage, JsonSource], dict[str, str]]


# --- Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks ---------------


def standard_key(secret: SecretStr) -> bytes:
    """Return the key of a Standard Webhooks secret. No signature matches an empty key.

    The specification writes a secret as `whsec_` and base64. Its libraries also accept base64 without the
    prefix or without padding. A text without the prefix that is not base64 is used as the key.
    """
    return _standard_key(secret.get_secret_value().strip())


@lru_cache(maxsize=1024)
def _standard_key(text: str) -> bytes:
    bare = text.removeprefix(_STANDARD_PREFIX)
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b"" if text.startswith(_STANDARD_PREFIX) else text.encode()


def _standard_digest(key: bytes, message_id: str, timestamp: str, body: bytes) -> bytes:
    return hmac_sha256(key, f"{message_id}.{timestamp}.".encode() + body)


def _standard_signatures(header: str) -> list[bytes]:
    # `v1a` is Ed25519. The specification requires receivers to ignore unknown versions. Malformed parts are
    # ignored too.
    digests = []
    for part in header.split(" "):
        version, _, text = part.partition(",")
        if version != "v1":
            continue
        try:
            digests.append(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            continue
    return digests


def _verify_standard(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    check = "standard-webhooks"
    message_id = required_header(delivery, "webhook-id", check)
    timestamp = required_header(delivery, "webhook-timestamp", check)
    given = _standard_signatures(required_header(delivery, "webhook-signature", check))
    require_fresh(timestamp, _SECOND, now)
    keys = [standard_key(secret) for secret in settings.secrets]
    # Everybody knows an empty key, so it must not match.
    expected = [_standard_digest(key, message_id, timestamp, delivery.body) if key else b"" for key in keys]
    places = [place_of(signature, expected) for signature in given if signature]
    place = next((place for place in places if place is not None), None)
    if place is None:
        raise NotVerifiedError(
            check, f"none of the {len(given)} v1 signatures is made with a configured secret"
        )
    return by_secret(check, place, len(keys))


def _sign_standard(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    return standard_headers(message, settings.secrets[0])


def standard_headers(message: SignedMessage, secret: SecretStr) -> dict[str, str]:
    """Return the headers that Standard Webhooks defines for a signed message."""
    timestamp = str(int(message.now.timestamp()))
    digest = _standard_digest(standard_key(secret), message.id, timestamp, message.body)
    return {
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


# --- a digest of the body in one header: GitHub, Meta, Typeform and many others --------------------


def _digest_text(key: bytes, body: bytes, encoding: str) -> str:
    digest = hmac_sha256(key, body)
    return digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()


def _verify_hmac(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (signs no time)
    check = "hmac-sha256"
    value = required_header(delivery, _header_name(settings, check), check)
    if not value.startswith(settings.prefix):
        raise NotVerifiedError(check, "the header does not begin with the configured prefix")
    given = value.removeprefix(settings.prefix)
    # Some senders write hex digits in upper case. Base64 is case-sensitive.
    given = given.lower() if settings.encoding == "hex" else given
    expected = [
        _digest_text(secret_bytes(secret), delivery.body, settings.encoding).encode()
        for secret in settings.secrets
    ]
    place = place_of(given.encode(), expected)
    if place is None:
        raise NotVerifiedError(check, f"the {settings.encoding} digest is not one of the body under a secret")
    return by_secret(check, place, len(expected))


def _sign_hmac(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    digest = _digest_text(secret_bytes(settings.secrets[0]), message.body, settings.encoding)
    return {_header_name(settings, "hmac-sha256"): settings.prefix + digest}


def _header_name(settings: JsonSource, check: str) -> str:
    if not settings.header:
        raise NotVerifiedError(check, "the source has no `header` configured")
    return settings.header


# --- a secret in a header or in the URL ------------------------------------------------------------


def _credentials(delivery: Delivery, word: str, check: str) -> str:
    # RFC 9110, 11.1: the scheme's name is case-insensitive.
    scheme, _, rest = required_header(delivery, "Authorization", check).partition(" ")
    if scheme.lower() != word:
        raise NotVerifiedError(check, "the header Authorization is of another scheme")
    return rest.strip()


def _require_secret(given: bytes, settings: JsonSource, check: str) -> str:
    place = place_of(given, [secret_bytes(secret) for secret in settings.secrets])
    if place is None:
        raise NotVerifiedError(check, "what was sent is not a configured secret")
    return by_secret(check, place, len(settings.secrets))


def _verify_bearer(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    return _require_secret(_credentials(delivery, "bearer", "bearer").encode(), settings, "bearer")


def _sign_bearer(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {"Authorization": f"Bearer {settings.secrets[0].get_secret_value()}"}


def _verify_basic(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    text = _credentials(delivery, "basic", "basic")
    try:
        given = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotVerifiedError("basic", "the credentials are not base64") from None
    return _require_secret(given, settings, "basic")


def _sign_basic(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {"Authorization": f"Basic {base64.b64encode(secret_bytes(settings.secrets[0])).decode()}"}


def _verify_header(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    value = required_header(delivery, _header_name(settings, "header"), "header")
    return _require_secret(value.encode(), settings, "header")


def _sign_header(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {_header_name(settings, "header"): settings.secrets[0].get_secret_value()}


def _verify_url_key(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    # `require_url_key` has already compared the key.
    if settings.url_key is None:
        raise NotVerifiedError("url_key", "the source has no `url_key` configured")
    return "url_key"


def _sign_url_key(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (it is in the address)
    return {}


SCHEMES: dict[str, Scheme] = {
    "standard-webhooks": Scheme(_verify_standard, _sign_standard),
    "hmac-sha256": Scheme(_verify_hmac, _sign_hmac),
    "bearer": Scheme(_verify_bearer, _sign_bearer),
    "basic": Scheme(_verify_basic, _sign_basic),
    "header": Scheme(_verify_header, _sign_header),
    "url-key": Scheme(_verify_url_key, _sign_url_key),
}
