"""The verification scheme `jwt`: a JSON Web Token (RFC 7519) in the header Authorization. Pure.

monday sends one, signed by HS256, with each request of an app's webhooks,
https://developer.monday.com/apps/docs/authorization-header. The token does not cover the body: anybody who
has seen a request can send another body with its token until the token expires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from integration.domain.errors import NotVerifiedError
from integration.webhooks.verification import proof_text, required_header, secret_bytes

if TYPE_CHECKING:
    from datetime import datetime

    from integration.config.source_models import JsonSource
    from integration.domain.delivery import Delivery
    from integration.webhooks.providers.signatures import SignedMessage

HEADER: Final = "Authorization"
_ALGORITHMS: Final = ["HS256"]
_LONGEST: Final = 8192
_LEEWAY_SECONDS: Final = 60
_VALID_SECONDS: Final = 300  # as monday's tokens
_BEARER: Final = "bearer "


def verify_jwt(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    """Return the proof of a delivery with a valid token. Raise NotVerifiedError.

    The token must have `exp`, and must be valid at `now` (with a leeway of 60 seconds). If the source has
    a `public_url`, `aud` must be that URL.
    """
    token = sent_token(required_header(delivery, HEADER, "jwt"))
    keys = [secret_bytes(secret) for secret in settings.secrets]
    claims = [claims_of(token, key) for key in keys]
    place = next((place for place, found in enumerate(claims) if found is not None), None)
    if place is None:
        raise NotVerifiedError("jwt", "the token is not signed by HS256 with one of the configured `secrets`")
    _require_claims(claims[place] or {}, settings, now)
    return proof_text("jwt", place, len(keys))


def sent_token(value: str) -> str:
    """Return the token in the header's value. Some senders write the word Bearer before it."""
    return value[len(_BEARER) :].strip() if value.lower().startswith(_BEARER) else value


def claims_of(token: str, key: bytes) -> dict[str, Any] | None:
    """Return the claims of a token, None if it is too long or not signed by HS256 with `key`.

    The claims are not checked.
    """
    if len(token) > _LONGEST:
        return None
    try:
        return jwt.decode(token, OctKey.import_key(key), algorithms=_ALGORITHMS).claims
    except (JoseError, ValueError, TypeError):
        return None


def _require_claims(claims: dict[str, Any], settings: JsonSource, now: datetime) -> None:
    options: dict[str, Any] = {"exp": {"essential": True}}
    if settings.public_url is not None:
        options["aud"] = {"essential": True, "value": settings.public_url}
    registry = jwt.JWTClaimsRegistry(now=int(now.timestamp()), leeway=_LEEWAY_SECONDS, **options)
    try:
        registry.validate(claims)
    except JoseError as error:
        # The code of the error, such as invalid_claim, has no text of the token.
        raise NotVerifiedError("jwt", f"the token is not valid: {error.error}") from None


def sign_jwt(message: SignedMessage, settings: JsonSource) -> dict[str, str]:
    """Return the header that the sender would send, with a token signed with the first secret."""
    issued = int(message.now.timestamp())
    claims = {"aud": settings.public_url or message.url, "iat": issued, "exp": issued + _VALID_SECONDS}
    key = OctKey.import_key(secret_bytes(settings.secrets[0]))
    return {HEADER: jwt.encode({"alg": _ALGORITHMS[0], "typ": "JWT"}, claims, key, algorithms=_ALGORITHMS)}
