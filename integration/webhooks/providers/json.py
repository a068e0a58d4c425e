"""Any system that can POST JSON or a form: Zapier, Make, n8n, Zendesk, Pipedrive, Typeform, scripts. Pure.

The configuration sets the verification (`verify`), the place of a list of events (`events`) and the id of an
event (`dedup_key`). An event for which the template of `dedup_key` fails has no id.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from integration.config.source_models.checks import NEEDS_SECRETS
from integration.domain.delivery import QUERY, Answer, Delivery, ErrorAnswer, Event, Reply, header_name
from integration.domain.errors import NotVerifiedError, UnmappableError
from integration.mapping.event_context import Headers, delivery_variables
from integration.mapping.expressions import expression, items_of, text
from integration.webhooks.providers.bodies import FORM_TYPE, read_body, read_query, require_few
from integration.webhooks.providers.multipart import MULTIPART_TYPE, without_files
from integration.webhooks.providers.replies import TEXT, problem, reply
from integration.webhooks.providers.schemes import SCHEMES, without_tokens
from integration.webhooks.providers.signatures import SignedMessage
from integration.webhooks.verification import require_url_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from integration.config.source_models import JsonSource

# RFC 9110, 11.6.1. Some HTTP clients send their credentials only after a challenge.
_CHALLENGES = {"basic": 'Basic realm="ringback", charset="UTF-8"', "bearer": "Bearer"}

# RFC 2046, 5.1.1: a multipart body begins with its boundary.
_BOUNDARY = re.compile(rb"--([0-9A-Za-z'()+_,./:=?-]{1,70})\r?\ncontent-disposition:", re.IGNORECASE)

_RETRY_STATUSES = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})

# UnmappableError: the template does not fit this body. ValueError: it does not compile, or reads an unknown
# name; `ringback check` reports both. JSONEncodeError: its result is not JSON data.
_TEMPLATE_FAILS = (UnmappableError, ValueError, orjson.JSONEncodeError)


def verify(delivery: Delivery, settings: JsonSource, now: datetime) -> str:
    """Return the proof. Raise NotVerifiedError if the scheme in `verify` or the `url_key` does not match.

    For `body-token`, also raise UnsupportedTypeError or UnreadableError.
    """
    require_url_key(delivery, settings.url_key)
    if not settings.secrets and settings.verify in NEEDS_SECRETS:
        raise NotVerifiedError(settings.verify, "the source has no `secrets` configured")
    return SCHEMES[settings.verify].verify(delivery, settings, now)


def read(delivery: Delivery, settings: JsonSource) -> tuple[Event, ...]:
    """Return the body as one event, or the events that the expression `events` selects.

    With `body = "query"`, a query string is read in place of the body. Raise UnsupportedTypeError or
    UnreadableError.
    """
    headers = Headers(delivery.headers, settings)
    if settings.body == "query" and QUERY in headers:
        body = read_query(headers[QUERY])
    else:
        body = read_body(replace(delivery, body=without_tokens(delivery.body, settings)))
    found, listed = _events(body, settings)
    require_few(len(found))
    variables = delivery_variables(delivery, headers, UTC)
    message_id = _message_id(delivery, settings)
    return tuple(
        Event(
            data=data,
            dedup_key=key or (f"{message_id}:{place}" if message_id and listed else message_id),
            record_id=(key or message_id or "").partition(":")[2] or None,
            lookup_id=_rendered(settings.lookup.id, data, variables) if settings.lookup else None,
        )
        for place, data in enumerate(found)
        for key in [_rendered_key(data, variables, settings)]
    )


def _events(body: Any, settings: JsonSource) -> tuple[Sequence[Any], bool]:
    """Return the events, and True if the expression `events` selects a list.

    If it selects another value, that value is the only event. If it fails, the only event is None. An
    event that is not an object is parked, so that the operator sees it.
    """
    if settings.events is None:
        return [body], False
    found = items_of(_evaluated(settings.events, body))
    return (found, True) if isinstance(found, list) else ([found], False)


def _evaluated(source: str, body: Any) -> Any:
    """Return the result of the expression `events` as JSON values, or None if it fails."""
    try:
        return orjson.loads(orjson.dumps(expression(source).evaluate(body=body)))
    except _TEMPLATE_FAILS:
        return None


def _rendered_key(data: Any, variables: dict[str, Any], settings: JsonSource) -> str | None:
    key = None if settings.dedup_key is None else _rendered(settings.dedup_key, data, variables)
    return None if key is None else f"key:{key}"


def _rendered(template: str, data: Any, variables: dict[str, Any]) -> str | None:
    """Return the text that a template renders for an event, or None if the template fails."""
    try:
        return text(template).render(event=data, delivery=variables)
    except _TEMPLATE_FAILS:
        return None


def _message_id(delivery: Delivery, settings: JsonSource) -> str | None:
    header = SCHEMES[settings.verify].id_header(delivery, settings)
    message_id = "" if header is None else delivery.headers.get(header_name(header), "").strip()
    return f"id:{message_id}" if message_id else None


def acknowledge(delivery: Delivery, settings: JsonSource, outcome: Answer | ErrorAnswer) -> Reply:  # noqa: ARG001  (one shape for all)
    """Return a response with ids and counts, or problem details. A 401 may have a challenge.

    A success has the status `answer_status` of the source, and no body with `answer_body = "empty"`. In
    place of 429 and 503, an error has the `retry_status` of the source if that is set.
    """
    if isinstance(outcome, Answer):
        success = replace(reply(outcome), status=settings.answer_status)
        return replace(success, body=b"", content_type=TEXT) if settings.answer_body == "empty" else success
    if outcome.status in _RETRY_STATUSES and settings.retry_status is not None:
        outcome = replace(outcome, status=settings.retry_status)
    challenge = _CHALLENGES.get(settings.verify) if outcome.status == HTTPStatus.UNAUTHORIZED else None
    return problem(outcome, {"WWW-Authenticate": challenge} if challenge else None)


def sign(  # noqa: PLR0913  (one shape for all, and the key of Ed25519)
    body: bytes,
    settings: JsonSource,
    *,
    url: str,
    method: str,  # noqa: ARG001  (no scheme covers it)
    message_id: str,
    now: datetime,
    private_key: Ed25519PrivateKey | None = None,
) -> dict[str, str]:
    """Return the headers that the sender would send with `body`, signed with the first secret.

    For `ed25519`, `private_key` signs; raise CannotSignError if it is None.
    """
    message = SignedMessage(body=body, id=message_id, url=url, now=now, private_key=private_key)
    return {"Content-Type": _content_type_of(body), **SCHEMES[settings.verify].sign(message, settings)}


def _content_type_of(body: bytes) -> str:
    """Return the content type that a sender would send with this body."""
    if body.lstrip()[:1] in {b"{", b"["}:
        return "application/json"
    boundary = _BOUNDARY.match(body)
    return FORM_TYPE if boundary is None else f"{MULTIPART_TYPE}; boundary={boundary[1].decode()}"


def stored_body(delivery: Delivery, settings: JsonSource) -> bytes:
    """Return the body without the token of `body-token`.

    The contents of files in a multipart form are removed; their names stay.
    """
    body = without_tokens(delivery.body, settings)
    return without_files(replace(delivery, body=body)) if delivery.content_type == MULTIPART_TYPE else body
