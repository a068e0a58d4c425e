"""Receives webhooks: POST /hooks/{source}[/{url_key}].

A 2xx is sent only after everything that follows from the delivery is stored durably. Unverified bytes
reach nothing but the source's `verify`. What cannot be mapped is parked and answered 2xx: sending it
again cannot help. No answer says which check failed; the log does, without any of the body.
"""

from __future__ import annotations

import secrets
import time
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import structlog
from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from integration import later
from integration.delivery import Delivery, Refusal, delivery_id, header_name
from integration.errors import NotVerifiedError, StoreAwayError, UnreadableError, UnsupportedTypeError
from integration.mapping import Headers
from integration.plan import Parked, plan_delivery
from integration.problems import problem
from integration.refusals import NoRefusals, Unproved
from integration.refused import refused
from integration.request_body import read_body
from integration.sources import SOURCES
from integration.tally import ADMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.config import Source
    from integration.delivery import Reply
    from integration.errors import RingbackError
    from integration.later import Finish, Later, Start
    from integration.plan import Outcome
    from integration.refusals import Refusals
    from integration.refused import Refused
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


# Some servers give these twice; without HTTP_ they are what was sent.
_NOT_HEADERS = frozenset({"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"})


class Rates(Protocol):
    """Counts what passes, over all processes."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one; give the seconds to wait when it is over the limit. Raises StoreAwayError."""


@dataclass(frozen=True, slots=True)
class _Result:
    reply: Reply
    name: str


def receiver_blueprint(desk: Desk, rates: Rates, refusals: Refusals | None = None) -> Blueprint:
    """Give the routes under /hooks, on a desk. `refusals` is told of what is not taken."""
    blueprint = Blueprint("receiver", __name__)
    book = refusals or NoRefusals()

    def turned_away(source: str, status: int, name: str, error: Exception) -> Response:
        desk.tally.delivery(source, name)
        detail = str(error) if isinstance(error, UnreadableError) else ""
        book.note(replace(_refused(source, status, request.content_length), why=detail))
        return problem(status, REFUSED[status], detail)

    @blueprint.post("/hooks/<source>")
    @blueprint.post("/hooks/<source>/<url_key>")
    def hook(source: str, url_key: str | None = None) -> Response:
        settings = desk.config.sources.get(source)
        if settings is None or (url_key is not None and settings.url_key is None):
            return problem(404, "Unknown source", "There is no such webhook address.")
        try:
            body = read_body(request)
        except RequestEntityTooLarge as error:
            return turned_away(source, 413, "too large", error)
        except UnsupportedTypeError as error:
            return turned_away(source, 415, "unsupported type", error)
        except UnreadableError as error:
            return turned_away(source, 400, "unreadable", error)
        delivery = _delivery(settings, body, url_key)
        reply = _Receiver(desk, rates, settings, book).receive(delivery, request.environ.get(later.KEY))
        return Response(status=HTTPStatus.ACCEPTED) if reply is None else _response(reply)

    return blueprint


def answers_at_once(desk: Desk, path: str) -> bool:
    """Tell whether a delivery to this path is received without waiting for anything."""
    if not path.startswith("/hooks/") or not desk.at_hand:
        return False
    settings = desk.config.sources.get(path.split("/", 3)[2])
    return settings is None or settings.rate_per_minute is None


