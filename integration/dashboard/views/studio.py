"""The mapping studio: tests a route on events while it is edited. It sends and stores nothing.

A viewer can test a pasted sample. Only an operator can use stored events, because a template can print
every value of an event. Opening one is recorded in the audit log.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from flask import request, session

from integration.config.models import zone_of
from integration.config.source_models import lookup_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.responses import note, page, person
from integration.dashboard.views.deliveries import as_delivery, events_of
from integration.dashboard.views.sources import source_of
from integration.domain.delivery import Delivery
from integration.domain.errors import UnknownError, UnreadableError
from integration.mapping.expressions import LOOKUP_NAMES, NOT_LOOKED_UP, NotLookedUp
from integration.mapping.route_draft import (
    FIELDS,
    NEW,
    Comparison,
    Draft,
    DraftError,
    as_toml,
    compare,
    counted,
    routes_of,
)
from integration.webhooks.preview import preview_event
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from flask import Response

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.delivery import Event
    from integration.mapping.route_draft import FieldFault
    from integration.mapping.routes import CompiledRoutes
    from integration.services.container import Services

LONGEST_SAMPLE: Final = 100_000
MOST_PICKS: Final = 20
MOST_SHOWN: Final = 5  # limits the events of a sample, and the changed events of a run
MOST_TRIED: Final = 200
RUN_SECONDS: Final = 2.0
_MOST_OPENED: Final = 20
# Verdicts with an example in a run, in the order in which they are shown.
_VERDICTS: Final = ("newly parked", "newly ignored", "changed", "newly mapped")
_SAMPLE_TYPES: Final = {"hubspot": "application/json", "salesforce": "text/xml"}


@dataclass(frozen=True, slots=True)
class _Picked:
    """A delivery with events to test a route on. `stored` is its id in the URL and audit log, or ""."""

    delivery: Delivery
    events: tuple[Event, ...] = field(repr=False)
    stored: str = ""


@dataclass(frozen=True, slots=True)
class _Run:
    """The comparison of a draft with the current routes over the latest events."""

    looked_at: int
    counts: Counter[str]
    changed: tuple[Comparison, ...]
    in_time: bool


# --- views -----------------------------------------------------------------------------------------


@signed_in
def studio(services: Services) -> Response:
    """Show a route's fields, and the result for the selected event."""
    config = services.config
    source = _source(config)
    if source is None:
        return page("studio.html", source=None, faults=())
    place = _route_index(config, source.name, request.args.get("route") or _own_route(services, source.name))
    values = _values_of(config, source.name, place)
    may = person().may("operator")
    picked, words = _opened(services, source, request.args, may=may)
    return page(
        "studio.html",
        source=source,
        sources=[(name, name) for name in sorted(config.sources)],
        routes=_routes(config, source.name),
        accounts=sorted(config.accounts),
        place=place,
        values=values,
        stored="" if picked is None else picked.stored,
        missing=words,
        picks=list(_picks(services, source)) if may else [],
        may=may,
        looks_up=lookup_of(source) is not None,
        zone=zone_of(config),
        **_tried(services, Draft(source.name, place, values), picked, ""),
    )


@signed_in
def try_route(services: Services) -> Response:
    """Apply the submitted fields to the pasted sample or stored event."""
    sent = request.form
    source = source_of(services, sent.get("source", ""))
    draft = _draft(services.config, source, sent)
    picked, words = _opened(services, source, sent, may=person().may("operator"))
    if picked is None and not words:
        picked, words = _sample(source, sent.get("sample", ""))
    return page(
        "studio_result.html", missing=words, **_tried(services, draft, picked, sent.get("contact", ""))
    )


@role("operator")
def run_route(services: Services) -> Response:
    """Compare the submitted fields with the current routes over the source's latest events."""
    sent = request.form
    source = source_of(services, sent.get("source", ""))
    draft = _draft(services.config, source, sent)
    note(services, "try a route on what came", source.name)
    try:
        run = _compare_latest(services, source, routes_of(services.config, draft))
    except DraftError as error:
        return page("studio_run.html", run=None, faults=error.faults)
    return page("studio_run.html", run=run, faults=())


