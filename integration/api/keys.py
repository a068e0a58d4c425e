"""API keys: bearer authentication (RFC 6750), visible accounts, and rate limits.

A key is compared in constant time with every configured one, and appears in no response and no log.
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
    """Return the key in the `Authorization` header. Raise ProblemError (401)."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != _SCHEME or not token.strip():
        raise _unauthorized("send the header: Authorization: Bearer KEY", "Bearer")
    # The digests have the same length, so that timing does not reveal a key's length.
    digest = sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
    caller: ApiKey | None = None
    for key in keys.values():
        if matches_any(digest, (sha256(secret_bytes(key.key)).digest(),)):
            caller = key
    if caller is None:
        log.warning("caller rejected", why="its key is not one of api_keys")
        raise _unauthorized("this key is unknown; send a key of [api_keys]", 'Bearer error="invalid_token"')
    return caller


def require_rate(caller: ApiKey, rates: RateLimit) -> None:
    """Count one request of a caller. Raise ProblemError (429, with Retry-After), StoreAwayError."""
    if caller.rate_per_minute is None:
        return
    wait = rates.over(f"api:{caller.name}", caller.rate_per_minute)
    if wait is not None:
        raise ProblemError(
            429,
            f"this key may make {caller.rate_per_minute} requests a minute; try again in {wait} s",
            headers={"Retry-After": str(wait)},
        )


def may_see(caller: ApiKey, account: str | None) -> bool:
    """Return whether a key may see an account's data. None stands for data of no known account."""
    return caller.accounts is None or account in caller.accounts


def note(services: Services, caller: ApiKey, what: str, about: str) -> None:
    """Log an action of a caller in the audit log, with an internal id or a configured name."""
    services.audit.note_done(f"api:{caller.name}", what, [about], address=request.remote_addr or "")


def _unauthorized(detail: str, challenge: str) -> ProblemError:
    return ProblemError(401, detail, headers={"WWW-Authenticate": challenge})
