"""The mapping studio: tests of a route on events, while the route is edited.

The studio makes no calls and stores no results. Drafts run in the fork server: a template that takes too
long, or whose user leaves the page, is killed there.

A viewer can test a pasted sample. Only an operator can use stored events, because a template can print
any value of an event. The use of a stored event is recorded in the audit log.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from flask import request, session

from integration.config.models import zone_of
from integration.config.source_models import lookup_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.responses import caller, note, page, person
from integration.dashboard.views.deliveries import as_delivery, events_of
from integration.dashboard.views.sources import source_of
from integration.domain.delivery import Delivery
from integration.domain.errors import NotFoundError
from integration.mapping.expressions import LOOKUP_NAMES
from integration.mapping.route_draft import (
    FIELDS,
    NEW,
    Comparison,
    Draft,
    DraftError,
    FieldFault,
    as_toml,
    counted,
    route_of,
)
from integration.webhooks.isolated_work.client import isolated_work
from integration.webhooks.isolated_work.plain_values import plain_delivery, plain_event

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator, Mapping

    from flask import Response

    from integration.config.models import Config
    from integration.config.source_models import Source
    from integration.domain.delivery import Event
    from integration.services.container import Services

LONGEST_SAMPLE: Final = 100_000
MOST_PICKS: Final = 20
MOST_SHOWN: Final = 5  # limits the events of a sample, and the changed events of a run
MOST_TRIED: Final = 200
RUN_SECONDS: Final = 2.0
MOST_TRIED_BYTES: Final = 8 * 1024 * 1024  # of the bodies of a run
_MOST_OPENED: Final = 20
# Verdicts with an example in a run, in the order in which they are shown.
_VERDICTS: Final = ("newly parked", "newly ignored", "changed", "newly mapped")
_SAMPLE_TYPES: Final = {"hubspot": "application/json", "salesforce": "text/xml"}


@dataclass(frozen=True, slots=True)
class _Picked:
    """A delivery with events to test a route on. `stored` is its id: `pk_…` or `dl_….NUMBER`."""

    delivery: Delivery
    events: tuple[Event, ...] = field(repr=False)
    stored: str = ""


@dataclass(frozen=True, slots=True)
class _Sample:
    """A pasted sample: a delivery without its body, and the body as text."""

    delivery: Delivery
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Run:
    """The comparison of a draft with the current routes over the latest events.

    `counts` has the number of events by verdict, `changed` examples of different results. `in_time` is
    False if a limit of time or size left out events.
    """

    looked_at: int
    counts: Counter[str]
    changed: tuple[Comparison, ...]
    in_time: bool


# --- views -----------------------------------------------------------------------------------------


@signed_in
def studio(services: Services) -> Response:
    """Show the fields of a route, and the result for the selected event if there is one."""
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
        picks=list(_picks(services, source)) if may else [],
        may=may,
        looks_up=lookup_of(source) is not None,
        zone=zone_of(config),
        **_first_result(services, Draft(source.name, place, values), picked, words),
    )


@signed_in
def try_route(services: Services) -> Response:
    """Apply the submitted fields to the pasted sample or stored event."""
    sent = request.form
    source = source_of(services, sent.get("source", ""))
    draft = _draft(services.config, source, sent)
    picked: _Picked | _Sample | None
    picked, words = _opened(services, source, sent, may=person().may("operator"))
    if picked is None and not words:
        picked, words = _sample(source, sent.get("sample", ""))
    found = _tried(services, draft, picked, sent.get("contact", ""))
    return page("studio_result.html", **{**found, "missing": words or found["missing"]})


@role("operator")
def run_route(services: Services) -> Response:
    """Compare the submitted fields with the current routes over the source's latest events."""
    sent = request.form
    source = source_of(services, sent.get("source", ""))
    draft = _draft(services.config, source, sent)
    note(services, "try a route on what came", source.name)
    try:
        run = _compare_latest(services, source, draft)
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
    """Return the index, as text, of the route of the parked event in the query string; "" without one."""
    parked = request.args.get("parked") or request.args.get("stored", "")
    if not parked.startswith("pk_"):
        return ""
    try:
        name = services.parked.records.get(parked).get("route", "")
    except NotFoundError:
        return ""
    return next((place for place, route in _routes(services.config, source) if route == name), "")


def _route_index(config: Config, source: str, text: str) -> int:
    """Return the index of the selected route, else of the source's first route; NEW for a new route."""
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
    except NotFoundError:
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
    """Return a parked event, or one event of a stored delivery. Raise NotFoundError."""
    if stored.startswith("pk_"):
        kept = services.parked.event(stored)
        if kept.delivery.source != source.name:
            raise NotFoundError("no such event of this source")
        return _Picked(kept.delivery, kept.events, stored)
    delivery_id, _dot, number = stored.partition(".")
    came = services.delivery_log.delivery(delivery_id)
    events = events_of(services, came)
    if came.source != source.name or not number.isdecimal() or not 1 <= int(number) <= len(events):
        raise NotFoundError("no such event of this source")
    return _Picked(as_delivery(came), (events[int(number) - 1],), stored)


