"""Receives webhooks: POST /hooks/{source}[/{url_key}].

A 2xx is sent only after everything that follows from the delivery is stored durably. Unverified bytes
reach nothing but the source's `verify`. What cannot be mapped is parked and answered 2xx: sending it
again cannot help. No answer says which check failed; the log does, without any of the body.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from integration.delivery import Delivery, Refusal, delivery_id, header_name
from integration.errors import NotVerifiedError, StoreAwayError, UnreadableError, UnsupportedTypeError
from integration.mapping import Headers
from integration.plan import Parked, plan_delivery
from integration.problems import problem
from integration.request_body import read_body
from integration.sources import SOURCES
from integration.tally import ADMIT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config import Source
    from integration.delivery import Reply
    from integration.plan import Outcome
    from workers.desk import Desk
    from workers.ledger import Admitted

log = structlog.get_logger("ringback.receiver")

REFUSED = {
    400: "The body cannot be read",
    401: "Not verified",
    413: "The body is larger than 1 MiB",
    415: "This content type is not read here",
    429: "Too many deliveries",
    503: "Not stored: please send it again",
}


class Rates(Protocol):
    """Counts what passes, over all processes."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one; give the seconds to wait when it is over the limit. Raises StoreAwayError."""


@dataclass(frozen=True, slots=True)
class _Result:
    reply: Reply
    name: str


def receiver_blueprint(desk: Desk, rates: Rates) -> Blueprint:
    """Give the routes under /hooks, on a desk."""
    blueprint = Blueprint("receiver", __name__)

    @blueprint.post("/hooks/<source>")
    @blueprint.post("/hooks/<source>/<url_key>")
    def hook(source: str, url_key: str | None = None) -> Response:
        settings = desk.config.sources.get(source)
        if settings is None or (url_key is not None and settings.url_key is None):
            return problem(404, "Unknown source", "There is no such webhook address.")
        try:
            body = read_body(request)
        except RequestEntityTooLarge:
            desk.tally.delivery(source, "too large")
            return problem(413, REFUSED[413])
        except UnsupportedTypeError as error:
            desk.tally.delivery(source, "unsupported type")
            return problem(415, REFUSED[415], str(error))
        except UnreadableError as error:
            desk.tally.delivery(source, "unreadable")
            return problem(400, REFUSED[400], str(error))
        delivery = _delivery(settings, body, url_key)
        started = time.perf_counter()
        result = _Receiver(desk, rates, settings).receive(delivery)
        desk.tally.delivery(source, result.name)
        desk.tally.observe(ADMIT, time.perf_counter() - started)
        return _response(result.reply)

    return blueprint


class _Receiver:
    """One delivery's way through a source."""

    def __init__(self, desk: Desk, rates: Rates, settings: Source) -> None:
        self._desk = desk
        self._rates = rates
        self._settings = settings
        self._kind = SOURCES[settings.kind]

    def receive(self, delivery: Delivery) -> _Result:
        try:
            self._kind.verify(delivery, self._settings, delivery.received_at)
            wait = self._wait()
            if wait is not None:
                return self._refuse(delivery, 429, "too many", retry_after=wait)
            admitted = self._admit(delivery)
        except NotVerifiedError as error:
            log.warning("delivery refused", source=delivery.source, check=error.check, why=error.why)
            return self._refuse(delivery, 401, "not verified")
        except UnsupportedTypeError as error:
            return self._refuse(delivery, 415, "unsupported type", str(error))
        except UnreadableError as error:
            log.warning("delivery unreadable", source=delivery.source, place=error.where)
            return self._refuse(delivery, 400, "unreadable", str(error))
        except StoreAwayError as error:
            log.warning("delivery not stored", source=delivery.source, reason=str(error))
            return self._refuse(delivery, 503, "not stored", retry_after=error.retry_after_seconds)
        return _Result(
            self._kind.acknowledge(delivery, self._settings, admitted.answer),
            "again" if admitted.again else "admitted",
        )

    def _wait(self) -> int | None:
        if self._settings.rate_per_minute is None:
            return None
        return self._rates.over(f"source:{self._settings.name}", self._settings.rate_per_minute)

    def _admit(self, delivery: Delivery) -> Admitted:
        events = self._kind.read(delivery, self._settings)
        outcomes = plan_delivery(self._desk.book, delivery, events, delivery.received_at)
        kept = replace(delivery, headers=dict(Headers(delivery.headers, self._settings)))
        admitted = self._desk.admit(kept, outcomes, self._kind.keep(delivery, self._settings))
        self._log(delivery, outcomes, admitted)
        return admitted

    def _log(self, delivery: Delivery, outcomes: tuple[Outcome, ...], admitted: Admitted) -> None:
        log.info(
            "delivery",
            source=delivery.source,
            delivery=admitted.answer.delivery,
            recalls=len(admitted.answer.recalls),
            ignored=admitted.answer.ignored,
            parked=admitted.answer.parked,
            pending=admitted.answer.pending,
            again=admitted.again,
        )
        for outcome in outcomes:
            if isinstance(outcome, Parked) and not admitted.again:
                log.warning("event parked", source=delivery.source, route=outcome.route, field=outcome.field)

    def _refuse(
        self, delivery: Delivery, status: int, name: str, detail: str = "", retry_after: int | None = None
    ) -> _Result:
        refusal = Refusal(
            status=status, title=REFUSED[status], detail=detail, retry_after_seconds=retry_after
        )
        return _Result(self._kind.acknowledge(delivery, self._settings, refusal), name)


def _delivery(settings: Source, body: bytes, url_key: str | None) -> Delivery:
    headers = {header_name(name): value for name, value in request.headers.items()}
    return Delivery(
        id=delivery_id(secrets.token_hex(8)),
        source=settings.name,
        method=request.method,
        url=signed_url(
            getattr(settings, "public_url", None),
            headers,
            scheme=request.scheme,
            path=request.path,
            query=request.query_string.decode("latin-1"),
        ),
        headers=headers,
        body=body,
        received_at=datetime.now(UTC),
        url_key=url_key,
    )


def signed_url(
    public_url: str | None, headers: Mapping[str, str], *, scheme: str, path: str, query: str
) -> str:
    """Give the URL that the sender signed: `public_url`, else what the request and its proxies say.

    What a proxy claims is good enough here: a wrong URL only makes the signature fail.
    """
    if public_url is not None:
        return f"{public_url}?{query}" if query and "?" not in public_url else public_url
    scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")


def _response(reply: Reply) -> Response:
    response = Response(reply.body, status=reply.status, content_type=reply.content_type)
    response.headers.extend(reply.headers)
    return response
