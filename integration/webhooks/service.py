"""Process a delivery: verify, parse, plan, store, acknowledge.

The response to a delivery with events is 2xx only after all results are stored durably. Before the
verification, only the source's `verify` and `handshake` read the body. An event that cannot be mapped is
parked and answered with 2xx, because a retry would not help. The failed check is logged, but is not in
the response. The log and error responses do not contain the body.
"""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from integration.config.source_models import JsonSource
from integration.domain.delivery import ErrorAnswer
from integration.domain.errors import NotVerifiedError, StoreAwayError, UnreadableError, UnsupportedTypeError
from integration.domain.rejection import rejection_of
from integration.mapping.event_context import Headers
from integration.mapping.planner import Parked, plan_delivery
from integration.telemetry.counters import ADDRESS_VERIFIED, ADMIT, TO_SEND_AGAIN
from integration.webhooks.handshakes import handshake_reply, verified_handshake_reply
from integration.webhooks.hubspot_options import options_reply
from integration.webhooks.providers import SOURCES
from integration.webhooks.rejection_log import FailedVerification, NoRejections

if TYPE_CHECKING:
    from integration.config.source_models import HubspotSource, Source
    from integration.domain.delivery import Delivery, Reply
    from integration.domain.errors import RingbackError
    from integration.mapping.planner import EventPlan
    from integration.services.container import Services
    from integration.store.deliveries import Admitted
    from integration.webhooks.rejection_log import Rejections

log = structlog.get_logger("ringback.receiver")

DUPLICATE_HEADER = "Ringback-Duplicate"
"""The header of the response to a repeated delivery. The body is that of the first response."""

TITLES = {
    400: "The body cannot be read",
    401: "Not verified",
    413: "The body is larger than 1 MiB",
    415: "The content type or encoding is not supported",
    429: "Too many deliveries",
    503: "Not stored: please send it again",
}
"""The title of the response to a rejected delivery, by HTTP status."""

_COUNTED_AS = {
    400: "unreadable",
    401: "not verified",
    413: "too large",
    415: "unsupported type",
    429: "too many",
    503: "not stored",
}


_DELIVERY_PATH: Final = re.compile(r"/hooks/([^/]+)(/[^/]+)?/?")


class RateLimiter(Protocol):
    """A counter of requests by name, over all processes."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count a request. Return the seconds to wait if the limit is exceeded, else None.

        Raise StoreAwayError.
        """


