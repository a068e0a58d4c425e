"""The Flask views of /hooks/{source}[/{url_key}][/options], which build a `Delivery` from the request."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, request
from werkzeug.exceptions import MethodNotAllowed, RequestEntityTooLarge

from integration.config.source_models import HubspotSource
from integration.domain.delivery import QUERY, Delivery, delivery_id, signed_url
from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.web.problems import problem
from integration.web.request_body import read_body
from integration.webhooks.hook_urls import options_url, public_url
from integration.webhooks.service import TITLES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.config.source_models import Source
    from integration.domain.delivery import Reply
    from integration.webhooks.service import WebhookService

_UNKNOWN = ("Unknown source", "There is no such webhook address.")
# Some servers set these in addition to CONTENT_TYPE and CONTENT_LENGTH, which PEP 3333 defines.
_NOT_HEADERS = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


def receiver_blueprint(intake: WebhookService) -> Blueprint:
    """Return the blueprint with the routes under /hooks."""
    blueprint = Blueprint("receiver", __name__)

    # `address_check` answers OPTIONS too. Some senders add a slash to every address, and follow no redirect.
    posted = {"methods": ["POST"], "provide_automatic_options": False, "strict_slashes": False}

    @blueprint.route("/hooks/<source>", **posted)
    @blueprint.route("/hooks/<source>/<url_key>", **posted)
    def hook(source: str, url_key: str | None = None) -> Response:
        settings = intake.source(source, url_key)
        if settings is None:
            return problem(404, *_UNKNOWN)
        handle = partial(intake.receive, settings)
        return _answered(intake, settings, url_key, public_url(settings), handle)

    @blueprint.route("/hooks/<source>/options", **posted)
    @blueprint.route("/hooks/<source>/<url_key>/options", **posted)
    def options(source: str, url_key: str | None = None) -> Response:
        """Return the options of a drop-down to HubSpot's workflow editor."""
        settings = intake.source(source, url_key)
        if not isinstance(settings, HubspotSource):
            return problem(404, *_UNKNOWN)
        url = public_url(settings)
        signed = None if url is None else options_url(url)
        return _answered(intake, settings, url_key, signed, partial(intake.options, settings))

    checked = {"methods": ["GET", "HEAD", "OPTIONS"], "strict_slashes": False}

    @blueprint.route("/hooks/<source>", **checked)
    @blueprint.route("/hooks/<source>/<url_key>", **checked)
    def address_check(source: str, url_key: str | None = None) -> Response:
        """Respond to a sender that checks the address, if the source's `handshake` uses this method."""
        settings = intake.source(source, url_key)
        if settings is None:
            raise MethodNotAllowed(["POST"])
        reply = intake.address_check(settings, _delivery(settings, url_key, b"", public_url(settings)))
        if reply is None:
            raise MethodNotAllowed(["POST"])
        return _response(reply)

    return blueprint


def _answered(
    intake: WebhookService,
    settings: Source,
    url_key: str | None,
    signed: str | None,
    handle: Callable[[Delivery], Reply],
) -> Response:
    """Read the body, and return the response of `handle`, or 400, 413 or 415.

    `signed` is as in `_delivery`.
    """
    status, why, body = 0, "", b""
    try:
        body = read_body(request)
    except RequestEntityTooLarge:
        status = 413
    except UnsupportedTypeError as error:
        status, why = 415, str(error)
    except UnreadableError as error:
        status, why = 400, str(error)
    delivery = _delivery(settings, url_key, body, signed)
    if status:
        intake.record_unread_body(delivery, status, why, size=request.content_length)
        return problem(status, TITLES[status], why)
    return _response(handle(delivery))


def _delivery(settings: Source, url_key: str | None, body: bytes, signed: str | None) -> Delivery:
    """Return the request as a delivery. `signed` is the configured URL that the sender signs, or None."""
    environ = request.environ
    headers = _headers(environ)
    if environ["QUERY_STRING"]:
        headers[QUERY] = environ["QUERY_STRING"]
    return Delivery(
        id=delivery_id(secrets.token_hex(8)),
        source=settings.name,
        method=environ["REQUEST_METHOD"],
        url=signed_url(
            signed,
            headers,
            scheme=environ["wsgi.url_scheme"],
            path=request.path,
            query=environ["QUERY_STRING"],
        ),
        headers=headers,
        body=body,
        received_at=datetime.now(UTC),
        url_key=url_key,
        client_address=environ.get("REMOTE_ADDR", ""),
    )


def _headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return the headers of a WSGI environ (PEP 3333). The names are in lower case with hyphens."""
    headers = {
        key[5:].lower().replace("_", "-"): value
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
