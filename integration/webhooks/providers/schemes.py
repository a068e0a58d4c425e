"""The verification schemes of `json` sources, each with a function to verify and one to sign. Pure.

`SCHEMES` maps the values of `verify` in the configuration to the schemes. Only `body-token` parses the
body. Errors contain no secrets and no digests.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from integration.domain.errors import NotVerifiedError, UnmappableError
from integration.mapping.charsets import WIDE_CHARSETS
from integration.mapping.expressions import text
from integration.webhooks.providers.bodies import read_body
from integration.webhooks.providers.jwt_proof import sign_jwt, verify_jwt
from integration.webhooks.providers.signatures import (
    SignedMessage,
    header_of,
    sign_ed25519,
    sign_hmac,
    signed_id_header,
    verify_ed25519,
    verify_hmac,
)
from integration.webhooks.verification import (
    hmac_sha256,
    place_of,
    proof_text,
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

_MOST_PARAMETERS = 100
_SECOND = timedelta(seconds=1)
_STANDARD_PREFIX = "whsec_"
# Resend, Clerk and other customers of Svix send the scheme's headers under their former names,
# https://docs.svix.com/receiving/verifying-payloads/how-manual
_STANDARD_NAMES = ("webhook", "svix")


@dataclass(frozen=True, slots=True)
class Scheme:
    """The functions of a scheme.

    `verify` returns the proof or raises NotVerifiedError. `sign` returns the headers that the sender
    would send. `id_header` returns the header with the sender's message id, or None. If the scheme signs
    headers, the id must be signed, because anybody who has captured a delivery can change a header that
    is not.
    """

    verify: Callable[[Delivery, JsonSource, datetime], str]
    sign: Callable[[SignedMessage, JsonSource], dict[str, str]]
    id_header: Callable[[Delivery, JsonSource], str | None]


# --- Standard Webhooks 1.0.0, https://github.com/standard-webhooks/standard-webhooks ---------------


def standard_key(secret: SecretStr) -> bytes:
    """Return the key of a Standard Webhooks secret.

    By the specification, a secret is `whsec_` and base64. The libraries also accept base64 without the
    prefix or the padding. The key of any other text is the text itself, but with the prefix the key is
    empty, and the verification rejects it.
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


def standard_header_names(delivery: Delivery) -> tuple[str, str, str]:
    """Return the names of the headers with id, timestamp and signature.

    They begin with `svix` if the delivery has the header `svix-id` and no `webhook-id`, else with
    `webhook`.
    """
    sent = next((name for name in _STANDARD_NAMES if f"{name}-id" in delivery.headers), "webhook")
    return f"{sent}-id", f"{sent}-timestamp", f"{sent}-signature"


def _standard_id_header(delivery: Delivery, settings: JsonSource) -> str:  # noqa: ARG001  (one shape for all)
    return standard_header_names(delivery)[0]


_DOT_IN_ID = (
    "the message id contains a dot, so the signed text id.timestamp.body is ambiguous; the sender must use "
    "message ids without a dot"
)