def _note_once(services: Services, stored: str) -> None:
    """Record in the audit log that a stored event was opened, unless this session recorded it lately."""
    opened = list(session.get("studio", ()))
    if stored not in opened:
        note(services, "open event in the studio", stored.partition(".")[0])
        session["studio"] = [*opened, stored][-_MOST_OPENED:]


def _picks(services: Services, source: Source) -> Iterator[tuple[str, str, datetime]]:
    """Yield the latest deliveries and one parked event per reason, as (id, label, time of arrival)."""
    for came in services.delivery_log.kept_of(source.name, limit=MOST_PICKS):
        yield f"{came.id}.1", came.id, came.received_at
    groups = [group for group in services.parked.records.groups() if group.source == source.name]
    for group in groups[:MOST_PICKS]:
        yield group.example, group.example, group.newest


def _sample(source: Source, text: str) -> tuple[_Sample | None, str]:
    """Return a pasted sample and "". Return None and "" for a blank text, None and "long" if too long."""
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
        body=b"",
        received_at=datetime.now(UTC),
    )
    return _Sample(delivery, text), ""


def _sample_type(source: Source, text: str) -> str:
    if source.kind in _SAMPLE_TYPES:
        return _SAMPLE_TYPES[source.kind]
    return "application/json" if text.lstrip()[:1] in {"{", "["} else "application/x-www-form-urlencoded"


def _first_result(services: Services, draft: Draft, picked: _Picked | None, words: str) -> dict[str, Any]:
    """Return the template variables of the page as opened: the route unedited, and the selected event."""
    if picked is not None:
        return _tried(services, draft, picked)
    isolated_work().start()
    faults: tuple[FieldFault, ...] = ()
    try:
        route_of(draft)
    except DraftError as error:
        faults = error.faults
    return {
        "faults": faults,
        "ways": [],
        "more": 0,
        "missing": words,
        "toml": as_toml(draft),
        "fields": FIELDS,
    }


# --- results ---------------------------------------------------------------------------------------


def _tried(
    services: Services, draft: Draft, picked: _Picked | _Sample | None, contact: str = ""
) -> dict[str, Any]:
    """Return the template variables: errors of the fields, the result of each event, and the TOML.

    `missing` is the reason why a sample cannot be parsed. The templates run in the fork server.
    """
    value = {
        "delivery": None if picked is None else plain_delivery(picked.delivery),
        "sample": picked.text if isinstance(picked, _Sample) else None,
        "events": [plain_event(event) for event in picked.events] if isinstance(picked, _Picked) else None,
        "looked_up": _looked_up(contact),
        "now": datetime.now(UTC).isoformat(),
        "most": MOST_SHOWN,
    }
    found = isolated_work().try_draft(services.config, caller(), draft, value)
    return {
        "faults": [FieldFault(**fault) for fault in found["faults"]],
        "ways": [{**way, "event": display_text.as_text(way["event"])} for way in found["previews"]],
        "more": found["more"],
        "missing": found["unreadable"],
        "toml": as_toml(draft),
        "fields": FIELDS,
    }


def _looked_up(text: str) -> dict[str, Any] | None:
    """Return a pasted record under the names of lookups; None if it is blank, too long or not JSON."""
    if not text.strip() or len(text) > LONGEST_SAMPLE:
        return None
    try:
        return dict.fromkeys(LOOKUP_NAMES, orjson.loads(text))
    except orjson.JSONDecodeError:
        return None


def _compare_latest(services: Services, source: Source, draft: Draft) -> _Run:
    """Compare the draft with the current routes over the latest events. Raise DraftError."""
    events, complete = _latest_events(services, source)
    value = {"now": datetime.now(UTC).isoformat(), "seconds": RUN_SECONDS}
    found = isolated_work().compare_draft(services.config, caller(), draft, events, value)
    if found["faults"]:
        raise DraftError(tuple(FieldFault(**fault) for fault in found["faults"]))
    compared = [Comparison(**one) for one in found["compared"]]
    # Events that would no longer be mapped come first.
    changed = sorted(
        (one for one in compared if one.verdict in _VERDICTS), key=lambda one: _VERDICTS.index(one.verdict)
    )
    return _Run(len(compared), counted(compared), tuple(changed[:MOST_SHOWN]), complete and found["in_time"])


def _latest_events(services: Services, source: Source) -> tuple[list[tuple[Delivery, Event]], bool]:
    """Return the latest stored events of a source, at most MOST_TRIED, and True.

    Return False instead of True if bodies of more than MOST_TRIED_BYTES in total left out further events.
    """
    found: list[tuple[Delivery, Event]] = []
    size = 0
    for came in services.delivery_log.kept_of(source.name, limit=MOST_TRIED):
        size += len(came.body)
        if size > MOST_TRIED_BYTES:
            return found, False
        delivery = replace(as_delivery(came), body=b"")
        found += [(delivery, event) for event in events_of(services, came)]
        if len(found) >= MOST_TRIED:
            return found[:MOST_TRIED], True
    return found, True


VIEWS = (
    ("GET /studio", studio),
    ("POST /studio/try", try_route),
    ("POST /studio/run", run_route),
)
