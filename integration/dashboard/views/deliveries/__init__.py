"""The pages of deliveries: results, causes of rejections, and resending a stored delivery."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from flask import abort, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from integration.config.models import lookups_of, zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text, editable_body, reason_labels
from integration.dashboard.responses import back_to, caller, flash_message, note, page, person
from integration.domain.delivery import Delivery
from integration.domain.errors import NotFoundError, UnreadableError
from integration.domain.timestamps import read_iso
from integration.mapping.planner import PLAN_NAMES
from integration.store.deliveries import digest_of
from integration.telemetry.redaction import mask_data
from integration.webhooks.isolated_work.client import isolated_work
from integration.webhooks.providers import SOURCES
from integration.webhooks.resend import resent_events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.domain.delivery import Event
    from integration.domain.rejection import Rejection
    from integration.mapping.planner import EventPlan
    from integration.services.container import Services
    from integration.store.deliveries import StoredEvents
    from integration.store.delivery_log import LoggedDelivery, StoredDelivery
    from integration.store.monitoring.lookup_status import LookupStatus

PAGE_SIZE: Final = 50
RESULTS: Final = (
    ("recalls", _l("became recalls")),
    ("parked", _l("parked")),
    ("pending", _l("waits for a lookup")),
    ("cancelled", _l("cancelled a recall")),
    ("ignored", _l("ignored")),
    ("again", _l("sent again")),
    ("refused", _l("rejected")),
)
MOST_EVENTS: Final = 100
MOST_DIGITS: Final = 6  # of the number of an event


@signed_in
def deliveries(services: Services) -> Response:
    """List the accepted and rejected deliveries that match the filters, newest first."""
    filters = filters_of(services)
    sources = [filters["source"]] if filters["source"] else list(services.config.sources)
    given: dict[str, Any] = {name: text for name, text in filters.items() if text}
    zone = zone_of(services.config)
    try:
        found = services.delivery_log.page(
            sources,
            result=filters["result"] or None,
            until=read_iso(filters["until"], zone),
            cursor=request.args.get("cursor") or None,
            limit=PAGE_SIZE,
        )
    except ValueError:
        abort(400)
    return page(
        "deliveries.html",
        found=found,
        filters=filters,
        sources=[(name, name) for name in sorted(services.config.sources)],
        results=RESULTS,
        zone=zone,
        reason_text=_reason_text,
        result_labels=_result_labels,
        older=_older_address(filters, found.next),
        send_many=url_for("dashboard.preview_many", **given),
    )


def filters_of(services: Services) -> dict[str, str]:
    """Return the filters of the query string or form. An unknown source or result becomes ""."""
    source, result = request.values.get("source", ""), request.values.get("result", "")
    return {
        "source": source if source in services.config.sources else "",
        "result": result if result in {name for name, _words in RESULTS} else "",
        "until": request.values.get("until", ""),
    }


def _older_address(filters: Mapping[str, str], cursor: str | None) -> str | None:
    query: dict[str, Any] = {name: value for name, value in filters.items() if value}
    return url_for("dashboard.deliveries", **query, cursor=cursor) if cursor else None


def _reason_text(arrival: LoggedDelivery) -> str:
    """Return the causes of a rejected delivery as text; "" for an accepted delivery."""
    refused = arrival.rejection
    if refused is None:
        return ""
    return " ".join(str(words.what) for words in _words(refused)) or refused.why


def _words(refused: Rejection) -> list[reason_labels.ReasonText]:
    """Return the explanations of a rejection by its findings, else by its HTTP status; [] for neither."""
    found = [reason_labels.reason_text(cause, facts) for cause, facts in refused.findings]
    if not found and refused.status in reason_labels.STATUS:
        return [reason_labels.STATUS[refused.status]]
    return found


@signed_in
def refused_delivery(services: Services, place: str) -> Response:
    """Show a rejected delivery with the reasons and the corrections. Raise NotFoundError."""
    arrival = services.delivery_log.rejected(place)
    if arrival.rejection is None or arrival.source not in services.config.sources:
        raise NotFoundError("no such delivery")
    return page(
        "refused_delivery.html",
        arrival=arrival,
        refused=arrival.rejection,
        words=_words(arrival.rejection),
        settings=services.config.sources[arrival.source],
        zone=zone_of(services.config),
    )


@dataclass(frozen=True, slots=True)
class _EventResult:
    """The result of an event of a delivery. `number` counts the events from 1.

    `what` is the kind of the result, such as "recall" or "ignored". `id` is the id of the new record, or
    the kind if there is no record. `event` is the event as text.
    """

    number: int
    what: str
    id: str
    event: str


@signed_in
def delivery(services: Services, delivery_id: str) -> Response:
    """Show a delivery: masked headers and events, and the result of each event. Raise NotFoundError."""
    return _delivery_page(services, services.delivery_log.delivery(delivery_id), revealed=False)


@role("operator")
def reveal_delivery(services: Services, delivery_id: str) -> Response:
    """Show a delivery unmasked, and record this in the audit log. Raise NotFoundError."""
    kept = services.delivery_log.delivery(delivery_id)
    note(services, "reveal delivery", delivery_id)
    return _delivery_page(services, kept, revealed=True)


def _delivery_page(services: Services, kept: StoredDelivery, *, revealed: bool) -> Response:
    return page(
        "delivery.html",
        kept=kept,
        revealed=revealed,
        headers=display_text.headers(kept.headers, revealed=revealed),
        body=display_text.body(kept.body) if revealed else "",
        events=_events(services, kept, revealed=revealed),
        more=max(0, len(kept.results) - MOST_EVENTS),
        zone=zone_of(services.config),
        recall_address=recall_address,
        lookup=_lookup(services, kept) if "pending" in kept.results else None,
    )


def _lookup(services: Services, kept: StoredDelivery) -> LookupStatus | None:
    """Return the status of the lookups of a delivery's source, or None if the source has no lookup."""
    return services.lookup_status.all(lookups_of(services.config)).get(kept.source)