def _verify_standard(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    check = "standard-webhooks"
    message_id, timestamp, signatures = (
        required_header(delivery, name, check) for name in standard_header_names(delivery)
    )
    if "." in message_id:
        raise NotVerifiedError(check, _DOT_IN_ID)
    v1_signatures = _standard_signatures(signatures)
    require_fresh(timestamp, _SECOND, now)
    keys = [standard_key(secret) for secret in settings.secrets]
    # Everybody knows an empty key, so it must not match.
    expected = [_standard_digest(key, message_id, timestamp, delivery.body) if key else b"" for key in keys]
    places = [place_of(signature, expected) for signature in v1_signatures if signature]
    place = next((place for place in places if place is not None), None)
    if place is None:
        raise NotVerifiedError(
            check, f"none of the {len(v1_signatures)} v1 signatures matches any of the configured `secrets`"
        )
    return proof_text(check, place, len(keys))


def _sign_standard(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    return standard_headers(message, settings.secrets[0])


def standard_headers(message: SignedMessage, secret: SecretStr) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a message, signed with `secret`."""
    timestamp = str(int(message.now.timestamp()))
    digest = _standard_digest(standard_key(secret), message.id, timestamp, message.body)
    return {
        "webhook-id": message.id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


# --- a secret in a header or in the URL ------------------------------------------------------------


def _credentials(delivery: Delivery, word: str, check: str) -> str:
    # RFC 9110, 11.1: the scheme's name is case-insensitive.
    scheme, _, rest = required_header(delivery, "Authorization", check).partition(" ")
    if scheme.lower() != word:
        raise NotVerifiedError(
            check, f"the header Authorization does not have the scheme {word.capitalize()}"
        )
    return rest.strip()


def _require_secret(credential: bytes, settings: JsonSource, check: str) -> str:
    place = place_of(credential, [secret_bytes(secret) for secret in settings.secrets])
    if place is None:
        raise NotVerifiedError(check, "the credential does not match any of the configured `secrets`")
    return proof_text(check, place, len(settings.secrets))


def _verify_bearer(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    return _require_secret(_credentials(delivery, "bearer", "bearer").encode(), settings, "bearer")


def _sign_bearer(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {"Authorization": f"Bearer {settings.secrets[0].get_secret_value()}"}


def _verify_basic(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    text = _credentials(delivery, "basic", "basic")
    try:
        credentials = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise NotVerifiedError(
            "basic", "the credentials in the header Authorization are not valid base64"
        ) from None
    return _require_secret(credentials, settings, "basic")


def _sign_basic(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {"Authorization": f"Basic {base64.b64encode(secret_bytes(settings.secrets[0])).decode()}"}


def _verify_header(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    value = required_header(delivery, header_of(settings, "header"), "header")
    return _require_secret(value.encode(), settings, "header")


def _sign_header(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (signs nothing)
    return {header_of(settings, "header"): settings.secrets[0].get_secret_value()}


def _verify_url_key(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    # `require_url_key` has already compared the key.
    if settings.url_key is None:
        raise NotVerifiedError("url_key", "the source has no `url_key` configured")
    return "url_key"


# --- a secret in the query string or in the body ----------------------------------------------------


def _verify_query_key(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    return _require_secret(query_key(delivery, settings).encode(errors="replace"), settings, "query-key")


def query_key(delivery: Delivery, settings: JsonSource) -> str:
    """Return the value of the query parameter `param`.

    Raise NotVerifiedError if it is missing, empty or repeated, or if the query has too many parameters.
    """
    query = urlsplit(delivery.url).query
    if query.count("&") >= _MOST_PARAMETERS:
        raise NotVerifiedError("query-key", f"the query has more than {_MOST_PARAMETERS} parameters")
    pairs = parse_qsl(query, keep_blank_values=True)
    values = [value for name, value in pairs if name == settings.param]
    if len(values) != 1 or not values[0]:
        why = f"the query has {len(values)} parameters {settings.param}; exactly one with a value is required"
        raise NotVerifiedError("query-key", why)
    return values[0]


def _verify_body_token(delivery: Delivery, settings: JsonSource, now: datetime) -> str:  # noqa: ARG001  (no time in it)
    return _require_secret(body_token(delivery, settings).encode(errors="replace"), settings, "body-token")


_NOT_IN_BODY = "the template `token` finds no token in the body; compare it with a body of the sender"


def body_token(delivery: Delivery, settings: JsonSource) -> str:
    """Return the text that the template `token` renders for the body.

    Raise NotVerifiedError if the body has no such text, or if the source has no `token`. Raise
    UnsupportedTypeError or UnreadableError if the body cannot be parsed.
    """
    if settings.token is None:
        raise NotVerifiedError("body-token", "the source has no `token` configured")
    try:
        return text(settings.token, frozenset({"body"})).render(body=read_body(delivery))
    except (UnmappableError, ValueError):
        raise NotVerifiedError("body-token", _NOT_IN_BODY) from None


def without_tokens(body: bytes, settings: JsonSource) -> bytes:
    """Return a body with "*" in place of each configured secret of `body-token`.

    For another scheme, return the body unchanged. The secrets of `body-token` are ASCII, so WIDE_CHARSETS
    cover all charsets.
    """
    if settings.verify != "body-token":
        return body
    for secret in settings.secrets:
        token = secret_bytes(secret).decode()
        for charset in WIDE_CHARSETS:
            body = body.replace(token.encode(charset), "*".encode(charset))
    return body


def _idempotency_key(delivery: Delivery, settings: JsonSource) -> str:  # noqa: ARG001  (one shape for all)
    return "Idempotency-Key"


def _no_headers(message: SignedMessage, settings: JsonSource) -> dict[str, str]:  # noqa: ARG001  (one shape for all)
    return {}


SCHEMES: dict[str, Scheme] = {
    "standard-webhooks": Scheme(_verify_standard, _sign_standard, _standard_id_header),
    "hmac": Scheme(verify_hmac, sign_hmac, signed_id_header),
    "hmac-sha256": Scheme(verify_hmac, sign_hmac, signed_id_header),
    "ed25519": Scheme(verify_ed25519, sign_ed25519, signed_id_header),
    "jwt": Scheme(verify_jwt, sign_jwt, _idempotency_key),
    "bearer": Scheme(_verify_bearer, _sign_bearer, _idempotency_key),
    "basic": Scheme(_verify_basic, _sign_basic, _idempotency_key),
    "header": Scheme(_verify_header, _sign_header, _idempotency_key),
    "body-token": Scheme(_verify_body_token, _no_headers, _idempotency_key),
    "query-key": Scheme(_verify_query_key, _no_headers, _idempotency_key),
    "url-key": Scheme(_verify_url_key, _no_headers, _idempotency_key),
}
