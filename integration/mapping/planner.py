"""Decide the outcome of each event of a delivery, before anything is stored. Pure.

Every event has exactly one outcome. An event that cannot be mapped has the outcome Parked; it raises no error
and does not affect other events. `explain_event` and `plan_event` share one implementation.
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

CLOCKS_MAY_DIFFER = timedelta(minutes=5)  # the longest time that a version may be after the arrival
_UNREACHED = "not reached: an earlier route decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallWanted:
    """The event becomes a recall. `notes` explains why its date differs from the requested one."""

    event: Event
    request: RecallRequest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """The event cancels the queued recalls of a campaign and customer."""

    event: Event
    request: CancelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """The schedule drops the recall. It is recorded in the state `expired` and never pushed.

    Its `recall_date` is the requested date. `event` is None for a request to `/v1`.
    """

    event: Event | None
    request: RecallRequest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """No route matches the event."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """The event cannot be mapped. It waits until the configuration is corrected.

    `field` is the recall's field, `when` or `event`. `found` describes the value and never quotes it.
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
    """The outcome of one event with the routes considered, the fields and the notes of the schedule."""

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
    """The state that all events of a delivery share. Template names are computed once per account."""

    def __init__(self, book: CompiledRoutes, delivery: Delivery, now: datetime) -> None:
        self.book = book
        self.delivery = delivery
        self.now = now
        self._headers = routes.Headers(delivery.headers, book.config.sources.get(delivery.source))
        self._shared_names: dict[str, dict[str, Any]] = {}

    def names(self, event: Event, contact: object, account: Account) -> dict[str, Any]:
        """Return the template names for an event."""
        shared = self._shared_names.get(account.name)
        if shared is None:
            shared = routes.context_names(self.book.config, account, self.delivery, self._headers, self.now)
            self._shared_names[account.name] = shared
        return {**shared, "event": event.data, "contact": contact}

    def context_for(self, event: Event, contact: object) -> Callable[[Account], TemplateContext]:
        """Return a function that returns the template context of an account, cached by account."""
        contexts: dict[str, TemplateContext] = {}

        def context_for(account: Account) -> TemplateContext:
            if account.name not in contexts:
                contexts[account.name] = TemplateContext(self.names(event, contact, account))
            return contexts[account.name]

        return context_for


class BadFieldsError(UnmappableError):
    """One or more fields of a request are invalid. The message is the first field's; `errors` has all."""

    def __init__(self, errors: tuple[UnmappableError, ...]) -> None:
        super().__init__(errors[0].field, errors[0].found, errors[0].allowed)
        self.errors = errors


def plan_delivery(
    book: CompiledRoutes, delivery: Delivery, events: Iterable[Event], now: datetime
) -> tuple[Outcome, ...]:
    """Return the outcomes of the events of a delivery, in their order. `now` is aware."""
    context = _PlanContext(book, delivery, now)
    return tuple(_explain(context, event, NOT_LOOKED_UP).outcome for event in events)


def plan_event(
    book: CompiledRoutes, delivery: Delivery, event: Event, now: datetime, contact: object = NOT_LOOKED_UP
) -> Outcome:
    """Return the outcome of one event.

    `contact` is the result of the look-up: an object, None if the contact does not exist, or NOT_LOOKED_UP
    before the look-up. An event without a `lookup_id` has no contact.
    """
    return explain_event(book, delivery, event, now, contact).outcome


def explain_event(
    book: CompiledRoutes, delivery: Delivery, event: Event, now: datetime, contact: object = NOT_LOOKED_UP
) -> Explained:
    """Return the outcome of one event with the result of every route of its source.

    The arguments are those of `plan_event`.
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
    """Return the request for the fields of a `/v1` call. `source` is `api:` and the key's name.

    Raise BadFieldsError, whose `errors` contain every invalid field.
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


def _explain(context: _PlanContext, event: Event, contact: object) -> Explained:
    if not isinstance(event.data, Mapping):
        return Explained(outcome=_parked(event, UnmappableError("event", kind(event.data), "an object")))
    known = None if contact is NOT_LOOKED_UP and event.lookup_id is None else contact
    context_for = context.context_for(event, known)
    try:
        found = routes.match(context.book, context.delivery.source, context_for)
        if found.route is None:
            return Explained(outcome=Ignored(event=event), considered=found.considered)
        if found.fault is not None:
            return Explained(outcome=_parked(event, found.fault, found.route), considered=found.considered)
        template_context = context_for(found.route.account)
        fields = routes.fill(found.route, template_context)
        outcome, notes = _outcome(context, event, found.route, fields, template_context)
    except LookupNeeded:
        return Explained(outcome=Pending(event=event))
    return Explained(outcome=outcome, considered=found.considered, fields=fields, notes=notes)


def _outcome(
    context: _PlanContext,
    event: Event,
    taken: CompiledRoute,
    fields: tuple[Field, ...],
    template_context: TemplateContext,
) -> tuple[Outcome, tuple[str, ...]]:
    for field in fields:
        if field.fault is not None:
            return _parked(event, field.fault, taken), ()
    values = {field.name: field.value for field in fields}
    route, account = taken.route, taken.account
    origin = _Origin(route.source, route.name, _version(context, event, account, template_context))
    if route.action == "cancel":
        return CancelWanted(event=event, request=_cancel(account, values, origin)), ()
    request, scheduled = _dated(account, values, origin, context.now)
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


def _version(
    context: _PlanContext, event: Event, account: Account, template_context: TemplateContext
) -> datetime:
    """Return the CRM's time of the request, in UTC.

    It is at most CLOCKS_MAY_DIFFER after the arrival, so that a CRM with a wrong clock cannot block later
    requests.
    """
    arrival = context.delivery.received_at
    happened = event.occurred_at or _event_time(context, account, template_context) or arrival
    return min(happened, arrival + CLOCKS_MAY_DIFFER).astimezone(UTC)


def _event_time(
    context: _PlanContext, account: Account, template_context: TemplateContext
) -> datetime | None:
    """Return the moment of the source's `event_time`, or None if there is none or it cannot be parsed."""
    text = context.book.event_times.get(context.delivery.source)
    if text is None:
        return None
    try:
        moment = schedule.parse_moment(text.value(template_context))
    except UnmappableError:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(0))
    return moment if moment.tzinfo else moment.replace(tzinfo=account.timezone)