def _events(services: Services, kept: StoredDelivery, *, revealed: bool) -> list[_EventResult]:
    read = events_of(services, kept)
    # Records of earlier versions do not have the result of each event.
    words = kept.results or ("unknown",) * len(read)
    rows = []
    for number, word in enumerate(words[:MOST_EVENTS], start=1):
        data = read[number - 1].data if number <= len(read) else None
        text = display_text.as_text(data if revealed else mask_data(data))
        rows.append(_EventResult(number, _kind(word), word, text))
    return rows


def _kind(word: str) -> str:
    return {"rc": "recall", "pk": "parked"}.get(word.partition("_")[0], word)


def events_of(services: Services, kept: StoredDelivery) -> tuple[Event, ...]:
    """Return the events of a stored delivery, parsed with the current settings of its source.

    Return () if the source was removed, or if the body cannot be parsed.
    """
    settings = services.config.sources.get(kept.source)
    if settings is None:
        return ()
    try:
        return SOURCES[settings.kind].read(as_delivery(kept), settings)
    except UnreadableError:
        return ()


def as_delivery(kept: StoredDelivery) -> Delivery:
    """Return a stored delivery as a Delivery. Its URL and signature headers are not stored."""
    return Delivery(
        id=kept.id,
        source=kept.source,
        method="POST",
        url="",
        headers=kept.headers,
        body=kept.body,
        received_at=kept.received_at,
    )


@dataclass(frozen=True, slots=True)
class _Planned:
    """The plan of an event of the new delivery. `what` is its name in PLAN_NAMES; `number` is from 1."""

    number: int
    what: str
    plan: EventPlan


@role("operator")
def preview_again(services: Services, delivery_id: str) -> Response:
    """Show how the current routes map a stored delivery or an edited body, without storing a result."""
    kept = services.delivery_log.delivery(delivery_id)
    return _again_page(services, kept, _edited_text(kept))


@role("operator")
def edit_again(services: Services, delivery_id: str) -> Response:
    """Show the body of a stored delivery for editing, and record this in the audit log.

    If the body cannot be edited, show the reason instead, without a record.
    """
    kept = services.delivery_log.delivery(delivery_id)
    if editable_body.why_not(kept.headers, kept.body):
        return _again_page(services, kept, None)
    note(services, "reveal delivery", delivery_id)
    return _again_page(services, kept, kept.body.decode())


def _edited_text(kept: StoredDelivery) -> str | None:
    """Return the edited body of the form, or None. Respond with 400 if the body cannot be edited."""
    text = request.form.get("body")
    if text is not None and editable_body.why_not(kept.headers, kept.body):
        abort(400)
    return text