class _TooManyError(Exception):
    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__(retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds


class WebhookService:
    """The processing of deliveries. Rejected ones are reported to `rejections`."""

    def __init__(self, services: Services, rates: RateLimiter, rejections: Rejections | None = None) -> None:
        self._services = services
        self._rates = rates
        self._rejections = rejections or NoRejections()

    def source(self, name: str, url_key: str | None) -> Source | None:
        """Return the source for the name and key in a URL, None if there is no such URL."""
        settings = self._services.config.sources.get(name)
        if settings is None or (url_key is not None and settings.url_key is None):
            return None
        return settings

    def receive(self, settings: Source, delivery: Delivery) -> Reply:
        """Verify, parse, plan and store a delivery. Return the response."""
        began, kind = time.perf_counter(), SOURCES[settings.kind]
        checked = self.address_check(settings, delivery)
        if checked is not None:
            return checked
        try:
            proof = kind.verify(delivery, settings, delivery.received_at)
            self._require_rate(settings)
            checked = verified_handshake_reply(delivery, settings)
            if checked is not None:
                return self._address_verified(settings, checked)
            plans = plan_delivery(
                self._services.routes, delivery, kind.read(delivery, settings), delivery.received_at
            )
            kept = replace(delivery, proof=proof, headers=Headers(delivery.headers, settings).table())
            admitted = self._services.admission.admit(kept, plans, kind.stored_body(delivery, settings))
        except (NotVerifiedError, UnreadableError, StoreAwayError, _TooManyError) as error:
            error_answer = self._reject(settings, delivery, error)
            self._count(settings, _COUNTED_AS[error_answer.status], began)
            return kind.acknowledge(delivery, settings, error_answer)
        self._log(delivery.source, plans, admitted)
        self._count(settings, "again" if admitted.again else "admitted", began)
        reply = kind.acknowledge(delivery, settings, admitted.answer)
        return (
            replace(reply, headers={**reply.headers, DUPLICATE_HEADER: "true"}) if admitted.again else reply
        )

    def options(self, settings: HubspotSource, delivery: Delivery) -> Reply:
        """Return the options of a drop-down of HubSpot's workflow editor. Nothing is stored.

        A successful request shows that HubSpot knows the address, so it is counted as an address check.
        """
        kind = SOURCES[settings.kind]
        try:
            kind.verify(delivery, settings, delivery.received_at)
            self._require_rate(settings)
            reply = options_reply(delivery, self._services.config.routes_by_source[settings.name])
        except (NotVerifiedError, UnreadableError, StoreAwayError, _TooManyError) as error:
            return self._error_reply(settings, delivery, error)
        self._services.counters.delivery(settings.name, ADDRESS_VERIFIED)
        return reply

    def address_check(self, settings: Source, delivery: Delivery) -> Reply | None:
        """Return the response to a sender that checks the address, or None for any other request.

        A check is counted, and no delivery is stored. A check that fails verification is recorded as a
        rejection.
        """
        try:
            reply = handshake_reply(delivery, settings)
        except NotVerifiedError as error:
            return self._error_reply(settings, delivery, error)
        return None if reply is None else self._address_verified(settings, reply)

    def _address_verified(self, settings: Source, reply: Reply) -> Reply:
        log.info("address verified", source=settings.name)
        self._services.counters.delivery(settings.name, ADDRESS_VERIFIED)
        return reply

    def count_overload(self, method: str, path: str) -> int:
        """Count a request that is rejected before it is read, if it is a delivery. Return its status.

        The event loop calls this method when too many requests wait, so the method reads neither a file
        nor the store. The delivery is not verified.
        """
        found = _DELIVERY_PATH.fullmatch(path) if method == "POST" else None
        settings = None if found is None else self._services.configuration.watch.current.sources.get(found[1])
        if found is None or settings is None or (found[2] and settings.url_key is None):
            return HTTPStatus.SERVICE_UNAVAILABLE
        self._count_result(settings, "overloaded")
        status = settings.retry_status if isinstance(settings, JsonSource) else None
        return status or HTTPStatus.SERVICE_UNAVAILABLE

    def record_unread_body(self, delivery: Delivery, status: int, why: str, *, size: int | None) -> None:
        """Count and record a request that was answered with 400, 413 or 415 because of its body.

        `why` is the reason, or an empty text. `size` is the Content-Length in bytes, or None.
        """
        self._services.counters.delivery(delivery.source, _COUNTED_AS[status])
        self._note(delivery, status, why, size=size)

    def _require_rate(self, settings: Source) -> None:
        if settings.rate_per_minute is None:
            return
        wait = self._rates.over(f"source:{settings.name}", settings.rate_per_minute)
        if wait is not None:
            raise _TooManyError(wait)

    def _count(self, settings: Source, result: str, began: float) -> None:
        self._count_result(settings, result)
        self._services.counters.observe(ADMIT, time.perf_counter() - began)

    def _count_result(self, settings: Source, result: str) -> None:
        lost = result in TO_SEND_AGAIN and not settings.resends
        self._services.counters.delivery(settings.name, result, lost=lost)
        if lost:
            log.warning(
                "delivery lost: it was not stored, and its sender does not send it again",
                source=settings.name,
                result=result,
            )

    def _error_reply(
        self, settings: Source, delivery: Delivery, error: RingbackError | _TooManyError
    ) -> Reply:
        """Count and record a rejected request. Return the response for its sender."""
        error_answer = self._reject(settings, delivery, error)
        self._services.counters.delivery(settings.name, _COUNTED_AS[error_answer.status])
        return SOURCES[settings.kind].acknowledge(delivery, settings, error_answer)

    def _reject(
        self, settings: Source, delivery: Delivery, error: RingbackError | _TooManyError
    ) -> ErrorAnswer:
        """Log or record a rejected delivery, or both. Return the error for its sender.

        Errors of the store are only logged, and too many requests and unsupported types only recorded.
        """
        match error:
            case _TooManyError():
                self._note(
                    delivery,
                    429,
                    f"more than `rate_per_minute` = {settings.rate_per_minute} deliveries in a minute",
                )
                return _error_answer(429, retry_after_seconds=error.retry_after_seconds)
            case NotVerifiedError():
                log.warning("delivery rejected", source=delivery.source, check=error.check, why=error.why)
                self._note(delivery, 401, error.why, error)
                return _error_answer(401)
            case UnsupportedTypeError():
                self._note(delivery, 415, str(error))
                return _error_answer(415, str(error))
            case UnreadableError():
                log.warning("delivery unreadable", source=delivery.source, place=error.where)
                self._note(delivery, 400, str(error))
                return _error_answer(400, str(error))
            case StoreAwayError():
                log.warning("delivery not stored", source=delivery.source, reason=str(error))
                return _error_answer(503, retry_after_seconds=error.retry_after_seconds)
        raise error

    def _note(
        self,
        delivery: Delivery,
        status: int,
        why: str,
        error: NotVerifiedError | None = None,
        *,
        size: int | None = None,
    ) -> None:
        """Record a rejected delivery. With `error`, its cause is diagnosed later."""
        rejection = rejection_of(
            at=datetime.now(UTC),
            source=delivery.source,
            status=status,
            method=delivery.method,
            size=len(delivery.body) or size,
            headers=delivery.headers,
            address=delivery.client_address,
        )
        rejection = replace(rejection, check="" if error is None else error.check, why=why)
        self._rejections.note(rejection, None if error is None else FailedVerification(delivery, error))

    def _log(self, source: str, plans: tuple[EventPlan, ...], admitted: Admitted) -> None:
        answer = admitted.answer
        log.info(
            "delivery",
            source=source,
            delivery=answer.delivery,
            recalls=len(answer.recalls),
            ignored=answer.ignored,
            parked=answer.parked,
            pending=answer.pending,
            again=admitted.again,
        )
        for plan in plans:
            if isinstance(plan, Parked) and not admitted.again:
                log.warning("event parked", source=source, route=plan.route, field=plan.field)


def _error_answer(status: int, detail: str = "", *, retry_after_seconds: int | None = None) -> ErrorAnswer:
    return ErrorAnswer(
        status=status, title=TITLES[status], detail=detail, retry_after_seconds=retry_after_seconds
    )
