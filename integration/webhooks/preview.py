"""The whole way of a sample or an event, worked out; nothing is sent or stored. Pure; `now` is handed in.

Goes the way of a real delivery (verify, read, plan, build the call) and writes down every step as plain
JSON values. The token is in none of them; the sample's own values are, since its owner asks for them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.clients.wolkvox_protocol import build_call
from integration.config.source_models import JsonSource
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.mapping.expressions import NOT_LOOKED_UP
from integration.mapping.planner import (
    CancelWanted,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
    explain_event,
)
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.account import Account
    from integration.domain.delivery import Event
    from integration.domain.recall import RecallRequest
    from integration.mapping.planner import Explained, Outcome
    from integration.mapping.routes import CompiledRoutes, Field

_OUTCOMES: Mapping[type[Outcome], str] = {
    RecallWanted: "recall",
    CancelWanted: "cancel",
    Expired: "expired",
    Ignored: "ignored",
    Parked: "parked",
    Pending: "pending",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A webhook as a file holds it.

    `headers` have lower-case names; None means that none are known, and then nothing is verified.
    `url` is the address that the sender signed, `url_key` the key in it. `contacts` stands in for the
    lookup: what was read by id, and under "" what any other id gets.
    """

    source: Source
    body: bytes
    content_type: str
    headers: Mapping[str, str] | None
    url: str
    url_key: str | None
    contacts: Mapping[str, Any]
    now: datetime

    @property
    def delivery(self) -> Delivery:
        """The sample as a delivery that arrives now."""
        headers = {"content-type": self.content_type, **(self.headers or {})}
        return Delivery(
            id="sample",
            source=self.source.name,
            method="POST",
            url=self.url,
            headers=headers,
            body=self.body,
            received_at=self.now,
            url_key=self.url_key,
        )

    def contact(self, event: Event) -> object:
        """Give the contact of an event, NOT_LOOKED_UP where none was given."""
        if event.lookup_id is None:
            return NOT_LOOKED_UP
        return self.contacts.get(event.lookup_id, self.contacts.get("", NOT_LOOKED_UP))


def whole_way(book: CompiledRoutes, sample: Sample) -> dict[str, Any]:
    """Show what would become of a sample, step by step.

    `verified` holds `checked`, `ok`, `check`, `why`; `refused` why it cannot be read, else None;
    `events` one entry per event; `good` whether nothing would be refused or parked.
    """
    delivery = sample.delivery
    way: dict[str, Any] = {
        "source": sample.source.name,
        "kind": sample.source.kind,
        "bytes": len(sample.body),
        "content_type": delivery.content_type,
        "verified": {"checked": False, "ok": None, "check": None, "why": "no headers given"},
        "refused": None,
        "events": [],
    }
    kind = SOURCES[sample.source.kind]
    try:
        if sample.headers is not None:
            way["verified"] = _verified(sample, delivery)
        events = kind.read(delivery, sample.source)
    except UnreadableError as error:
        way["refused"] = {"where": error.where, "found": error.found, "allowed": error.allowed}
        events = ()
    way["events"] = [_event(book, sample, delivery, event) for event in events]
    way["counts"] = dict(Counter(event["outcome"] for event in way["events"]))
    way["good"] = way["verified"]["ok"] is not False and not way["refused"] and "parked" not in way["counts"]
    return way


def _verified(sample: Sample, delivery: Delivery) -> dict[str, Any]:
    try:
        SOURCES[sample.source.kind].verify(delivery, sample.source, sample.now)
    except NotVerifiedError as error:
        return {"checked": True, "ok": False, "check": error.check, "why": error.why}
    return {"checked": True, "ok": True, "check": None, "why": None}


def _event(book: CompiledRoutes, sample: Sample, delivery: Delivery, event: Event) -> dict[str, Any]:
    way = event_way(book, delivery, event, sample.now, sample.contact(event))
    return {**way, "dedup": _dedup(sample, event)}


def event_way(
    book: CompiledRoutes, delivery: Delivery, event: Event, now: datetime, contact: object = NOT_LOOKED_UP
) -> dict[str, Any]:
    """Show what becomes of one event, step by step; arguments as for `plan.explain_event`.

    `outcome` is `recall`, `cancel`, `expired`, `ignored`, `parked` or `pending`; `routes` those that were
    looked at, `fields` each one's template, what it made and what is sent, or its fault; `call` the exact
    call to wolkvox but for the token.
    """
    explained = explain_event(book, delivery, event, now, contact)
    return {
        "event": event.data,
        "dedup_key": event.dedup_key,
        "occurred_at": None if event.occurred_at is None else event.occurred_at.isoformat(),
        "lookup_id": event.lookup_id,
        "routes": [{"route": r.route, "matched": r.matched, "why": r.why} for r in explained.considered],
        "fields": [_field(field) for field in explained.fields],
        "outcome": _OUTCOMES[type(explained.outcome)],
        **_consequence(book.config, explained),
    }


def _dedup(sample: Sample, event: Event) -> str:
    """Say what makes the event the same event when it is sent again."""
    source = sample.source
    for_hours = f"for {source.dedup_hours:g} hours"
    if isinstance(source, JsonSource) and source.dedup_key is None and sample.headers is None:
        if source.verify == "standard-webhooks":
            return f"the header webhook-id, {for_hours}"
        return f"the header Idempotency-Key, {for_hours}; without it the body, for 10 minutes"
    return "the body, for 10 minutes" if event.dedup_key is None else f"{event.dedup_key}, {for_hours}"


def _field(field: Field) -> dict[str, Any]:
    fault = field.fault
    return {
        "name": field.name,
        "template": field.template,
        "rendered": field.rendered,
        "value": field.value
        if field.value is None or isinstance(field.value, str)
        else field.value.isoformat(),
        "fault": None if fault is None else {"found": fault.found, "allowed": fault.allowed},
    }


def _consequence(config: Config, explained: Explained) -> dict[str, Any]:
    """Say what follows, with the keys of its outcome alone."""
    outcome = explained.outcome
    match outcome:
        case RecallWanted():
            account = config.accounts[outcome.request.account]
            return {**_planned(outcome.request, explained.notes), "call": _call(account, outcome.request)}
        case Expired():
            return _planned(outcome.request, explained.notes)
        case CancelWanted():
            asked = outcome.request
            told = {"campaign_id": asked.campaign_id, "customer_id": asked.customer_id}
            return {"account": asked.account, "route": asked.route, "cancel": told}
        case Parked():
            reason = {"field": outcome.field, "found": outcome.found, "allowed": outcome.allowed}
            return {"account": outcome.account, "route": outcome.route, "parked": reason}
        case Pending() | Ignored():
            return {}


def _planned(request: RecallRequest, notes: tuple[str, ...]) -> dict[str, Any]:
    return {
        "account": request.account,
        "route": request.route,
        "version": request.version.isoformat(),
        "schedule": {
            "requested_date": request.requested_date.isoformat(),
            "recall_date": request.recall_date.isoformat(),
            "notes": list(notes),
        },
    }


def _call(account: Account, request: RecallRequest) -> dict[str, Any]:
    call = build_call(
        account,
        campaign_id=request.campaign_id,
        customer_id=request.customer_id,
        recall_telephone=request.recall_telephone,
        recall_date=request.recall_date,
    )
    return {
        "method": call.method,
        "url": call.url,
        "headers": call.public_headers,
        "body": call.body.decode("ascii"),
        "made": account.mode == "live",
    }
