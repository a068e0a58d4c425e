"""Errors as HTTP answers: problem details of RFC 9457, for every address of the web.

An answer says what would be right instead, and never holds a trace, a secret or what an unverified
sender sent.
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
    ConflictError,
    RingbackError,
    StoreAwayError,
    UnknownError,
    UnreadableError,
    UnsupportedTypeError,
)
from integration.web import security_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

PROBLEM_TYPE = "application/problem+json"
MAX_BODY_BYTES = 1024 * 1024
NOTHING_HERE = "there is nothing at this address"

_log = structlog.get_logger("ringback.web")

OUR_FAULT = "an error of Ringback's own; it has been recorded"

# For what the web framework itself refuses; its own words may repeat what was sent.
_DETAILS = {
    400: "the request cannot be read",
    404: NOTHING_HERE,
    405: "this address does not take the method; the header Allow lists those it takes",
    413: f"the body is larger than {MAX_BODY_BYTES} bytes",
    415: "the content type is not one that is read here",
    500: OUR_FAULT,
}


class ProblemError(RingbackError):
    """A request that is answered with a problem; what `problem` takes, to be raised."""

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
        """Give the answer."""
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
    """Make an answer of problem details (RFC 9457).

    `title` is the status' own words unless given. `errors` has one mapping per fault: `pointer` (a JSON
    pointer into the body), `parameter` or `header` says where, `detail` what was found and what is
    allowed. `more` holds members beside those of the RFC.
    """
    told: dict[str, Any] = {
        "type": "about:blank",
        "title": title or HTTP_STATUS_CODES.get(status, "Error"),
        "status": status,
    }
    if detail:
        told["detail"] = detail
    if errors:
        told["errors"] = [dict(error) for error in errors]
    return Response(
        orjson.dumps({**told, **(more or {})}),
        status=status,
        headers=dict(headers or {}),
        content_type=PROBLEM_TYPE,
    )


def install(app: Flask) -> None:
    """Answer every error of an application with a problem, and give all its answers their headers.

    A blueprint that speaks otherwise (SOAP, HTML) answers its errors itself, before they come here.
    """
    for kind, answer in _ANSWERS.items():
        app.register_error_handler(kind, answer)
    app.after_request(security_headers.after_request)
    # Flask would answer an address with `//` by a redirect, to whatever host the request names.
    app.url_map.merge_slashes = False
    # Flask would log the path, and the path of a hook may hold a secret.
    app.log_exception = _log_exception  # type: ignore[method-assign]


def _of_http(error: HTTPException) -> Response:
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    headers = {name: value for name, value in error.get_headers() if name in {"Allow", "Retry-After"}}
    return problem(status, detail=_DETAILS.get(status, ""), headers=headers)


def _of_store_away(error: StoreAwayError) -> Response:
    return problem(
        503,
        detail="the store cannot be reached or is full; sending the same again is safe",
        headers={"Retry-After": str(error.retry_after_seconds)},
    )


def _of_conflict(error: ConflictError) -> Response:
    return problem(409, detail=str(error), more={"state": error.state})


def _of_problem(error: ProblemError) -> Response:
    return error.answer()


_ANSWERS: dict[type[Exception], Callable[[Any], Response]] = {
    HTTPException: _of_http,
    ProblemError: _of_problem,
    StoreAwayError: _of_store_away,
    ConflictError: _of_conflict,
    UnknownError: lambda error: problem(404, detail=str(error)),
    UnreadableError: lambda error: problem(400, detail=str(error)),
    UnsupportedTypeError: lambda error: problem(415, detail=str(error)),
}


def _log_exception(exc_info: Any) -> None:
    _log.error("a request failed", method=request.method, rule=str(request.url_rule), exc_info=exc_info)
