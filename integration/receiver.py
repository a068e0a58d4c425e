"""Flask's routes for POST /hooks/{source}[/{url_key}]. What becomes of a delivery is in `intake`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from integration.delivery import header_name
from integration.errors import UnreadableError, UnsupportedTypeError
from integration.incoming import Incoming
from integration.intake import TITLES
from integration.problems import problem
from integration.request_body import read_body

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config import Source
    from integration.delivery import Reply
    from integration.intake import Intake

# Some servers give these twice; without HTTP_ they are what was sent.
_NOT_HEADERS = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


def receiver_blueprint(intake: Intake) -> Blueprint:
    """Give the routes under /hooks."""
    blueprint = Blueprint("receiver", __name__)

    @blueprint.post("/hooks/<source>")
    @blueprint.post("/hooks/<source>/<url_key>")
    def hook(source: str, url_key: str | None = None) -> Response:
        settings = intake.source(source, url_key)
        if settings is None:
            return problem(404, "Unknown source", "There is no such webhook address.")
        try:
            body = read_body(request)
        except RequestEntityTooLarge:
            return _turned_away(intake, settings, 413)
        except UnsupportedTypeError as error:
            return _turned_away(intake, settings, 415, str(error))
        except UnreadableError as error:
            return _turned_away(intake, settings, 400, str(error))
        return _response(intake.receive(settings, _incoming(url_key, body)))

    return blueprint


def _turned_away(intake: Intake, settings: Source, status: int, why: str = "") -> Response:
    intake.turned_away(settings, _incoming(None, b""), status, why)
    return problem(status, TITLES[status], why)


def _incoming(url_key: str | None, body: bytes) -> Incoming:
    return Incoming(
        method=request.method,
        scheme=request.scheme,
        path=request.path,
        query=request.query_string.decode("latin-1"),
        headers=_headers(request.environ),
        address=request.remote_addr or "",
        url_key=url_key,
        body=body,
    )


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Give a request's headers by their names in a delivery, as WSGI (PEP 3333) has them."""
    headers = {
        header_name(key[5:]): value
        for key, value in environ.items()
        if key.startswith("HTTP_") and key not in _NOT_HEADERS
    }
    for key, name in (("CONTENT_TYPE", "content-type"), ("CONTENT_LENGTH", "content-length")):
        if environ.get(key):
            headers[name] = environ[key]
    return headers


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status=reply.status, content_type=reply.content_type)
    response.headers.extend(reply.headers)
    return response
