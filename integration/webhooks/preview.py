"""Preview the processing of a sample or an event. Nothing is sent or stored. Pure.

The preview runs the steps of a real delivery (verify, parse, plan, build the call) and returns each step
as JSON values. They contain the data of the sample, but not the account's token.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from integration.clients.wolkvox_protocol import build_call
from integration.config.models import Config, Route
from integration.config.source_models import JSON_LOOKUPS, JsonSource
from integration.domain.account import Account
from integration.domain.delivery import QUERY, Delivery
from integration.domain.errors import NotVerifiedError, UnreadableError
from integration.mapping.expressions import NOT_LOOKED_UP, NotLookedUp
from integration.mapping.planner import (
    PLAN_NAMES,
    CancelWanted,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
    explain_event,
)
from integration.webhooks.handshakes import handshake_reply, verified_handshake_reply
from integration.webhooks.providers import SOURCES
from integration.webhooks.providers.schemes import SCHEMES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from integration.config.source_models import Preset, Source
    from integration.domain.delivery import Event
    from integration.domain.recall import RecallRequest
    from integration.mapping.planner import Explained
    from integration.mapping.routes import CompiledRoutes, Field

_SAMPLE_SECRET = "sample-secret-0123456789"  # noqa: S105  (of a preset that is tried without a configuration)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A sample webhook that arrives at `now` (aware).

    The names in `headers` are lower-case. With `headers=None` the sample is not verified. `url` is the
    URL that the sender signed, and `url_key` the key in it. `looked_up` replaces the lookup: it maps a
    record's id to the names that templates can read, and "" to those for all other ids.
    """

    source: Source
    body: bytes
    content_type: str
    headers: Mapping[str, str] | None
    url: str
    url_key: str | None
    looked_up: Mapping[str, Mapping[str, Any]]
    now: datetime

    @property
    def delivery(self) -> Delivery:
        """Return the sample as a delivery that arrives at `now`."""
        headers = {"content-type": self.content_type, **(self.headers or {})}
        if query := urlsplit(self.url).query:
            headers[QUERY] = query
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

    def looked_up_for(self, event: Event) -> Mapping[str, Any] | NotLookedUp:
        """Return the replacement for the lookup of an event, or NOT_LOOKED_UP."""
        if event.lookup_id is None:
            return NOT_LOOKED_UP
        record = event.lookup_id.rpartition("/")[2]
        return self.looked_up.get(record, self.looked_up.get("", NOT_LOOKED_UP))


def preset_config(preset: Preset) -> Config:
    """Return a configuration with a source of this preset, its route, and an account in its country.

    The secrets are placeholders, and the account does not call wolkvox.
    """
    secret = "sample-user:sample-secret-0123456789" if preset.source["verify"] == "basic" else _SAMPLE_SECRET
    source = JsonSource.model_validate(
        {
            "name": preset.name,
            "kind": "json",
            "preset": preset.name,
            "secrets": secret,
            "url_key": _SAMPLE_SECRET if preset.source["verify"] == "url-key" else None,
            "verify_token": secret,
            **preset.source,
            **_sample_lookup(preset),
        }
    )
    account = Account.model_validate(
        {
            "name": "sample",
            "server": "0000",
            "token": _SAMPLE_SECRET,
            "timezone": "America/Bogota",
            "country": preset.country,
            "mode": "dry-run",
        }
    )
    route = Route.model_validate(
        {
            "name": preset.name,
            "source": preset.name,
            "account": "sample",
            "campaign_id": "12345",
            **preset.route,
        }
    )
    return Config(accounts={"sample": account}, sources={preset.name: source}, routes=(route,))


def _sample_lookup(preset: Preset) -> dict[str, Any]:
    """Return the key `lookup` with a placeholder for its secret, or an empty dict without a lookup."""
    lookup = preset.source.get("lookup")
    if lookup is None:
        return {}
    key = JSON_LOOKUPS[lookup["kind"]].secret_key
    return {"lookup": {key: "https://localhost" if key == "url" else _SAMPLE_SECRET, **lookup}}


