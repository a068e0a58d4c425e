"""Error pages: what happened and what to do. They contain no exception texts and no secrets.

For htmx only the text is returned, and is shown at the top of the current page.
"""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from flask import g, request
from flask_babel import gettext as _
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, NotFound

from integration.dashboard.addresses import is_ours
from integration.dashboard.auth.roles import ForbiddenError
from integration.dashboard.headers import set_security_headers
from integration.dashboard.presenting.labels import label_for, state_label
from integration.dashboard.responses import failure
from integration.domain.errors import (
    ClientLeftError,
    ConflictError,
    ForkServerFailedError,
    NotFoundError,
    StoreAwayError,
    TooMuchWorkError,
    WorkFailedError,
    WorkOverranError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Blueprint, Flask, Response

    from integration.dashboard.auth.roles import Access


def install(app: Flask, blueprint: Blueprint, access: Access) -> None:
    """Register the error pages of dashboard views, and the page for unknown paths.

    An unknown path gets that page if it is the dashboard's and the client accepts HTML.
    """
    for kind, answer in _ANSWERS.items():
        blueprint.register_error_handler(kind, answer)
    default_handler = app.error_handler_spec[None][None][HTTPException]

    def unknown_address(error: NotFound) -> Any:
        if request.blueprint is None and is_ours(request.path) and _reads_html():
            with suppress(StoreAwayError):
                g.person = access.present()
            return set_security_headers(_of_http(error))
        return default_handler(error)

    app.register_error_handler(404, unknown_address)


def _reads_html() -> bool:
    accepted = request.accept_mimetypes
    return "text/html" in accepted.values()


def _of_http(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    title, words = _HTTP_WORDS.get(status, _HTTP_WORDS[500])()
    answer = failure(status, title, words)
    answer.headers.extend(pair for pair in error.get_headers() if pair[0] in {"Allow", "Retry-After"})
    return answer


_HTTP_WORDS: dict[int, Callable[[], tuple[str, str]]] = {
    400: lambda: (
        _("Bad request"),
        _("This request cannot be parsed. Go back, load the page again and repeat the action."),
    ),
    404: lambda: (_("Page not found"), _("There is no page at this address.")),
    405: lambda: (
        _("Method not allowed"),
        _("This address does not accept this method. Open the page by its link."),
    ),
    413: lambda: (
        _("Too large"),
        _("The form is larger than 1 MiB or has more than 2000 fields. Send less text or fewer fields."),
    ),
    500: lambda: (
        _("An unexpected error occurred"),
        _("Load the page again. If it fails again, look in the log. No acknowledged data is lost."),
    ),
}


def _of_unknown(_error: NotFoundError) -> Response:
    return failure(
        404,
        _("Not found"),
        _("There is no record with this id. It never existed, or it was deleted after its retention."),
        _("Ended recalls and parked events are kept for retention_days, raw bodies for raw_retention_days."),
    )


def _of_conflict(error: ConflictError) -> Response:
    words = _(
        "Nothing was done, because the state of the recall is now: %(state)s.", state=state_label(error.state)
    )
    if error.reason:
        words = _("Nothing was done: %(reason)s.", reason=label_for(error.reason))
    return failure(
        409, _("The recall has changed"), words, _("Load the page again to see the recall as it is now.")
    )


def _of_forbidden(error: ForbiddenError) -> Response:
    return failure(
        403,
        _("Your role does not allow this"),
        _("The role %(role)s is required.", role=error.least),
        _("Roles are set in the configuration, under [users]."),
    )


def _of_store_away(error: StoreAwayError) -> Response:
    answer = failure(
        503,
        _("The store is away"),
        _("The store does not respond, or it is full. No acknowledged data is lost."),
        _("Load the page again when the store is back. Senders get status 503 and send again."),
    )
    answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def _of_too_much_work(error: TooMuchWorkError) -> Response:
    answer = failure(
        429,
        _("Too many previews and searches at once"),
        _("This request did nothing, because earlier previews or searches are still running or waiting."),
        _("Wait a few seconds, then try again."),
    )
    answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def _of_overrun(error: WorkOverranError) -> Response:
    return failure(
        422,
        _("The preview takes too long"),
        _("It was ended after %(seconds)s seconds. Nothing was changed.", seconds=f"{error.seconds:g}"),
        _("Use simpler templates, or a smaller sample."),
    )


def _of_failed_work(_error: WorkFailedError) -> Response:
    return failure(
        422,
        _("The preview failed"),
        _("The templates need too much memory, or cannot be evaluated. Nothing was changed."),
        _("Use simpler templates, or a smaller sample."),
    )


def _of_failed_fork_server(error: ForkServerFailedError | ClientLeftError) -> Response:
    answer = failure(
        503,
        _("The preview or search could not run"),
        _("The process of previews and searches failed. It is started again."),
        _("Wait a few seconds, then try again."),
    )
    answer.headers["Retry-After"] = str(getattr(error, "retry_after_seconds", 0))
    return answer


def _of_forged(_error: CSRFError) -> Response:
    return failure(
        400,
        _("Please try again"),
        _("The form had expired or was sent from another site. Nothing was done."),
        _("Load the page again and repeat the action."),
    )


_ANSWERS: dict[type[Exception], Callable[[Any], Response]] = {
    CSRFError: _of_forged,
    HTTPException: _of_http,
    ForbiddenError: _of_forbidden,
    NotFoundError: _of_unknown,
    ConflictError: _of_conflict,
    StoreAwayError: _of_store_away,
    TooMuchWorkError: _of_too_much_work,
    WorkOverranError: _of_overrun,
    WorkFailedError: _of_failed_work,
    ForkServerFailedError: _of_failed_fork_server,
    ClientLeftError: _of_failed_fork_server,
}
