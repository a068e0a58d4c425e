"""What a view answers with: a page or its changed part, words about what was done, who asked, live or not.

Every page extends `layout`, which is the whole frame for a browser and nothing but the content for htmx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from flask import Response, flash, g, make_response, redirect, render_template, request

from integration.dashboard.addresses import client_address

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.domain.roles import SignedInUser
    from integration.services.container import Services

FlashKind = Literal["done", "refused", "note"]


def person() -> SignedInUser:
    """Give who is signed in; only in a view that is not for anybody."""
    return cast("SignedInUser", g.person)


def note(services: Services, what: str, *about: str) -> None:
    """Write into the audit log that the person did something about these ids. Raises StoreAwayError.

    `what` is one of the words of the log: reveal, retry, cancel, pause, resume, test call, remap, export,
    forget. Ids are ours, or names of the configuration: never a customer's number or id.
    """
    services.audit.note(person().name, what, about, address=client_address(services.config.dashboard))


def asked_by_htmx() -> bool:
    """Tell whether htmx asks for a part of the page, and not the browser for the whole."""
    return "HX-Request" in request.headers


def page(template: str, *, status: int = 200, **values: Any) -> Response:
    """Render a template that extends `layout`, for the browser whole and for htmx its content alone."""
    layout = "part.html" if asked_by_htmx() else "frame.html"
    return make_response(render_template(template, layout=layout, **values), status)


def say(words: str, kind: FlashKind = "done") -> None:
    """Tell the person something with the next page or part: what was done, or what was not and why."""
    flash(words, kind)


def back_to(address: str) -> ResponseReturnValue:
    """Send the browser to a page after an action; htmx swaps that page's content in.

    What `say` said is shown there. The address is one of ours (`url_for`), never one that was sent.
    """
    # 303: the next request is a GET, whatever this one was.
    return redirect(address, 303)


def failure(status: int, title: str, words: str, hint: str = "") -> Response:
    """Answer with a page about what went wrong; `hint` says what to do."""
    template = "failure_words.html" if asked_by_htmx() else "failure.html"
    return page(template, status=status, title=title, words=words, hint=hint)