# --- request parameters ----------------------------------------------------------------------------


def _source(config: Config) -> Source | None:
    """Return the source named in the query string, else the first one; None if there are none."""
    first = next(iter(sorted(config.sources)), "")
    return config.sources.get(request.args.get("source") or first) or config.sources.get(first)


def _routes(config: Config, source: str) -> list[tuple[str, str]]:
    return [(str(place), one.name) for place, one in enumerate(config.routes) if one.source == source]


def _own_route(services: Services, source: str) -> str:
    """Return the index of the route that parked the event of the query string, "" if there is none."""
    parked = request.args.get("parked") or request.args.get("stored", "")
    if not parked.startswith("pk_"):
        return ""
    try:
        name = services.parked.records.get(parked).get("route", "")
    except UnknownError:
        return ""
    return next((place for place, route in _routes(services.config, source) if route == name), "")


def _route_index(config: Config, source: str, text: str) -> int:
    """Return the index of the selected route, else of the source's first one; NEW for a new route."""
    known = [int(place) for place, _name in _routes(config, source)]
    if text == "new" or not known:
        return NEW
    return int(text) if text.isdecimal() and int(text) in known else known[0]


def _values_of(config: Config, source: str, place: int) -> dict[str, str]:
    if place == NEW:
        account = next(iter(sorted(config.accounts)), "")
        empty = dict.fromkeys(FIELDS, "")
        return {**empty, "name": f"{source}: new route", "account": account, "action": "recall"}
    route = config.routes[place]
    return {name: getattr(route, name) or "" for name in FIELDS} | {
        "accounts": ", ".join(route.accounts or ())
    }


def _draft(config: Config, source: Source, sent: Mapping[str, str]) -> Draft:
    values = {name: sent.get(name, "") for name in FIELDS}
    return Draft(source.name, _route_index(config, source.name, sent.get("route", "")), values)


def _opened(
    services: Services, source: Source, query: Mapping[str, str], *, may: bool
) -> tuple[_Picked | None, str]:
    """Return the requested stored event and "".

    Return None and a reason if it cannot be shown, or None and "" if none is requested.
    """
    stored = _stored_name(query)
    if not stored:
        return None, ""
    if not may:
        return None, "operator"
    try:
        picked = _read_stored(services, source, stored)
    except UnknownError:
        return None, "gone"
    _note_once(services, stored)
    return picked, ""


def _stored_name(query: Mapping[str, str]) -> str:
    if query.get("stored"):
        return query["stored"]
    if query.get("parked"):
        return query["parked"]
    return f"{query['delivery']}.{query.get('event', '1')}" if query.get("delivery") else ""


def _read_stored(services: Services, source: Source, stored: str) -> _Picked:
    """Read a parked event, or one event of a stored delivery. Raise UnknownError."""
    if stored.startswith("pk_"):
        kept = services.parked.event(stored)
        if kept.delivery.source != source.name:
            raise UnknownError("no such event of this source")
        return _Picked(kept.delivery, kept.events, stored)
    delivery_id, _dot, number = stored.partition(".")
    came = services.delivery_log.delivery(delivery_id)
    events = events_of(services, came)
    if came.source != source.name or not number.isdecimal() or not 1 <= int(number) <= len(events):
        raise UnknownError("no such event of this source")
    return _Picked(as_delivery(came), (events[int(number) - 1],), stored)


def _note_once(services: Services, stored: str) -> None:
    """Record once per session in the audit log that a stored event was opened."""
    opened = list(session.get("studio", ()))
    if stored not in opened:
        note(services, "open event in the studio", stored.partition(".")[0])
        session["studio"] = [*opened, stored][-_MOST_OPENED:]


def _picks(services: Services, source: Source) -> Iterator[tuple[str, str, datetime]]:
    """Yield the latest deliveries and one parked event per reason, as (id, label, time)."""
    for came in services.delivery_log.kept_of(source.name, limit=MOST_PICKS):
        yield f"{came.id}.1", came.id, came.received_at
    groups = [group for group in services.parked.records.groups() if group.source == source.name]
    for group in groups[:MOST_PICKS]:
        yield group.example, group.example, group.newest


