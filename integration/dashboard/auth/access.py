"""Who is signed in: a session of the store, held to the configuration as it is now.

A session ends when nothing is done in it for too long, when it is too old, when somebody signs out, and
when its user is removed or gets another password or role. A page that renews itself does nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import orjson
from flask import Response, redirect, request, session, url_for

from integration.dashboard.addresses import local_address
from integration.dashboard.responses import asked_by_htmx, page
from integration.domain.roles import Role, SignedInUser

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from integration.config.models import Config, DashboardSettings, Oidc, User
    from integration.services.container import Services
    from integration.store.sessions import DashboardSession

_IN_COOKIE: Final = "session"
_KEEP_EVERY: Final = timedelta(seconds=60)


class SessionAccess:
    """The access of the dashboard, on a services."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def present(self) -> SignedInUser | None:
        """Give who is signed in, None when nobody is. Raises StoreAwayError."""
        token = _token()
        kept = self._services.sessions.read(token) if token else None
        if kept is None:
            return None
        config = self._services.config
        person = person_of(kept, config)
        if person is None or datetime.now(UTC) - kept.began_at > _longest(config.dashboard):
            self._services.sessions.end(token)
            return None
        idle = _idle(config.dashboard)
        if "X-Tick" not in request.headers and kept.left < idle - min(_KEEP_EVERY, idle / 4):
            self._services.sessions.keep(token, idle)
        return person

    def entrance(self) -> ResponseReturnValue:
        """Lead somebody who is not signed in to the sign-in page; without users say how to make one."""
        if not self._services.config.can_sign_in:
            return page("nobody.html")
        if asked_by_htmx():
            answer = Response(status=204)
            shown = urlsplit(request.headers.get("HX-Current-URL", ""))
            asked_for = local_address(shown.path + (f"?{shown.query}" if shown.query else ""))
            answer.headers["HX-Redirect"] = url_for("dashboard.sign_in", next=asked_for)
            return answer
        asked_for = request.full_path.rstrip("?") if request.method == "GET" else "/"
        return redirect(url_for("dashboard.sign_in", next=asked_for), 303)

    def admit(self, name: str, *, role: str, mark: str) -> None:
        """Open a session for somebody who proved to be this one. Raises StoreAwayError."""
        self.leave()
        idle = _idle(self._services.config.dashboard)
        session[_IN_COOKIE] = self._services.sessions.open(name=name, role=role, mark=mark, idle=idle)

    def leave(self) -> None:
        """End the present session, for every copy of its cookie, and forget all that the cookie held."""
        token = _token()
        if token:
            self._services.sessions.end(token)
        session.clear()


def _token() -> str:
    told = session.get(_IN_COOKIE)
    return told if isinstance(told, str) else ""


def person_of(kept: DashboardSession, config: Config) -> SignedInUser | None:
    """Give the person of a session; None when what it was opened on is no longer in the configuration."""
    if kept.role:
        sound = config.oidc is not None and kept.mark == mark_of_provider(config.oidc)
        return SignedInUser(kept.name, Role(kept.role)) if sound else None
    user = config.users.get(kept.name)
    sound = user is not None and kept.mark == mark_of_user(user)
    return SignedInUser(kept.name, Role(user.role)) if user is not None and sound else None


def mark_of_user(user: User) -> str:
    """Give a mark that another password or another role changes."""
    return _mark(user.password.get_secret_value(), user.role)


def mark_of_provider(oidc: Oidc) -> str:
    """Give a mark that another provider, or other roles for its groups, change."""
    roles = orjson.dumps(oidc.roles, option=orjson.OPT_SORT_KEYS).decode()
    return _mark(oidc.issuer, oidc.client_id, oidc.role_claim, roles)


def _mark(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:32]


def _longest(settings: DashboardSettings) -> timedelta:
    return timedelta(hours=settings.session_hours)


def _idle(settings: DashboardSettings) -> timedelta:
    return min(timedelta(minutes=settings.idle_minutes), _longest(settings))
