"""Sign-in with name and password, and sign-out.

An unknown name and a wrong password get the same response after about the same time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from flask import redirect, request, url_for
from flask_babel import gettext as _

from integration.dashboard.addresses import client_address, local_address
from integration.dashboard.auth.access import user_fingerprint
from integration.dashboard.auth.oidc import Provider
from integration.dashboard.auth.roles import anybody
from integration.dashboard.responses import page
from integration.domain.passwords import BusyError, Verifier

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.typing import ResponseReturnValue

    from integration.config.models import User
    from integration.dashboard.auth.access import SessionAccess
    from integration.dashboard.auth.throttle import Throttle
    from integration.services.container import Services

log = structlog.get_logger("ringback.dashboard")

BUSY_SECONDS = 5
NOBODY_KNOWN = "unknown"


class SignIn:
    """The sign-in and sign-out views."""

    def __init__(self, people: SessionAccess, throttle: Throttle) -> None:
        self._people = people
        self._throttle = throttle
        self._verifier = Verifier()
        self._provider = Provider(people)

    def views(self) -> tuple[tuple[str, Callable[..., ResponseReturnValue]], ...]:
        """Return pairs of `METHOD /path` and view."""

        @anybody
        def sign_in(services: Services) -> ResponseReturnValue:
            return self._show(services)

        @anybody
        def try_to_sign_in(services: Services) -> ResponseReturnValue:
            return self._try(services)

        @anybody
        def sign_out(services: Services) -> ResponseReturnValue:
            return self._leave(services)

        return (
            ("GET /sign-in", sign_in),
            ("POST /sign-in", try_to_sign_in),
            ("POST /sign-out", sign_out),
            *self._provider.views(),
        )

    def _show(self, services: Services) -> ResponseReturnValue:
        if not services.config.can_sign_in:
            return page("no_users.html")
        if self._people.present() is not None:
            return redirect(local_address(request.args.get("next")), 303)
        return form(services)

    def _try(self, services: Services) -> ResponseReturnValue:
        name, password = request.form.get("name", "").strip(), request.form.get("password", "")
        address = client_address(services.config.dashboard)
        wait = self._throttle.wait(name, address)
        if wait is not None:
            return form(
                services, 429, _("Too many attempts. Try again in %(seconds)s s.", seconds=wait), wait
            )
        try:
            user = self._user(services, name, password)
        except BusyError:
            return form(
                services, 503, _("Too many people are signing in. Try again in a moment."), BUSY_SECONDS
            )
        if user is None:
            self._note_failure(services, name, address)
            return form(services, 401, _("The name or the password is wrong. Check both and try again."))
        self._people.admit(user.name, role="", mark=user_fingerprint(user))
        services.audit.note(user.name, "sign-in", address=address)
        return redirect(local_address(request.form.get("next")), 303)

    def _user(self, services: Services, name: str, password: str) -> User | None:
        users = services.config.users
        user = users.get(name)
        hash_ = None if user is None else user.password.get_secret_value()
        others = [each.password.get_secret_value() for each in users.values()]
        return user if self._verifier.right(password, hash_, others) else None

    def _note_failure(self, services: Services, name: str, address: str) -> None:
        # An unknown name may be a password typed into the wrong field, so it is not logged.
        known = name if name in services.config.users else NOBODY_KNOWN
        log.warning("sign-in failed", user=known, address=address)
        if self._throttle.may_note():
            services.audit.note(known, "failed sign-in", address=address)

    def _leave(self, services: Services) -> ResponseReturnValue:
        person = self._people.present()
        self._people.leave()
        if person is not None:
            services.audit.note(person.name, "sign-out", address=client_address(services.config.dashboard))
        return redirect(url_for("dashboard.sign_in"), 303)


def form(
    services: Services, status: int = 200, words: str = "", retry_after_seconds: int | None = None
) -> ResponseReturnValue:
    """Return the sign-in page. `words` is an error message, or "" for none.

    `retry_after_seconds` is sent as the header `Retry-After`.
    """
    wanted = request.form.get("next") or request.args.get("next")
    answer = page(
        "signin.html",
        status=status,
        words=words,
        wanted=local_address(wanted),
        name=request.form.get("name", ""),
        with_password=bool(services.config.users),
        provider=services.config.oidc,
    )
    if retry_after_seconds is not None:
        answer.headers["Retry-After"] = str(retry_after_seconds)
    return answer
