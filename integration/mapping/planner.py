"""What follows from a delivery, decided before anything is stored. Pure; `now` is handed in.

Every event has exactly one outcome, and a bad event is an outcome too: it never raises and never
harms its neighbours. `explain_event` shows the way that `plan_event` goes; there is only one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from integration.domain import schedule
from integration.domain.errors import UnmappableError
from integration.domain.recall import CancelRequest, RecallRequest
from integration.mapping import routes
from integration.mapping.expressions import NOT_LOOKED_UP, LookupNeeded, TemplateContext, kind
from integration.mapping.routes import Considered

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from integration.domain.account import Account
    from integration.domain.delivery import Delivery, Event
    from integration.mapping.routes import CompiledRoute, CompiledRoutes, Field

CLOCKS_MAY_DIFFER = timedelta(minutes=5)  # a version is never later than arrival and this
_UNREACHED = "not reached: an earlier route decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallWanted:
    """A recall is to be admitted; `notes` says why its date is not the asked one."""

    event: Event
    request: RecallRequest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """What is queued for a campaign and customer is to be taken back."""

    event: Event
    request: CancelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """A recall that the schedule drops: it is recorded in the state `expired`, and never pushed.

    Its `recall_date` is the asked one. `event` is None for a request by `/v1`.
    """

    event: Event | None
    request: RecallRequest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """No route takes the event."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The event cannot be mapped; it waits for a mended configuration.

    `field` is the recall's field, `when` or `event`; `found` describes and never quotes.
    """

    event: Event
    route: str | None
    account: str | None
    field: str
    found: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A template reads the contact, which must be looked up first."""

    event: Event


