"""Sessions of the dashboard. Each request checks them against the current configuration.

A session ends when it is idle or open for too long, on sign-out, and when its user is removed or gets
another password or role. Automatic refreshes of a page do not count as activity.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson
from flask import Response, redirect, request, session, url_for

from integration.dashboard.addresses import local_address
from integration.dashboard.responses import is_htmx_request, page
from integration.domain.roles import Role, SignedInUser

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from integration.config.models import Config, DashboardSettings, Oidc, User
    from integration.services.container import Services
    from integration.store.sessions import DashboardSession

_IN_COOKIE: Final = "session"
_KEEP_EVERY: Final = timedelta(seconds=60)


class SessionAccess:
    """Reads, opens and ends the session of the current request."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def present(self) -> SignedInUser | None:
        """Return the signed-in user, or None. Raise StoreAwayError."""
        token = _token()
        stored = self._services.sessions.read(token) if token else None
        if stored is None:
            return None
        config = self._services.config
        person = person_of(stored, config)
        if person is None or datetime.now(UTC) - stored.began_at > _longest(config.dashboard):
            self._services.sessions.end(token)
            return None
        idle = _idle(config.dashboard)
        if "X-Poll" not in request.headers and stored.left < idle - min(_KEEP_EVERY, idle / 4):
            self._services.sessions.keep(token, idle)
        return person

    def redirect_to_sign_in(self) -> ResponseReturnValue:
        """Redirect to the sign-in page. Without configured users, explain how to create one."""
        if not self._services.config.can_sign_in:
            return page("no_users.html")
        if is_htmx_request():
            answer = Response(status=204)
            current = urlsplit(request.headers.get("HX-Current-URL", ""))
            asked_for = local_address(current.path + (f"?{current.query}" if current.query else ""))
            answer.headers["HX-Redirect"] = url_for("dashboard.sign_in", next=asked_for)
            return answer
        asked_for = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return redirect(url_for("dashboard.sign_in", next=asked_for), 303)

    def admit(self, name: str, *, role: str, mark: str) -> None:
        """Open a session for an authenticated user. Raise StoreAwayError."""
        self.leave()
        idle = _idle(self._services.config.dashboard)
        session[_IN_COOKIE] = self._services.sessions.open(name=name, role=role, mark=mark, idle=idle)

    def leave(self) -> None:
        """End the session in the store, which invalidates every copy of its cookie, and clear the cookie."""
        token = _token()
        if token:
            self._services.sessions.end(token)
        session.clear()


def _token() -> str:
    token = session.get(_IN_COOKIE)
    return token if isinstance(token, str) else ""


def person_of(kept: DashboardSession, config: Config) -> SignedInUser | None:
    """Return the user of a session, or None if its user or provider has changed in the configuration."""
    if kept.role:
        valid = config.oidc is not None and kept.mark == provider_fingerprint(config.oidc)
        return SignedInUser(kept.name, Role(kept.role)) if valid else None
    user = config.users.get(kept.name)
    valid = user is not None and kept.mark == user_fingerprint(user)
    return SignedInUser(kept.name, Role(user.role)) if user is not None and valid else None


def user_fingerprint(user: User) -> str:
    """Return a digest that changes with the user's password or role."""
    return _mark(user.password.get_secret_value(), user.role)


def provider_fingerprint(oidc: Oidc) -> str:
    """Return a digest that changes with the identity provider or its mapping of groups to roles."""
    roles = orjson.dumps(oidc.roles, option=orjson.OPT_SORT_KEYS).decode()
    return _mark(oidc.issuer, oidc.client_id, oidc.role_claim, roles)


def _mark(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def _longest(settings: DashboardSettings) -> timedelta:
    return timedelta(hours=settings.session_hours)


def _idle(settings: DashboardSettings) -> timedelta:
    return min(timedelta(minutes=settings.idle_minutes), _longest(settings))