def _again_page(services: Services, kept: StoredDelivery, body: str | None) -> Response:
    planned, fault = [], ""
    try:
        stored = _resent(services, kept, body)
        plans = isolated_work().plan(services.config, caller(), stored[:MOST_EVENTS], datetime.now(UTC))
        planned = [
            _Planned(number, PLAN_NAMES[type(plan)], plan) for number, plan in enumerate(plans, start=1)
        ]
    except UnreadableError as error:
        fault = str(error)
    return page(
        "send_again.html",
        kept=kept,
        body=body,
        why_not=editable_body.why_not(kept.headers, kept.body),
        event=_event_number(),
        once=secrets.token_hex(8),
        planned=planned,
        fault=fault,
        more=max(0, len(stored) - MOST_EVENTS) if planned else 0,
        zone_of=lambda name: zone_of(services.config, name),
    )


def _event_number() -> int | None:
    """Return the number (from 1) of the event to resend, or None for all. Respond with 400 if invalid."""
    text = request.values.get("event", "")
    if not text:
        return None
    if len(text) > MOST_DIGITS or not (text.isascii() and text.isdecimal()) or not int(text):
        abort(400)
    return int(text)


def _resent(services: Services, kept: StoredDelivery, body: str | None) -> list[StoredEvents]:
    """Return the events of the new delivery.

    Raise UnreadableError if the body cannot be parsed, NotFoundError if the source was removed. Respond
    with 400 if the stored delivery has no event of the requested number.
    """
    settings = services.config.sources.get(kept.source)
    if settings is None:
        raise NotFoundError("the source is no longer in the configuration")
    sent, event = kept.body if body is None else editable_body.edited(kept.body, body), _event_number()
    stored = resent_events(kept, settings, sent, unique=_unique(kept, sent), who=person().name, event=event)
    if event is not None and body is None and not stored:
        abort(400)
    return stored


def _unique(kept: StoredDelivery, sent: bytes) -> str:
    """Return the text for the id of the new delivery. A form that is sent twice has the same text."""
    once = request.form.get("once") or secrets.token_hex(8)
    return digest_of("again", kept.id, person().name, once, str(_event_number()), sent)[:16]


@role("operator")
def send_again(services: Services, delivery_id: str) -> ResponseReturnValue:
    """Map a stored delivery or an edited body with the current routes, as a new delivery.

    A second copy of the same form is a duplicate of the first.
    """
    kept = services.delivery_log.delivery(delivery_id)
    body = _edited_text(kept)
    try:
        stored = _resent(services, kept, body)
    except UnreadableError:
        return _again_page(services, kept, body)
    if not stored:
        return _again_page(services, kept, body)
    new = stored[0].delivery
    plans = isolated_work().plan(services.config, caller(), stored, datetime.now(UTC))
    services.admission.admit(new, plans, new.body)
    note(services, "send again", delivery_id, new.id)
    flash_message(_("Sent again. This is the new delivery."))
    if not services.config.store.raw_retention_days:
        return back_to(url_for("dashboard.deliveries"))
    return back_to(url_for("dashboard.delivery", delivery_id=new.id))


def recall_address(recall_id: str) -> str:
    """Return the path of a recall's page."""
    return f"/recalls/{recall_id}"


def _result_labels(arrival: LoggedDelivery) -> list[tuple[str, str]]:
    """Return the results of a delivery as pairs of label and tone (a CSS class, or "")."""
    if arrival.rejection is not None:
        return [(_("rejected"), "bad")]
    recalls, parked, pending, cancelled, too_late, ignored = (
        arrival.counts.get(name, 0)
        for name in ("recalls", "parked", "pending", "cancelled", "too_late", "ignored")
    )
    labelled = [
        ("good", recalls, ngettext("%(num)d recall", "%(num)d recalls", recalls)),
        ("warn", parked, ngettext("%(num)d parked", "%(num)d parked", parked)),
        ("note", pending, ngettext("%(num)d waits for a lookup", "%(num)d wait for a lookup", pending)),
        ("note", cancelled, ngettext("%(num)d recall cancelled", "%(num)d recalls cancelled", cancelled)),
        ("warn", too_late, ngettext("%(num)d cancelled too late", "%(num)d cancelled too late", too_late)),
        ("", ignored, ngettext("%(num)d ignored", "%(num)d ignored", ignored)),
    ]
    labels = [(words, tone) for tone, count, words in labelled if count]
    return ([(_("sent again"), "")] if arrival.again else []) + labels


VIEWS = (
    ("GET /deliveries", deliveries),
    ("GET /deliveries/refused/<place>", refused_delivery),
    ("GET /deliveries/<delivery_id>", delivery),
    ("POST /deliveries/<delivery_id>/reveal", reveal_delivery),
    ("POST /deliveries/<delivery_id>/again/preview", preview_again),
    ("POST /deliveries/<delivery_id>/again/edit", edit_again),
    ("POST /deliveries/<delivery_id>/again", send_again),
)
