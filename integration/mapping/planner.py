"""Decide the outcome of each event of a delivery. Pure.

Every event has exactly one outcome. An event that cannot be mapped has the outcome Parked; its error is
not raised and does not affect other events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from integration.domain import schedule
from integration.domain.dates import parse_moment
from integration.domain.errors import UnmappableError
from integration.domain.recall import CancelRequest, RecallRequest
from integration.mapping import routes
from integration.mapping.event_context import DeliveryContext, EventContext
from integration.mapping.expressions import NOT_LOOKED_UP, LookupNeeded, NotLookedUp, kind
from integration.mapping.routes import Considered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.domain.account import Account
    from integration.domain.delivery import Delivery, Event
    from integration.domain.recall import Recall
    from integration.mapping.routes import CompiledRoute, CompiledRoutes, Field, Filled

CLOCK_SKEW_TOLERANCE = timedelta(minutes=5)  # the longest time that a version may be after the arrival
_A_ROUTE = "Add a table [[routes]] with source = this source's name"
_UNREACHED = "not reached: an earlier route decided"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallWanted:
    """Outcome: the event becomes a recall. `notes` explains changes of the requested date."""

    event: Event
    request: RecallRequest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelWanted:
    """Outcome: the event cancels the queued recalls of a campaign and customer."""

    event: Event
    request: CancelRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """Outcome: the schedule drops the recall, which is recorded in the state `expired` and not pushed.

    The `recall_date` of `request` is the requested date. `event` is None for a request to `/v1`.
    """

    event: Event | None
    request: RecallRequest
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """Outcome: the source has routes, and none of them matches the event."""

    event: Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Parked:
    """Outcome: the event cannot be mapped. It waits until the configuration is corrected.

    `field` is the recall's field, or `account`, `when`, `route`, `event` or `record`. `found` describes
    the value and never quotes it.
    """

    event: Event
    route: str | None
    account: str | None
    field: str
    found: str
    allowed: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Outcome: a template reads the record of the event, which must be looked up first."""

    event: Event


EventPlan = RecallWanted | CancelWanted | Expired | Ignored | Parked | Pending