Outcome = RecallWanted | CancelWanted | Expired | Ignored | Parked | Pending


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The whole way of one event: routes looked at, fields before and after, schedule, outcome."""

    outcome: Outcome
    considered: tuple[Considered, ...] = ()
    fields: tuple[Field, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Origin:
    source: str
    route: str | None
    version: datetime


class _PlanContext:
    """What all events of one delivery share; what templates are told is worked out once per account."""

    def __init__(self, book: CompiledRoutes, delivery: Delivery, now: datetime) -> None:
        self.book = book
        self.delivery = delivery
        self.now = now
        self._headers = routes.Headers(delivery.headers, book.config.sources.get(delivery.source))
        self._told: dict[str, dict[str, Any]] = {}

    def names(self, event: Event, contact: object, account: Account) -> dict[str, Any]:
        """Give the names that templates see for an event."""
        told = self._told.get(account.name)
        if told is None:
            told = routes.told_names(self.book.config, account, self.delivery, self._headers, self.now)
            self._told[account.name] = told
        return {**told, "event": event.data, "contact": contact}

    def told_for(self, event: Event, contact: object) -> Callable[[Account], TemplateContext]:
        """Give what makes those names ready for an account, for each account once."""
        ready: dict[str, TemplateContext] = {}

        def told(account: Account) -> TemplateContext:
            if account.name not in ready:
                ready[account.name] = TemplateContext(self.names(event, contact, account))
            return ready[account.name]

        return told


class BadFieldsError(UnmappableError):
    """One or more fields of a request cannot be read; it stands for the first, `errors` are all of them."""

    def __init__(self, errors: tuple[UnmappableError, ...]) -> None:
        super().__init__(errors[0].field, errors[0].found, errors[0].allowed)
        self.errors = errors


def plan_delivery(
    book: CompiledRoutes, delivery: Delivery, events: Iterable[Event], now: datetime
) -> tuple[Outcome, ...]:
    """Decide what follows from each event of a delivery, in their order. `now` is aware."""
    scene = _PlanContext(book, delivery, now)
    return tuple(_explain(scene, event, NOT_LOOKED_UP).outcome for event in events)


def plan_event(
    book: CompiledRoutes, delivery: Delivery, event: Event, now: datetime, contact: object = NOT_LOOKED_UP
) -> Outcome:
    """Decide what follows from one event.

    `contact` is what the lookup brought: an object, None where there is no such contact, NOT_LOOKED_UP
    before it was made. An event without a `lookup_id` has no contact.
    """
    return explain_event(book, delivery, event, now, contact).outcome


def explain_event(
    book: CompiledRoutes, delivery: Delivery, event: Event, now: datetime, contact: object = NOT_LOOKED_UP
) -> Explained:
    """Decide what follows from one event, and show why, for every route of its source.

    Arguments as for `plan_event`.
    """
    explained = _explain(_PlanContext(book, delivery, now), event, contact)
    if not explained.considered:
        return explained
    later = book.routes[delivery.source][len(explained.considered) :]
    unreached = tuple(Considered(taken.route.name, matched=False, why=_UNREACHED) for taken in later)
    return replace(explained, considered=explained.considered + unreached)


def request_from_fields(  # noqa: PLR0913  (a recall has these fields)
    account: Account,
    *,
    campaign_id: object,
    customer_id: object,
    recall_telephone: object,
    recall_date: object,
    now: datetime,
    source: str,
) -> RecallRequest | Expired:
    """Make a request of the fields that a caller of `/v1` gave; `source` is `api:` and the key's name.

    Raises BadFieldsError, an UnmappableError whose `errors` name every bad field.
    """
    given = {
        "campaign_id": campaign_id,
        "customer_id": customer_id,
        "recall_telephone": recall_telephone,
        "recall_date": recall_date,
    }
    values: dict[str, Any] = {}
    errors: list[UnmappableError] = []
    for name, value in given.items():
        try:
            values[name] = routes.read_field(name, value, account)
        except UnmappableError as error:
            errors.append(error)
    if errors:
        raise BadFieldsError(tuple(errors))
    request, scheduled = _dated(account, values, _Origin(source, None, now), now)
    if isinstance(scheduled, schedule.Drop):
        return Expired(event=None, request=request, reason=scheduled.reason)
    return request


def _explain(scene: _PlanContext, event: Event, contact: object) -> Explained:
    if not isinstance(event.data, Mapping):
        return Explained(outcome=_parked(event, UnmappableError("event", kind(event.data), "an object")))
    known = None if contact is NOT_LOOKED_UP and event.lookup_id is None else contact
    told_for = scene.told_for(event, known)
    try:
        found = routes.match(scene.book, scene.delivery.source, told_for)
        if found.route is None:
            return Explained(outcome=Ignored(event=event), considered=found.considered)
        if found.fault is not None:
            return Explained(outcome=_parked(event, found.fault, found.route), considered=found.considered)
        told = told_for(found.route.account)
        fields = routes.fill(found.route, told)
        outcome, notes = _outcome(scene, event, found.route, fields, told)
    except LookupNeeded:
        return Explained(outcome=Pending(event=event))
    return Explained(outcome=outcome, considered=found.considered, fields=fields, notes=notes)


def _outcome(
    scene: _PlanContext, event: Event, taken: CompiledRoute, fields: tuple[Field, ...], told: TemplateContext
) -> tuple[Outcome, tuple[str, ...]]:
    for field in fields:
        if field.fault is not None:
            return _parked(event, field.fault, taken), ()
    values = {field.name: field.value for field in fields}
    route, account = taken.route, taken.account
    origin = _Origin(route.source, route.name, _version(scene, event, account, told))
    if route.action == "cancel":
        return CancelWanted(event=event, request=_cancel(account, values, origin)), ()
    request, scheduled = _dated(account, values, origin, scene.now)
    if isinstance(scheduled, schedule.Drop):
        return Expired(event=event, request=request, reason=scheduled.reason), (scheduled.reason,)
    return RecallWanted(event=event, request=request, notes=scheduled.notes), scheduled.notes


def _parked(event: Event, fault: UnmappableError, taken: CompiledRoute | None = None) -> Parked:
    return Parked(
        event=event,
        route=taken.route.name if taken else None,
        account=taken.account.name if taken else None,
        field=fault.field,
        found=fault.found,
        allowed=fault.allowed,
    )


def _dated(
    account: Account, values: Mapping[str, Any], origin: _Origin, now: datetime
) -> tuple[RecallRequest, schedule.Scheduled | schedule.Drop]:
    asked = values["recall_date"]
    scheduled = schedule.apply(account, asked, now)
    request = RecallRequest(
        account=account.name,
        campaign_id=values["campaign_id"],
        customer_id=values["customer_id"],
        recall_telephone=values["recall_telephone"],
        recall_date=asked if isinstance(scheduled, schedule.Drop) else scheduled.date,
        requested_date=asked,
        version=origin.version,
        source=origin.source,
        route=origin.route,
        notes=() if isinstance(scheduled, schedule.Drop) else scheduled.notes,
    )
    return request, scheduled


def _cancel(account: Account, values: Mapping[str, Any], origin: _Origin) -> CancelRequest:
    return CancelRequest(
        account=account.name,
        campaign_id=values["campaign_id"],
        customer_id=values["customer_id"],
        version=origin.version,
        source=origin.source,
        route=origin.route,
    )


def _version(scene: _PlanContext, event: Event, account: Account, told: TemplateContext) -> datetime:
    """Give the CRM's time of the wish, in UTC; a clock that runs ahead must not win for ever."""
    arrival = scene.delivery.received_at
    happened = event.occurred_at or _told_time(scene, account, told) or arrival
    return min(happened, arrival + CLOCKS_MAY_DIFFER).astimezone(UTC)


def _told_time(scene: _PlanContext, account: Account, told: TemplateContext) -> datetime | None:
    """Read the source's `event_time`, to the microsecond; None where it says nothing that can be read."""
    text = scene.book.event_times.get(scene.delivery.source)
    if text is None:
        return None
    try:
        moment = schedule.parse_moment(text.value(told))
    except UnmappableError:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(0))
    return moment if moment.tzinfo else moment.replace(tzinfo=account.timezone)
