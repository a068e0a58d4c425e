"""Error responses with problem details (RFC 9457), the default of all applications.

A response contains no traceback and no secret.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES

from integration.domain.errors import (
    ClientLeftError,
    ConflictError,
    ForkServerFailedError,
    NotFoundError,
    RingbackError,
    StoreAwayError,
    TooMuchWorkError,
    UnreadableError,
    UnsupportedTypeError,
)
from integration.domain.limits import MAX_BODY_BYTES
from integration.web import security_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROBLEM_TYPE = "application/problem+json"
NOTHING_HERE = "there is no resource at this address. Check the path."

_log = structlog.get_logger("ringback.web")

OUR_FAULT = "an unexpected error occurred. It is in the log of the web server."

# The framework's own texts may repeat parts of the request.
_DETAILS = {
    400: "the request cannot be parsed",
    404: NOTHING_HERE,
    405: "the method is not allowed at this address. The header Allow lists the allowed ones.",
    413: f"the body is larger than the limit of {MAX_BODY_BYTES} bytes",
    415: "the content type is not supported at this address",
    500: OUR_FAULT,
}


class ProblemError(RingbackError):
    """An error that is answered with problem details.

    The arguments have the same names and meanings as those of `problem`.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        title: str = "",
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} {detail}")
        self.status = status
        self.detail = detail
        self.title = title
        self.errors = errors
        self.headers = headers
        self.more = more

    def answer(self) -> Response:
        """Return the error as a response."""
        return problem(
            self.status, self.title, self.detail, errors=self.errors, headers=self.headers, more=self.more
        )


def problem(
    status: int,
    title: str = "",
    detail: str = "",
    *,
    errors: Sequence[Mapping[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Response:
    """Return a response with problem details (RFC 9457).

    `title` defaults to the phrase of the status. `errors` has a mapping for each fault: `detail`
    describes the fault, and `pointer` (a JSON pointer into the body), `parameter` or `header` is its
    place. `more` has additional members.
    """
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": title or HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
    }
    if detail:
        document["detail"] = detail
    if errors:
        document["errors"] = [dict(error) for error in errors]
    return Response(
        orjson.dumps({**document, **(more or {})}),
        status=status,
        headers=dict(headers or {}),
        content_type=PROBLEM_TYPE,
    )


def install(app: Flask) -> None:
    """Add the error handlers and the security headers to an application.

    Blueprints that respond with HTML have their own error handlers.
    """
    for kind, answer in _ANSWERS.items():
        app.register_error_handler(kind, answer)
    app.after_request(security_headers.after_request)
    # Flask would redirect a path with `//` to any host that the request names.
    app.url_map.merge_slashes = False
    # Flask would log the path, and the path of a hook may contain a secret.
    app.log_exception = _log_exception  # type: ignore[method-assign]


def _of_http(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return problem(status, detail=_DETAILS.get(status, ""), headers=headers)


def _of_store_away(error: StoreAwayError) -> Response:
    return problem(
        503,
        detail="the store cannot be reached or is full. Send the request again, with the same "
        "Idempotency-Key if it has one.",
        headers={"Retry-After": str(error.retry_after_seconds)},
    )


def _of_work(status: int, detail: str) -> Callable[[Any], Response]:
    def answer(error: TooMuchWorkError | ForkServerFailedError) -> Response:
        return problem(status, detail=detail, headers={"Retry-After": str(error.retry_after_seconds)})

    return answer


def _of_conflict(error: ConflictError) -> Response:
    return problem(409, detail=str(error), more={"state": error.state})


def _of_problem(error: ProblemError) -> Response:
    return error.answer()


_ANSWERS: dict[type[Exception], Callable[[Any], Response]] = {
    HTTPException: _of_http,
    ProblemError: _of_problem,
    StoreAwayError: _of_store_away,
    ConflictError: _of_conflict,
    TooMuchWorkError: _of_work(
        429, "too many previews, remaps or searches are waiting. Send the request again in a few seconds."
    ),
    ForkServerFailedError: _of_work(503, "the process that runs this task failed. Send the request again."),
    ClientLeftError: lambda _error: problem(503, detail="the client closed the connection"),
    NotFoundError: lambda error: problem(404, detail=str(error)),
    UnreadableError: lambda error: problem(400, detail=str(error)),
    UnsupportedTypeError: lambda error: problem(415, detail=str(error)),
}


def _log_exception(exc_info: Any) -> None:
    _log.error("a request failed", method=request.method, rule=str(request.url_rule), exc_info=exc_info)
