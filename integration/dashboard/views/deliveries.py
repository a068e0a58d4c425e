"""Deliveries: everything that came, what became of it, and why what was refused was refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from flask import abort, request, url_for
from flask_babel import gettext as _
from flask_babel import lazy_gettext as _l
from flask_babel import ngettext

from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text, reason_labels
from integration.dashboard.presenting.times import zone_of
from integration.dashboard.responses import note, page
from integration.domain.delivery import Delivery
from integration.domain.errors import UnknownError, UnreadableError
from integration.domain.timestamps import read_iso
from integration.telemetry.redaction import mask_data
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response

    from integration.domain.delivery import Event
    from integration.domain.rejection import Rejection
    from integration.services.container import Services
    from integration.store.delivery_log import LoggedDelivery, StoredDelivery

PAGE_SIZE: Final = 50
RESULTS: Final = (
    ("recalls", _l("became recalls")),
    ("parked", _l("parked")),
    ("pending", _l("waits for a lookup")),
    ("cancelled", _l("took a recall back")),
    ("ignored", _l("ignored")),
    ("again", _l("sent again")),
    ("refused", _l("refused")),
)
MOST_EVENTS: Final = 100


@signed_in
def deliveries(services: Services) -> Response:
    """List deliveries, newest first, those that were refused among them."""
    asked = _asked(services)
    sources = [asked["source"]] if asked["source"] else list(services.config.sources)
    zone = zone_of(services.config)
    try:
        found = services.delivery_log.page(
            sources,
            result=asked["result"] or None,
            until=read_iso(asked["until"], zone),
            cursor=request.args.get("cursor") or None,
            limit=PAGE_SIZE,
        )
    except ValueError:
        abort(400)
    return page(
        "deliveries.html",
        found=found,
        asked=asked,
        sources=[(name, name) for name in sorted(services.config.sources)],
        results=RESULTS,
        zone=zone,
        told=_told,
        came_to=_came_to,
        older=_older(asked, found.next),
    )


def _asked(services: Services) -> dict[str, str]:
    """Give the filters of the address; what is no source or result is left out."""
    source, result = request.args.get("source", ""), request.args.get("result", "")
    return {
        "source": source if source in services.config.sources else "",
        "result": result if result in {name for name, _words in RESULTS} else "",
        "until": request.args.get("until", ""),
    }


def _older(asked: Mapping[str, str], cursor: str | None) -> str | None:
    filters: dict[str, Any] = {name: value for name, value in asked.items() if value}
    return url_for("dashboard.deliveries", **filters, cursor=cursor) if cursor else None


def _told(arrival: LoggedDelivery) -> str:
    """Say in a few words why a delivery was refused; nothing for one that was taken."""
    refused = arrival.refused
    if refused is None:
        return ""
    return " ".join(str(words.what) for words in _words(refused)) or refused.why


def _words(refused: Rejection) -> list[reason_labels.ReasonText]:
    """Give what is known of a refusal in words: its findings, or what its status means."""
    found = [reason_labels.told(cause, facts) for cause, facts in refused.findings]
    if not found and refused.status in reason_labels.STATUS:
        return [reason_labels.STATUS[refused.status]]
    return found


@signed_in
def refused_delivery(services: Services, place: str) -> Response:
    """Show one delivery that was refused: what is known of it, why, and what to change."""
    arrival = services.delivery_log.refusal(place)
    if arrival.refused is None or arrival.source not in services.config.sources:
        raise UnknownError("no such delivery")
    return page(
        "refused_delivery.html",
        arrival=arrival,
        refused=arrival.refused,
        words=_words(arrival.refused),
        settings=services.config.sources[arrival.source],
        zone=zone_of(services.config),
    )


@dataclass(frozen=True, slots=True)
class _EventResult:
    """What one event of a delivery became: a word of it, and the recall or parked event behind it."""

    number: int
    what: str
    id: str
    event: str


@signed_in
def delivery(services: Services, delivery_id: str) -> Response:
    """Show one delivery: its headers and events, masked, and what became of each."""
    return _whole(services, services.delivery_log.delivery(delivery_id), revealed=False)


@role("operator")
def reveal_delivery(services: Services, delivery_id: str) -> Response:
    """Show a delivery with everything readable, and write that to the audit log."""
    kept = services.delivery_log.delivery(delivery_id)
    note(services, "reveal delivery", delivery_id)
    return _whole(services, kept, revealed=True)


def _whole(services: Services, kept: StoredDelivery, *, revealed: bool) -> Response:
    return page(
        "delivery.html",
        kept=kept,
        revealed=revealed,
        headers=display_text.headers(kept.headers, revealed=revealed),
        body=display_text.body(kept.body) if revealed else "",
        events=_events(services, kept, revealed=revealed),
        more=max(0, len(kept.became) - MOST_EVENTS),
        zone=zone_of(services.config),
        recall_address=recall_address,
    )


def _events(services: Services, kept: StoredDelivery, *, revealed: bool) -> list[_EventResult]:
    read = events_of(services, kept)
    # A version before this one kept no word of what became of each event.
    words = kept.became or ("unknown",) * len(read)
    rows = []
    for number, word in enumerate(words[:MOST_EVENTS], start=1):
        data = read[number - 1].data if number <= len(read) else None
        text = display_text.as_text(data if revealed else mask_data(data))
        rows.append(_EventResult(number, _kind(word), word, text))
    return rows


def _kind(word: str) -> str:
    return {"rc": "recall", "pk": "parked"}.get(word.partition("_")[0], word)


def events_of(services: Services, kept: StoredDelivery) -> tuple[Event, ...]:
    """Read a kept delivery's events anew; none where its source is gone or reads otherwise now."""
    settings = services.config.sources.get(kept.source)
    if settings is None:
        return ()
    try:
        return SOURCES[settings.kind].read(as_delivery(kept), settings)
    except UnreadableError:
        return ()


