"""Building blocks of a view's response: pages, flash messages, redirects, and the audit note.

A page extends `layout`, which is the whole frame for a browser and only the content for htmx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from flask import Response, flash, g, make_response, redirect, render_template, request

from integration.dashboard.addresses import client_address
from integration.web.isolation.user_queue import Caller

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.domain.roles import SignedInUser
    from integration.services.container import Services

FlashKind = Literal["done", "refused", "note"]


def person() -> SignedInUser:
    """Return the signed-in user. Call it only in views with `@signed_in` or `@role`."""
    return cast("SignedInUser", g.person)


def caller() -> Caller:
    """Return the signed-in user as a caller of the fork server."""
    return Caller.of(person().name, request.environ, is_viewer=not person().may("operator"))


def note(services: Services, what: str, *about: str) -> None:
    """Add an entry to the audit log for the signed-in user. Raise StoreAwayError.

    `what` is the action, in most cases beginning with a key of `ACTS` in `views/audit.py`. `about` holds
    ids of Ringback, names of the configuration, counts or filters, never a customer's telephone number or
    id.
    """
    services.audit.note(person().name, what, about, address=client_address(services.config.dashboard))


def is_htmx_request() -> bool:
    """Return True if htmx sent the request."""
    return "HX-Request" in request.headers


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """Return a rendered template. `layout` is the whole frame for a browser, the content for htmx."""
    layout = "part.html" if is_htmx_request() else "frame.html"
    return make_response(render_template(template, layout=layout, **values), status)


def flash_message(words: str, kind: FlashKind = "done") -> None:
    """Store a message in the session. The next page shows it."""
    flash(words, kind)


def back_to(address: str) -> ResponseReturnValue:
    """Return a redirect to a page after an action. That page shows the messages of `flash_message`.

    `address` is built by `url_for`, never taken from the request.
    """
    # 303 turns the next request into a GET.
    return redirect(address, 303)


def failure(status: int, title: str, words: str, hint: str = "") -> Response:
    """Return an error page; for htmx, only its texts. `hint` says what the user can do."""
    template = "failure_words.html" if is_htmx_request() else "failure.html"
    return page(template, status=status, title=title, words=words, hint=hint)