# The names of the outcomes in previews and counts.
PLAN_NAMES: Final[Mapping[type[EventPlan], str]] = {
    RecallWanted: "recall",
    CancelWanted: "cancel",
    Expired: "expired",
    Ignored: "ignored",
    Parked: "parked",
    Pending: "pending",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The outcome of one event, with the evaluated routes, the fields, and the notes of the schedule."""

    plan: EventPlan
    considered: tuple[Considered, ...] = ()
    fields: tuple[Field, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Origin:
    source: str
    route: str | None
    version: datetime


class BadFieldsError(UnmappableError):
    """One or more fields of a request are invalid. `errors` has an error for each of them."""

    def __init__(self, errors: tuple[UnmappableError, ...]) -> None:
        super().__init__(errors[0].field, errors[0].found, errors[0].allowed)
        self.errors = errors


def plan_delivery(
    compiled_routes: CompiledRoutes, delivery: Delivery, events: Iterable[Event], now: datetime
) -> tuple[EventPlan, ...]:
    """Return the outcomes of a delivery's events, in the order of the events. `now` is aware."""
    context = DeliveryContext(compiled_routes.config, delivery, now)
    return tuple(_explain(compiled_routes, context, event, NOT_LOOKED_UP).plan for event in events)


def plan_event(
    compiled_routes: CompiledRoutes,
    delivery: Delivery,
    event: Event,
    now: datetime,
    looked_up: Mapping[str, object] | NotLookedUp = NOT_LOOKED_UP,
) -> EventPlan:
    """Return the outcome of one event. `now` is aware.

    `looked_up` is the result of the lookup: the names for templates with their values, empty if the
    record does not exist, or NOT_LOOKED_UP before the lookup. An event without a `lookup_id` has no
    record.
    """
    return explain_event(compiled_routes, delivery, event, now, looked_up).plan


def explain_event(
    compiled_routes: CompiledRoutes,
    delivery: Delivery,
    event: Event,
    now: datetime,
    looked_up: Mapping[str, object] | NotLookedUp = NOT_LOOKED_UP,
) -> Explained:
    """Return the outcome of one event, with the result of every route of its source.

    There are no results of routes if the outcome is Pending, the event is not an object, or the source
    has no routes. The arguments are those of `plan_event`.
    """
    explained = _explain(
        compiled_routes, DeliveryContext(compiled_routes.config, delivery, now), event, looked_up
    )
    if not explained.considered:
        return explained
    later = compiled_routes.routes[delivery.source][len(explained.considered) :]
    unreached = tuple(Considered(taken.route.name, matched=False, why=_UNREACHED) for taken in later)
    return replace(explained, considered=explained.considered + unreached)


def unreadable_record(event: Event, reason: str) -> Parked:
    """Return the outcome of an event whose record could not be read. `reason` quotes no customer data."""
    return _parked(event, UnmappableError("record", reason, "a record that the lookup can read"))


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
    """Return the recall request for the fields of a `/v1` call, or Expired if the schedule drops it.

    `now` is aware. `source` is `api:` and the key's name. Raise BadFieldsError with every invalid field.
    """
    fields = {
        "campaign_id": campaign_id,
        "customer_id": customer_id,
        "recall_telephone": recall_telephone,
        "recall_date": recall_date,
    }
    values: dict[str, Any] = {}
    errors: list[UnmappableError] = []
    for name, value in fields.items():
        try:
            values[name] = routes.read_field(name, value, account, now)
        except UnmappableError as error:
            errors.append(error)
    if errors:
        raise BadFieldsError(tuple(errors))
    request, scheduled = _dated(account, values, _Origin(source, None, now), now)
    if isinstance(scheduled, schedule.Drop):
        return Expired(event=None, request=request, reason=scheduled.reason)
    return request


def request_again(account: Account, recall: Recall, date: datetime, now: datetime) -> RecallRequest:
    """Return the request for a recall that an operator repeats, at `date` (aware).

    `now` is aware and becomes the version, so that the request is the newest of its customer. The
    account's `late` has no effect. Raise UnmappableError if the account has no calling hours after
    `date`.
    """
    values = {
        "campaign_id": recall.campaign_id,
        "customer_id": recall.customer_id,
        "recall_telephone": recall.recall_telephone,
        "recall_date": date,
    }
    at_once = account.model_copy(update={"late": "asap"})
    request, scheduled = _dated(at_once, values, _Origin(recall.source, recall.route, now), now)
    if isinstance(scheduled, schedule.Drop):
        raise UnmappableError("recall_date", scheduled.reason, "a date with calling hours after it")
    return request


def _explain(
    compiled_routes: CompiledRoutes,
    context: DeliveryContext,
    event: Event,
    looked_up: Mapping[str, object] | NotLookedUp,
) -> Explained:
    if not isinstance(event.data, Mapping):
        return Explained(plan=_parked(event, UnmappableError("event", kind(event.data), "an object")))
    if not compiled_routes.routes.get(context.delivery.source):
        # The source may have been set up before its routes, or a file may have lost them.
        fault = UnmappableError("route", "missing, because this source has no route", _A_ROUTE)
        return Explained(plan=_parked(event, fault))
    known = {} if looked_up is NOT_LOOKED_UP and event.lookup_id is None else looked_up
    event_context = EventContext(context, event.data, known)
    try:
        found = routes.match(compiled_routes, context.delivery.source, event_context)
        if found.route is None:
            return Explained(plan=Ignored(event=event), considered=found.considered)
        if found.fault is not None:
            return Explained(plan=_parked(event, found.fault, found.route), considered=found.considered)
        filled = routes.fill(found.route, event_context)
        version = _version(compiled_routes, context.delivery, event, filled.account, event_context)
    except LookupNeeded:
        return Explained(plan=Pending(event=event))
    plan, notes = _plan(event, found.route, filled, version, context.now)
    return Explained(plan=plan, considered=found.considered, fields=filled.fields, notes=notes)


def _plan(
    event: Event, taken: CompiledRoute, filled: Filled, version: datetime, now: datetime
) -> tuple[EventPlan, tuple[str, ...]]:
    route, account = taken.route, filled.account
    for field in filled.fields:
        if field.fault is not None:
            return _parked(event, field.fault, taken, account), ()
    values = {field.name: field.value for field in filled.fields}
    origin = _Origin(route.source, route.name, version)
    if route.action == "cancel":
        return CancelWanted(event=event, request=_cancel(account, values, origin)), ()
    request, scheduled = _dated(account, values, origin, now)
    if isinstance(scheduled, schedule.Drop):
        return Expired(event=event, request=request, reason=scheduled.reason), (scheduled.reason,)
    return RecallWanted(event=event, request=request, notes=scheduled.notes), scheduled.notes


def _parked(
    event: Event, fault: UnmappableError, taken: CompiledRoute | None = None, account: Account | None = None
) -> Parked:
    """Return the outcome for an event with a fault. `account` is the account of its recall, if known."""
    if taken is not None and not taken.route.has_account_template:
        account = taken.first_account
    known = account is not None and fault.field != "account"
    return Parked(
        event=event,
        route=taken.route.name if taken else None,
        account=account.name if account is not None and known else None,
        field=fault.field,
        found=fault.found,
        allowed=fault.allowed,
    )


def _dated(
    account: Account, values: Mapping[str, Any], origin: _Origin, now: datetime
) -> tuple[RecallRequest, schedule.Scheduled | schedule.Drop]:
    requested_date = values["recall_date"]
    scheduled = schedule.reschedule(account, requested_date, now)
    request = RecallRequest(
        account=account.name,
        campaign_id=values["campaign_id"],
        customer_id=values["customer_id"],
        recall_telephone=values["recall_telephone"],
        recall_date=requested_date if isinstance(scheduled, schedule.Drop) else scheduled.date,
        requested_date=requested_date,
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
    compiled_routes: CompiledRoutes, delivery: Delivery, event: Event, account: Account, context: EventContext
) -> datetime:
    """Return the CRM's time of the request in UTC, or the time of arrival if the CRM's is unknown.

    The result is at most CLOCK_SKEW_TOLERANCE after the arrival. Without this limit, a CRM whose clock is
    ahead could block later requests.
    """
    arrival = delivery.received_at
    happened = event.occurred_at or _event_time(compiled_routes, delivery.source, account, context) or arrival
    return min(happened, arrival + CLOCK_SKEW_TOLERANCE).astimezone(UTC)


def _event_time(
    compiled_routes: CompiledRoutes, source: str, account: Account, context: EventContext
) -> datetime | None:
    """Return the aware moment of the source's `event_time`, or None if it is unset or unreadable."""
    text = compiled_routes.event_times.get(source)
    if text is None:
        return None
    try:
        moment = parse_moment(text.value(context.of(account)))
    except UnmappableError:
        return None
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time(0))
    return moment if moment.tzinfo else moment.replace(tzinfo=account.timezone)