def preview_sample(compiled_routes: CompiledRoutes, sample: Sample) -> dict[str, Any]:
    """Return the steps of processing a sample, as a dict of JSON values.

    - `source`, `kind`, `bytes` and `content_type`: the input
    - `verified`: `checked`, `ok`, `check` and `why`
    - `refused`: `where`, `found` and `allowed` if the body cannot be parsed, or None
    - `handshake`: True if the sample only checks the address
    - `events`: one entry for each event, see `preview_event`, with `dedup`
    - `counts`: the number of events by outcome
    - `good`: True if nothing is rejected or parked
    """
    delivery = sample.delivery
    steps: dict[str, Any] = {
        "source": sample.source.name,
        "kind": sample.source.kind,
        "bytes": len(sample.body),
        "content_type": delivery.content_type,
        "verified": {"checked": False, "ok": None, "check": None, "why": "no headers given"},
        "refused": None,
        "handshake": False,
        "events": [],
    }
    kind = SOURCES[sample.source.kind]
    try:
        if sample.headers is not None:
            steps["verified"] = _verified(sample, delivery)
        steps["handshake"] = _is_handshake(delivery, sample.source)
        events = () if steps["handshake"] else kind.read(delivery, sample.source)
    except UnreadableError as error:
        steps["refused"] = {"where": error.where, "found": error.found, "allowed": error.allowed}
        events = ()
    steps["events"] = [_event(compiled_routes, sample, delivery, event) for event in events]
    steps["counts"] = dict(Counter(event["outcome"] for event in steps["events"]))
    verified = steps["verified"]["ok"] is not False
    steps["good"] = verified and not steps["refused"] and "parked" not in steps["counts"]
    return steps


def _is_handshake(delivery: Delivery, source: Source) -> bool:
    """Return True if the sample only checks the address."""
    try:
        reply = handshake_reply(delivery, source) or verified_handshake_reply(delivery, source)
    except NotVerifiedError:
        return False
    return reply is not None


def _verified(sample: Sample, delivery: Delivery) -> dict[str, Any]:
    try:
        SOURCES[sample.source.kind].verify(delivery, sample.source, sample.now)
    except NotVerifiedError as error:
        return {"checked": True, "ok": False, "check": error.check, "why": error.why}
    return {"checked": True, "ok": True, "check": None, "why": None}


def _event(
    compiled_routes: CompiledRoutes, sample: Sample, delivery: Delivery, event: Event
) -> dict[str, Any]:
    steps = preview_event(compiled_routes, delivery, event, sample.now, sample.looked_up_for(event))
    return {**steps, "dedup": _dedup(sample, event)}


def preview_event(
    compiled_routes: CompiledRoutes,
    delivery: Delivery,
    event: Event,
    now: datetime,
    looked_up: Mapping[str, Any] | NotLookedUp = NOT_LOOKED_UP,
) -> dict[str, Any]:
    """Return the steps of processing one event, as a dict of JSON values.

    The arguments are those of `planner.explain_event`.

    - `event`, `dedup_key`, `occurred_at` and `lookup_id`: the event
    - `routes`: the routes considered
    - `fields`: the template, the rendered text, and the value or fault of each field
    - `outcome`: `recall`, `cancel`, `expired`, `ignored`, `parked` or `pending`

    Other keys depend on the outcome. A recall has `call`, the call to wolkvox without the token.
    """
    explained = explain_event(compiled_routes, delivery, event, now, looked_up)
    return {
        "event": event.data,
        "dedup_key": event.dedup_key,
        "occurred_at": None if event.occurred_at is None else event.occurred_at.isoformat(),
        "lookup_id": event.lookup_id,
        "routes": [{"route": r.route, "matched": r.matched, "why": r.why} for r in explained.considered],
        "fields": [_field(field) for field in explained.fields],
        "outcome": PLAN_NAMES[type(explained.plan)],
        **_consequence(compiled_routes.config, explained),
    }


_BY_BODY = "the body, while no other request of the same customer and campaign came in between"


def _dedup(sample: Sample, event: Event) -> str:
    """Return a text that says how a repeated event is recognized."""
    source = sample.source
    for_hours = f"for {source.dedup_hours:g} hours"
    if isinstance(source, JsonSource) and source.dedup_key is None and sample.headers is None:
        header = SCHEMES[source.verify].id_header(sample.delivery, source)
        return (
            _BY_BODY
            if header is None
            else f"the header {header}, {for_hours}; without that header, {_BY_BODY}"
        )
    return _BY_BODY if event.dedup_key is None else f"{event.dedup_key}, {for_hours}"


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
    """Return the keys that depend on the outcome of an event."""
    plan = explained.plan
    match plan:
        case RecallWanted():
            account = config.accounts[plan.request.account]
            return {**_planned(plan.request, explained.notes), "call": _call(account, plan.request)}
        case Expired():
            return _planned(plan.request, explained.notes)
        case CancelWanted():
            request = plan.request
            fields = {"campaign_id": request.campaign_id, "customer_id": request.customer_id}
            return {"account": request.account, "route": request.route, "cancel": fields}
        case Parked():
            reason = {"field": plan.field, "found": plan.found, "allowed": plan.allowed}
            return {"account": plan.account, "route": plan.route, "parked": reason}
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
