"""The way of a delivery, from a request to its answer: verify, read, plan, store, acknowledge.

A 2xx is given only after everything that follows from the delivery is stored durably. Unverified bytes
reach nothing but the source's `verify`. What cannot be mapped is parked and answered 2xx: sending it
again cannot help. No answer says which check failed; the log does, without any of the body.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from integration.config import HubspotSource
from integration.delivery import Delivery, Refusal, delivery_id
from integration.errors import NotVerifiedError, StoreAwayError, UnreadableError, UnsupportedTypeError
from integration.incoming import signed_url
from integration.mapping import Headers
from integration.plan import Parked, plan_delivery
from integration.refusals import NoRefusals, Unproved
from integration.refused import refused
from integration.sources import SOURCES
from integration.tally import ADMIT

if TYPE_CHECKING:
    from integration.config import Source
    from integration.delivery import Reply
    from integration.errors import RingbackError
    from integration.incoming import Incoming
    from integration.plan import Outcome
    from integration.refusals import Refusals
    from integration.refused import Refused
    from integration.sources import SourceKind
    from workers.desk import Desk
    from workers.ledger import Admission, Admitted

log = structlog.get_logger("ringback.receiver")

TITLES = {
    400: "The body cannot be read",
    401: "Not verified",
    413: "The body is larger than 1 MiB",
    415: "This content type is not read here",
    429: "Too many deliveries",
    503: "Not stored: please send it again",
}
"""What is said of a delivery that is not taken, by its status."""


class Rates(Protocol):
    """Counts what passes, over all processes."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one; give the seconds to wait when it is over the limit. Raises StoreAwayError."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verified delivery with all that is to be stored of it; nothing is stored yet."""

    delivery: Delivery
    settings: Source
    outcomes: tuple[Outcome, ...] = field(repr=False)
    admission: Admission = field(repr=False)
    began: float

    @property
    def kind(self) -> SourceKind:
        """What is known of the source's CRM."""
        return SOURCES[self.settings.kind]


