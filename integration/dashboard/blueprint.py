"""Composition of the dashboard: configuration, access checks, views and error pages."""

from __future__ import annotations

from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any

from flask import Blueprint, g, request, session
from flask.sessions import NullSession
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf
from jinja2 import StrictUndefined

from integration.config.models import zone_of
from integration.dashboard import error_pages, language, navigation
from integration.dashboard.assets import FOLDER, asset
from integration.dashboard.auth.access import SessionAccess
from integration.dashboard.auth.cookies import StoredKeySessions
from integration.dashboard.auth.roles import ForbiddenError, least_role
from integration.dashboard.auth.signin import SignIn
from integration.dashboard.auth.throttle import Throttle
from integration.dashboard.headers import set_security_headers
from integration.dashboard.presenting import account_cache, times
from integration.dashboard.presenting.display_text import visible
from integration.dashboard.presenting.labels import label_for, state_label, verdict_word
from integration.dashboard.presenting.problem_labels import open_problems
from integration.dashboard.presenting.reason_labels import with_code_marks
from integration.dashboard.views import (
    accounts,
    alerts,
    attention,
    audit,
    calendar,
    deliveries,
    now,
    parked,
    personal_data,
    recall,
    recall_views,
    recalls,
    search,
    sources,
    studio,
)
from integration.dashboard.views.deliveries import send_many
from integration.domain.errors import StoreAwayError
from integration.domain.limits import MAX_BODY_BYTES
from integration.telemetry.redaction import mask_but_end
from integration.web.response_size import reduce_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask
    from flask.typing import ResponseReturnValue

    from integration.dashboard.auth.roles import Access
    from integration.dashboard.auth.throttle import RateStore
    from integration.domain.roles import Role
    from integration.services.container import Services

    View = Callable[..., ResponseReturnValue]

# Each module lists its paths and views in VIEWS.
PAGES = (
    now,
    attention,
    recalls,
    recall_views,
    recall,
    deliveries,
    send_many,
    parked,
    calendar,
    personal_data,
    accounts,
    sources,
    studio,
    alerts,
    audit,
)

POLL_SECONDS = 5


def install(
    app: Flask,
    services: Services,
    rates: RateStore,
    access: Access | None = None,
    *,
    receiver_url: str | None = None,
) -> None:
    """Add the dashboard to an application.

    `rates` limits sign-in attempts, searches and exports. `access` replaces the session check in tests.
    `receiver_url` is the base URL of the receiver; None if the receiver has the dashboard's address.
    """
    session_access = SessionAccess(services)
    access = access or session_access
    _configure(app, services)
    app.config["RECEIVER_URL"] = receiver_url
    blueprint = Blueprint("dashboard", __name__, static_folder=FOLDER, template_folder="templates")
    _guard(app, blueprint, access, services)
    account_cache.install(app, services)
    sign_in = SignIn(session_access, Throttle(rates)).views()
    limited = chain(search.Search(rates).views(), recalls.RecallExport(rates).views())
    for address, view in chain(sign_in, limited, *(module.VIEWS for module in PAGES)):
        _add(blueprint, services, access, address, view)
    error_pages.install(app, blueprint, access)
    app.register_blueprint(blueprint)


def _configure(app: Flask, services: Services) -> None:
    language.install(app)
    app.session_interface = StoredKeySessions(services.sessions.cookie_key)
    # The CSRF check runs in `_guard`, for pages only. API and webhook requests authenticate by key or
    # signature.
    app.config.update(
        MAX_CONTENT_LENGTH=MAX_BODY_BYTES,
        WTF_CSRF_CHECK_DEFAULT=False,
        WTF_CSRF_TIME_LIMIT=None,
        SESSION_COOKIE_NAME="ringback",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.globals.update(
        asset=asset,
        languages=language.LANGUAGES,
        language=language.language,
        html_lang=language.html_lang,
        poll_seconds=POLL_SECONDS,
    )
    app.jinja_env.filters.update(
        when=times.when,
        clock=times.clock,
        duration=times.duration,
        ago=times.ago,
        clock_or_day=times.clock_or_day,
        masked=mask_but_end,
        visible=visible,
        with_code_marks=with_code_marks,
        label_for=label_for,
        state_label=state_label,
        verdict_word=verdict_word,
    )


def _guard(app: Flask, blueprint: Blueprint, access: Access, services: Services) -> None:
    csrf = CSRFProtect(app)

    @blueprint.before_request
    def ready() -> ResponseReturnValue | None:
        if request.endpoint == "dashboard.static":
            return None
        if isinstance(session, NullSession):
            raise StoreAwayError("the key of the session cookie cannot be read")
        g.person = access.present()
        csrf.protect()
        return language.switched()

    # Registered on the application: a request for an unknown path has no blueprint.
    app.context_processor(_frame)
    app.jinja_env.globals["open_problems"] = lambda: open_problems(services)
    blueprint.after_request(lambda response: reduce_size(response, g.get("csrf_token", "")))
    app.jinja_env.globals["time_zone"] = lambda: times.zone_label(zone_of(services.config))
    blueprint.after_request(set_security_headers)


def _frame() -> dict[str, Any]:
    """Return the variables of the request for all templates."""
    person = g.get("person")
    return {
        "person": person,
        "entries": navigation.entries_for(person),
        "theme": request.cookies.get("ringback_theme", ""),
        "csrf_token": _csrf_token,
    }


def _csrf_token() -> str:
    """Return the CSRF token, or "" for a request without a session, such as an error page may have."""
    return "" if isinstance(session, NullSession) else str(generate_csrf())


def _add(blueprint: Blueprint, services: Services, access: Access, address: str, view: View) -> None:
    method, path = address.split(" ")
    least = least_role(view)

    @wraps(view)
    def answer(**parts: Any) -> ResponseReturnValue:
        if least is not None:
            if g.person is None:
                return access.redirect_to_sign_in()
            _require(least)
        return view(services, **parts)

    blueprint.add_url_rule(path, view.__name__, answer, methods=[method])


def _require(least: Role) -> None:
    if not g.person.role.allows(least):
        raise ForbiddenError(least)
