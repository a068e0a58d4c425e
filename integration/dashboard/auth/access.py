"""Sessions of the dashboard. Each request checks them against the current configuration.

A session ends on sign-out, and when it is idle or open for too long. It also ends when its user is
removed or gets another password or role, or when `[oidc]` names another provider or other roles.
Automatic refreshes of a page do not count as activity.
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
    """Access to the session of the current request: read, open and end."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def present(self) -> SignedInUser | None:
        """Return the signed-in user, or None. A session that is no longer valid is ended.

        Requests other than automatic refreshes restart the idle time, at most about once a minute. Raise
        StoreAwayError.
        """
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
        """Return a redirect to the sign-in page, for htmx as the header `HX-Redirect`.

        Without users and provider, return the page that explains how to create a user.
        """
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
        """End the current session and open one for an authenticated user. Raise StoreAwayError.

        `role` is the role from the provider, or "" for a user of the configuration. `mark` is
        `provider_fingerprint` or `user_fingerprint`.
        """
        self.leave()
        idle = _idle(self._services.config.dashboard)
        session[_IN_COOKIE] = self._services.sessions.open(name=name, role=role, mark=mark, idle=idle)

    def leave(self) -> None:
        """End the session in the store and clear the cookie. Copies of the cookie are then invalid.

        Raise StoreAwayError.
        """
        token = _token()
        if token:
            self._services.sessions.end(token)
        session.clear()


def _token() -> str:
    token = session.get(_IN_COOKIE)
    return token if isinstance(token, str) else ""


def person_of(kept: DashboardSession, config: Config) -> SignedInUser | None:
    """Return the user of a session; None if the user or provider has changed since the sign-in."""
    if kept.role:
        valid = config.oidc is not None and kept.mark == provider_fingerprint(config.oidc)
        return SignedInUser(kept.name, Role(kept.role)) if valid else None
    user = config.users.get(kept.name)
    valid = user is not None and kept.mark == user_fingerprint(user)
    return SignedInUser(kept.name, Role(user.role)) if user is not None and valid else None


def user_fingerprint(user: User) -> str:
    """Return a digest that changes with the user's password hash or role."""
    return _mark(user.password.get_secret_value(), user.role)


def provider_fingerprint(oidc: Oidc) -> str:
    """Return a digest that changes with the issuer, client id, role claim or roles of `[oidc]`."""
    roles = orjson.dumps(oidc.roles, option=orjson.OPT_SORT_KEYS).decode()
    return _mark(oidc.issuer, oidc.client_id, oidc.role_claim, roles)


def _mark(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def _longest(settings: DashboardSettings) -> timedelta:
    return timedelta(hours=settings.session_hours)


def _idle(settings: DashboardSettings) -> timedelta:
    return min(timedelta(minutes=settings.idle_minutes), _longest(settings))
