"""Building blocks of a view's response: pages, flash messages, redirects, and the audit note.

Every page extends `layout`: the whole frame for a browser, only the content for htmx.
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
    """Return the signed-in user. Only for views marked `@signed_in` or `@role`."""
    return cast("SignedInUser", g.person)


def caller() -> Caller:
    """Return the signed-in user as a caller of the fork server."""
    return Caller.of(person().name, request.environ, is_viewer=not person().may("operator"))


def note(services: Services, what: str, *about: str) -> None:
    """Add an entry to the audit log for the signed-in user. Raise StoreAwayError.

    `what` is an action of the log: reveal, retry, cancel, pause, resume, test call, remap, export, forget.
    `about` holds our ids or names of the configuration, never a customer's telephone number or id.
    """
    services.audit.note(person().name, what, about, address=client_address(services.config.dashboard))


def is_htmx_request() -> bool:
    """Return True if htmx requests a part of the page."""
    return "HX-Request" in request.headers


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a template that extends `layout`: whole for a browser, only the content for htmx."""
    layout = "part.html" if is_htmx_request() else "frame.html"
    return make_response(render_template(template, layout=layout, **values), status)


def flash_message(words: str, kind: FlashKind = "done") -> None:
    """Store a message that the next page or part shows."""
    flash(words, kind)


def back_to(address: str) -> ResponseReturnValue:
    """Redirect to a page after an action. htmx swaps in the content of that page.

    It shows the messages of `flash_message`. Pass an address built by `url_for`, never one from the request.
    """
    # 303 turns the next request into a GET.
    return redirect(address, 303)


def failure(status: int, title: str, words: str, hint: str = "") -> Response:
    """Return an error page. `hint` is the text on what the user can do."""
    template = "failure_words.html" if is_htmx_request() else "failure.html"
    return page(template, status=status, title=title, words=words, hint=hint)