class Intake:
    """Takes deliveries in, on a desk. `refusals` is told of what is not taken."""

    def __init__(self, desk: Desk, rates: Rates, refusals: Refusals | None = None) -> None:
        self._desk = desk
        self._rates = rates
        self._refusals = refusals or NoRefusals()

    async def open(self) -> None:
        """Make ready what the first delivery would wait for otherwise, as far as the store answers."""
        await self._desk.open()

    def source(self, name: str, url_key: str | None) -> Source | None:
        """Give a source by its name in an address, with a key or without; None: no such address."""
        settings = self._desk.config.sources.get(name)
        if settings is None or (url_key is not None and settings.url_key is None):
            return None
        return settings

    def waits_for_nothing_else(self, settings: Source) -> bool:
        """Tell whether a delivery to this source needs nothing but the store's word on its admission."""
        return self._desk.at_hand and settings.rate_per_minute is None

    def receive(self, settings: Source, incoming: Incoming) -> Reply:
        """Give the answer to a delivery; waits for the store."""
        prepared = self.prepare(settings, incoming)
        if not isinstance(prepared, Prepared):
            return prepared
        try:
            admitted = self._desk.admit_prepared(prepared.admission)
        except StoreAwayError as error:
            return self.not_stored(prepared, error)
        return self.stored(prepared, admitted)

    async def receive_soon(self, prepared: Prepared) -> Reply:
        """Give the answer to a prepared delivery when the store has spoken; holds no thread meanwhile."""
        try:
            admitted = await self._desk.admit_soon(prepared.admission)
        except StoreAwayError as error:
            return self.not_stored(prepared, error)
        return self.stored(prepared, admitted)

    def prepare(self, settings: Source, incoming: Incoming) -> Prepared | Reply:
        """Verify, read and plan a delivery; gives the answer where it is not taken."""
        began, delivery, kind = time.perf_counter(), _delivery(settings, incoming), SOURCES[settings.kind]
        try:
            proof = kind.verify(delivery, settings, delivery.received_at)
            wait = self._wait(settings)
            if wait is not None:
                self._note(incoming, delivery, 429, f"more than {settings.rate_per_minute} a minute")
                return self._refuse(settings, delivery, began, _TOO_MANY, retry_after=wait)
            outcomes = plan_delivery(
                self._desk.book, delivery, kind.read(delivery, settings), delivery.received_at
            )
        except (NotVerifiedError, UnreadableError, StoreAwayError) as error:
            return self._not_taken(settings, incoming, delivery, began, error)
        headers = Headers(delivery.headers, settings).table()
        kept = replace(delivery, proof=proof, headers=headers)
        admission = self._desk.admission(kept, outcomes, kind.keep(delivery, settings))
        return Prepared(kept, settings, outcomes, admission, began)

    def stored(self, prepared: Prepared, admitted: Admitted) -> Reply:
        """Give the answer to a delivery that the store has."""
        self._log(prepared, admitted)
        self._count(prepared.settings, "again" if admitted.again else "admitted", prepared.began)
        return prepared.kind.acknowledge(prepared.delivery, prepared.settings, admitted.answer)

    def not_stored(self, prepared: Prepared, error: StoreAwayError) -> Reply:
        """Give the answer to a delivery that the store does not have, as far as is known."""
        return self._refuse_for_store(prepared.settings, prepared.delivery, prepared.began, error)

    def turned_away(self, settings: Source, incoming: Incoming, status: int, why: str = "") -> None:
        """Take note of a request that was answered with 400, 413 or 415 before it became a delivery."""
        self._desk.tally.delivery(settings.name, _NAMES[status])
        self._refusals.note(replace(_refused(settings.name, status, incoming), why=why))

    def _wait(self, settings: Source) -> int | None:
        if settings.rate_per_minute is None:
            return None
        return self._rates.over(f"source:{settings.name}", settings.rate_per_minute)

    def _count(self, settings: Source, name: str, began: float) -> None:
        self._desk.tally.delivery(settings.name, name)
        self._desk.tally.observe(ADMIT, time.perf_counter() - began)

    def _not_taken(
        self, settings: Source, incoming: Incoming, delivery: Delivery, began: float, error: RingbackError
    ) -> Reply:
        match error:
            case NotVerifiedError():
                log.warning("delivery refused", source=delivery.source, check=error.check, why=error.why)
                self._note(incoming, delivery, 401, error.why, error)
                return self._refuse(settings, delivery, began, 401)
            case UnsupportedTypeError():
                self._note(incoming, delivery, 415, str(error))
                return self._refuse(settings, delivery, began, 415, str(error))
            case UnreadableError():
                log.warning("delivery unreadable", source=delivery.source, place=error.where)
                self._note(incoming, delivery, 400, str(error))
                return self._refuse(settings, delivery, began, 400, str(error))
            case StoreAwayError():
                return self._refuse_for_store(settings, delivery, began, error)
        raise error

    def _refuse_for_store(
        self, settings: Source, delivery: Delivery, began: float, error: StoreAwayError
    ) -> Reply:
        log.warning("delivery not stored", source=delivery.source, reason=str(error))
        return self._refuse(settings, delivery, began, 503, retry_after=error.retry_after_seconds)

    def _note(
        self,
        incoming: Incoming,
        delivery: Delivery,
        status: int,
        why: str,
        error: NotVerifiedError | None = None,
    ) -> None:
        """Let it be written down that a delivery was not taken. With an error it is looked into."""
        known = replace(
            _refused(delivery.source, status, incoming), check="" if error is None else error.check, why=why
        )
        self._refusals.note(known, None if error is None else Unproved(delivery, error))

    def _refuse(
        self,
        settings: Source,
        delivery: Delivery,
        began: float,
        status: int,
        detail: str = "",
        retry_after: int | None = None,
    ) -> Reply:
        self._count(settings, _NAMES[status], began)
        refusal = Refusal(status=status, title=TITLES[status], detail=detail, retry_after_seconds=retry_after)
        return SOURCES[settings.kind].acknowledge(delivery, settings, refusal)

    def _log(self, prepared: Prepared, admitted: Admitted) -> None:
        source, answer = prepared.delivery.source, admitted.answer
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
        for outcome in prepared.outcomes:
            if isinstance(outcome, Parked) and not admitted.again:
                log.warning("event parked", source=source, route=outcome.route, field=outcome.field)


_TOO_MANY = 429
# As they are counted.
_NAMES = {
    400: "unreadable",
    401: "not verified",
    413: "too large",
    415: "unsupported type",
    _TOO_MANY: "too many",
    503: "not stored",
}


def _refused(source: str, status: int, incoming: Incoming) -> Refused:
    """Give what may be kept of a request that is not taken."""
    return refused(
        at=datetime.now(UTC),
        source=source,
        status=status,
        method=incoming.method,
        size=_size(incoming),
        headers=incoming.headers,
        address=incoming.address,
    )


def _size(incoming: Incoming) -> int | None:
    """Give the size of a request's body; of one that was not read, what it announced."""
    if incoming.body:
        return len(incoming.body)
    announced = incoming.headers.get("content-length", "")
    return int(announced) if announced.isdecimal() else None


def _delivery(settings: Source, incoming: Incoming) -> Delivery:
    return Delivery(
        id=delivery_id(secrets.token_hex(8)),
        source=settings.name,
        method=incoming.method,
        url=signed_url(
            settings.public_url if isinstance(settings, HubspotSource) else None,
            incoming.headers,
            scheme=incoming.scheme,
            path=incoming.path,
            query=incoming.query,
        ),
        headers=incoming.headers,
        body=incoming.body,
        received_at=datetime.now(UTC),
        url_key=incoming.url_key,
    )