def _sample(source: Source, text: str) -> tuple[_Picked | None, str]:
    """Parse a pasted sample as a body of the source. Return None and a reason if it is not readable."""
    if not text.strip():
        return None, ""
    if len(text) > LONGEST_SAMPLE:
        return None, "long"
    delivery = Delivery(
        id="sample",
        source=source.name,
        method="POST",
        url="",
        headers={"content-type": _sample_type(source, text)},
        body=text.encode("utf-8", "replace"),
        received_at=datetime.now(UTC),
    )
    try:
        return _Picked(delivery, SOURCES[source.kind].read(delivery, source)), ""
    except UnreadableError as error:
        return None, str(error)


def _sample_type(source: Source, text: str) -> str:
    if source.kind in _SAMPLE_TYPES:
        return _SAMPLE_TYPES[source.kind]
    return "application/json" if text.lstrip()[:1] in {"{", "["} else "application/x-www-form-urlencoded"


# --- results ---------------------------------------------------------------------------------------


def _tried(services: Services, draft: Draft, picked: _Picked | None, contact: str) -> dict[str, Any]:
    """Return the template variables: errors of the fields, the result of each event, and the TOML."""
    faults: tuple[FieldFault, ...] = ()
    ways: list[dict[str, Any]] = []
    try:
        compiled_routes = routes_of(services.config, draft)
    except DraftError as error:
        faults = error.faults
    else:
        if picked is not None:
            ways = [_preview(compiled_routes, picked, event, contact) for event in picked.events[:MOST_SHOWN]]
    return {
        "faults": faults,
        "ways": ways,
        "more": 0 if picked is None else max(0, len(picked.events) - MOST_SHOWN),
        "toml": as_toml(draft),
        "fields": FIELDS,
    }


def _preview(compiled_routes: CompiledRoutes, picked: _Picked, event: Event, contact: str) -> dict[str, Any]:
    way = preview_event(compiled_routes, picked.delivery, event, datetime.now(UTC), _looked_up(contact))
    return {**way, "event": display_text.as_text(way["event"])}


def _looked_up(text: str) -> dict[str, Any] | NotLookedUp:
    """Parse a pasted record that replaces the lookup; NOT_LOOKED_UP if there is none."""
    if not text.strip() or len(text) > LONGEST_SAMPLE:
        return NOT_LOOKED_UP
    try:
        return dict.fromkeys(LOOKUP_NAMES, orjson.loads(text))
    except orjson.JSONDecodeError:
        return NOT_LOOKED_UP


def _compare_latest(services: Services, source: Source, tried: CompiledRoutes) -> _Run:
    """Compare the draft with the current routes over the latest events, for at most RUN_SECONDS."""
    present, now = services.routes, datetime.now(UTC)
    until = time.monotonic() + RUN_SECONDS
    found: list[Comparison] = []
    in_time = True
    for delivery, event in _latest_events(services, source):
        if time.monotonic() > until:
            in_time = False
            break
        found.append(compare(present, tried, delivery, event, now))
    # Events that would no longer be mapped come first: they are what a user must see.
    changed = sorted(
        (one for one in found if one.verdict in _VERDICTS), key=lambda one: _VERDICTS.index(one.verdict)
    )
    return _Run(len(found), counted(found), tuple(changed[:MOST_SHOWN]), in_time)


def _latest_events(services: Services, source: Source) -> Iterator[tuple[Delivery, Event]]:
    """Yield the latest stored events of a source, at most MOST_TRIED."""
    yielded = 0
    for came in services.delivery_log.kept_of(source.name, limit=MOST_TRIED):
        for event in events_of(services, came):
            if yielded == MOST_TRIED:
                return
            yielded += 1
            yield as_delivery(came), event


VIEWS = (
    ("GET /studio", studio),
    ("POST /studio/try", try_route),
    ("POST /studio/run", run_route),
)