def as_delivery(kept: StoredDelivery) -> Delivery:
    """Give a kept delivery as it came, but for the headers that proved it."""
    return Delivery(
        id=kept.id,
        source=kept.source,
        method="POST",
        url="",
        headers=kept.headers,
        body=kept.body,
        received_at=kept.received_at,
    )


def recall_address(recall_id: str) -> str:
    """Give the address of a recall's page."""
    return f"/recalls/{recall_id}"


def _came_to(arrival: LoggedDelivery) -> list[tuple[str, str]]:
    """Give what a delivery came to as labels: words and their tone."""
    if arrival.refused is not None:
        return [(_("refused"), "bad")]
    counts = arrival.counts
    told = [
        (
            "good",
            counts.get("recalls", 0),
            ngettext("%(num)d recall", "%(num)d recalls", counts.get("recalls", 0)),
        ),
        ("warn", counts.get("parked", 0), _("%(num)d parked", num=counts.get("parked", 0))),
        (
            "note",
            counts.get("pending", 0),
            ngettext("%(num)d waits for a lookup", "%(num)d wait for a lookup", counts.get("pending", 0)),
        ),
        ("note", counts.get("cancelled", 0), _("%(num)d taken back", num=counts.get("cancelled", 0))),
        ("warn", counts.get("too_late", 0), _("%(num)d taken back too late", num=counts.get("too_late", 0))),
        ("", counts.get("ignored", 0), _("%(num)d ignored", num=counts.get("ignored", 0))),
    ]
    labels = [(words, tone) for tone, count, words in told if count]
    return ([(_("sent again"), "")] if arrival.again else []) + labels


VIEWS = (
    ("GET /deliveries", deliveries),
    ("GET /deliveries/refused/<place>", refused_delivery),
    ("GET /deliveries/<delivery_id>", delivery),
    ("POST /deliveries/<delivery_id>/reveal", reveal_delivery),
)