class _Receiver:
    """One delivery's way through a source."""

    def __init__(self, desk: Desk, rates: Rates, settings: Source, refusals: Refusals) -> None:
        self._desk = desk
        self._rates = rates
        self._settings = settings
        self._refusals = refusals
        self._kind = SOURCES[settings.kind]
        self._started = time.perf_counter()

    def receive(self, delivery: Delivery, later: Later | None) -> Reply | None:
        """Give the answer; None where it is left in `later`, to be given when the store has spoken."""
        try:
            proof = self._kind.verify(delivery, self._settings, delivery.received_at)
            delivery = replace(delivery, proof=proof)
            wait = self._wait()
            if wait is not None:
                self._note(delivery, 429, f"more than {self._settings.rate_per_minute} a minute")
                return self._counted(self._refuse(delivery, 429, "too many", retry_after=wait))
            outcomes = self._plan(delivery)
            if later is not None and self._desk.bound:
                later.start = self._start(delivery, outcomes)
                return None
            admitted = self._desk.admit(self._kept(delivery), outcomes, self._raw(delivery))
            return self._counted(self._taken(delivery, outcomes, admitted))
        except (NotVerifiedError, UnreadableError, StoreAwayError) as error:
            return self._counted(self._not_taken(delivery, error))

    def _start(self, delivery: Delivery, outcomes: tuple[Outcome, ...]) -> Start:
        # What belongs to the request, its trace first of all, goes with it to where it is finished.
        context = copy_context()

        def finish(admit: Callable[[], Admitted]) -> Reply:
            try:
                return self._counted(self._taken(delivery, outcomes, admit()))
            except StoreAwayError as error:
                return self._counted(self._not_taken(delivery, error))

        def start(tell: Callable[[Finish], None]) -> None:
            self._desk.admit_soon(
                self._kept(delivery),
                outcomes,
                self._raw(delivery),
                lambda admit: tell(lambda: context.run(finish, admit)),
            )

        return start

    def _counted(self, result: _Result) -> Reply:
        self._desk.tally.delivery(self._settings.name, result.name)
        self._desk.tally.observe(ADMIT, time.perf_counter() - self._started)
        return result.reply

    def _taken(self, delivery: Delivery, outcomes: tuple[Outcome, ...], admitted: Admitted) -> _Result:
        self._log(delivery, outcomes, admitted)
        return _Result(
            self._kind.acknowledge(delivery, self._settings, admitted.answer),
            "again" if admitted.again else "admitted",
        )

    def _not_taken(self, delivery: Delivery, error: RingbackError) -> _Result:
        match error:
            case NotVerifiedError():
                log.warning("delivery refused", source=delivery.source, check=error.check, why=error.why)
                self._note(delivery, 401, error.why, error)
                return self._refuse(delivery, 401, "not verified")
            case UnsupportedTypeError():
                self._note(delivery, 415, str(error))
                return self._refuse(delivery, 415, "unsupported type", str(error))
            case UnreadableError():
                log.warning("delivery unreadable", source=delivery.source, place=error.where)
                self._note(delivery, 400, str(error))
                return self._refuse(delivery, 400, "unreadable", str(error))
            case StoreAwayError():
                log.warning("delivery not stored", source=delivery.source, reason=str(error))
                return self._refuse(delivery, 503, "not stored", retry_after=error.retry_after_seconds)
        raise error

    def _note(self, delivery: Delivery, status: int, why: str, error: NotVerifiedError | None = None) -> None:
        """Let it be written down that a delivery was not taken. With an error it is looked into."""
        known = replace(
            _refused(delivery.source, status, len(delivery.body)),
            check="" if error is None else error.check,
            why=why,
        )
        self._refusals.note(known, None if error is None else Unproved(delivery, error))

    def _wait(self) -> int | None:
        if self._settings.rate_per_minute is None:
            return None
        return self._rates.over(f"source:{self._settings.name}", self._settings.rate_per_minute)

    def _plan(self, delivery: Delivery) -> tuple[Outcome, ...]:
        events = self._kind.read(delivery, self._settings)
        return plan_delivery(self._desk.book, delivery, events, delivery.received_at)

    def _kept(self, delivery: Delivery) -> Delivery:
        return replace(delivery, headers=Headers(delivery.headers, self._settings).table())

    def _raw(self, delivery: Delivery) -> bytes:
        return self._kind.keep(delivery, self._settings)

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


def _refused(source: str, status: int, size: int | None) -> Refused:
    """Give what may be kept of the present request, which is not taken."""
    return refused(
        at=datetime.now(UTC),
        source=source,
        status=status,
        method=request.method,
        size=size,
        headers={header_name(name): value for name, value in request.headers.items()},
        address=request.remote_addr or "",
    )


def _delivery(settings: Source, body: bytes, url_key: str | None) -> Delivery:
    headers = _headers(request.environ)
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
