"""API keys: bearer authentication (RFC 6750), visible accounts, and rate limits.

A key is compared with all configured keys in constant time. Responses and logs do not contain keys.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import structlog
from flask import request

from integration.web.problems import ProblemError
from integration.webhooks.verification import matches_any, secret_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.models import ApiKey
    from integration.services.container import Services
    from integration.web.rate_limit import RateLimit

log = structlog.get_logger("ringback.api")

_SCHEME = "bearer"


def caller_of(authorization: str | None, keys: Mapping[str, ApiKey]) -> ApiKey:
    """Return the configured key in an `Authorization` header.

    Raise ProblemError (401) if the header has no key or an unknown one.
    """
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise _unauthorized(
            "the request has no API key. Send it in the header: Authorization: Bearer KEY", "Bearer"
        )
    # The digests have the same length, so that timing does not reveal a key's length.
    digest = sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
    caller: ApiKey | None = None
    for key in keys.values():
        if matches_any(digest, (sha256(secret_bytes(key.key)).digest(),)):
            caller = key
    if caller is None:
        log.warning("caller rejected", why="the key is not in api_keys")
        detail = "the API key is unknown. Send a key of [api_keys] in ringback.toml."
        raise _unauthorized(detail, 'Bearer error="invalid_token"')
    return caller


def require_rate(caller: ApiKey, rates: RateLimit) -> None:
    """Count one request of a key, if it has a limit. Raise ProblemError (429), StoreAwayError."""
    if caller.rate_per_minute is None:
        return
    wait = rates.over(f"api:{caller.name}", caller.rate_per_minute)
    if wait is not None:
        raise ProblemError(
            429,
            f"the key is limited to {caller.rate_per_minute} requests per minute. Try again in {wait} s.",
            headers={"Retry-After": str(wait)},
        )


def may_see(caller: ApiKey, account: str | None) -> bool:
    """Return True if a key may see the data of an account, or of no known account (None)."""
    return caller.accounts is None or account in caller.accounts


def note(services: Services, caller: ApiKey, what: str, about: str) -> None:
    """Write an action of a key to the audit log. `about` is an internal id or a configured name."""
    services.audit.note_done(f"api:{caller.name}", what, [about], address=request.remote_addr or "")


def _unauthorized(detail: str, challenge: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": challenge})
