"""The functions that run in the fork server. Pure, except that `compare_draft` reads the clock.

Arguments and results are JSON values, except the compiled routes.
"""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from integration.domain.errors import UnreadableError
from integration.domain.json_codec import read_json
from integration.domain.recall_filters import SearchTerm
from integration.mapping.expressions import NOT_LOOKED_UP
from integration.mapping.planner import plan_event
from integration.mapping.route_draft import Draft, DraftError, compare, routes_of
from integration.mapping.routes import CompiledRoutes
from integration.webhooks.isolated_work.plain_values import (
    config_of,
    delivery_of,
    event_of,
    plain_event,
    plain_plan,
)
from integration.webhooks.preview import preview_event
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from integration.domain.delivery import Event


def prepare(plain: dict[str, Any]) -> CompiledRoutes:
    """Return the compiled routes of a configuration from `plain_config`."""
    return CompiledRoutes.of(config_of(plain))


def try_draft(present: CompiledRoutes, value: dict[str, Any]) -> dict[str, Any]:
    """Return the faults of a draft, and its results for a sample or a stored delivery.

    `previews` has the results for the first `most` events, none if the draft has faults. `more` is the
    number of further events. `unreadable` is the reason if the sample cannot be parsed.
    """
    found: dict[str, Any] = {"faults": [], "previews": [], "more": 0, "unreadable": ""}
    try:
        tried = routes_of(present.config, Draft(**value["draft"]))
    except DraftError as error:
        found["faults"] = [asdict(fault) for fault in error.faults]
        tried = None
    delivery = value["delivery"]
    if delivery is None:
        return found
    delivery = delivery_of(delivery, (value["sample"] or "").encode("utf-8", "replace"))
    try:
        events = _events(present, delivery, value["events"])
    except UnreadableError as error:
        return {**found, "unreadable": str(error)}
    now, most = datetime.fromisoformat(value["now"]), value["most"]
    looked_up = NOT_LOOKED_UP if value["looked_up"] is None else value["looked_up"]
    if tried is not None:
        found["previews"] = [preview_event(tried, delivery, event, now, looked_up) for event in events[:most]]
    return {**found, "more": max(0, len(events) - most)}


def _events(present: CompiledRoutes, delivery: Any, stored: list[dict[str, Any]] | None) -> tuple[Any, ...]:
    if stored is not None:
        return tuple(map(event_of, stored))
    source = present.config.sources[delivery.source]
    # An event of a sample is converted to JSON values, as a stored event was.
    return tuple(event_of(plain_event(event)) for event in SOURCES[source.kind].read(delivery, source))


def compare_draft(present: CompiledRoutes, value: dict[str, Any]) -> dict[str, Any]:
    """Return the faults of a draft, else the comparison with the current routes for each event.

    After `seconds`, return the comparisons so far, with `in_time` set to False.
    """
    try:
        tried = routes_of(present.config, Draft(**value["draft"]))
    except DraftError as error:
        return {"faults": [asdict(fault) for fault in error.faults], "compared": [], "in_time": True}
    now, until = datetime.fromisoformat(value["now"]), time.monotonic() + value["seconds"]
    compared: list[dict[str, Any]] = []
    for delivery, event in value["events"]:
        if time.monotonic() > until:
            return {"faults": [], "compared": compared, "in_time": False}
        compared.append(asdict(compare(present, tried, delivery_of(delivery), event_of(event), now)))
    return {"faults": [], "compared": compared, "in_time": True}


def plan_events(present: CompiledRoutes, value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the plan of each event with the current routes."""
    now = datetime.fromisoformat(value["now"])
    return [
        plain_plan(plan_event(present, delivery_of(delivery), event_of(event), now))
        for delivery, event in value["events"]
    ]


def search_parked(present: CompiledRoutes, value: dict[str, Any]) -> list[bool]:
    """Return, for each parked event, True if it or the id of its delivery matches the term."""
    term = _term(present, value)
    return [
        delivery == term.text.lower() or _is_about(term, read_json(event))
        for delivery, event in value["records"]
    ]


def search_deliveries(present: CompiledRoutes, value: dict[str, Any]) -> list[bool]:
    """Return, for each delivery, True if one of its events matches the term."""
    term = _term(present, value)
    return [
        any(_is_about(term, plain_event(event)) for event in _events_of(present, delivery, body))
        for delivery, body in value["records"]
    ]


def _term(present: CompiledRoutes, value: dict[str, Any]) -> SearchTerm:
    return SearchTerm(value["text"], tuple(value["telephones"]), tuple(present.config.accounts.values()))


def _is_about(term: SearchTerm, event: Mapping[str, Any]) -> bool:
    return any(term.is_in(event.get(name)) for name in ("data", "dedup_key", "record_id"))


def _events_of(present: CompiledRoutes, plain: dict[str, Any], body: str) -> tuple[Event, ...]:
    """Return the events of a stored delivery.

    Return an empty tuple if its source no longer exists or can no longer read it.
    """
    source = present.config.sources.get(plain["source"])
    if source is None:
        return ()
    try:
        return SOURCES[source.kind].read(delivery_of(plain, body.encode("latin-1")), source)
    except UnreadableError:
        return ()


WORK: Final[Mapping[str, Callable[[CompiledRoutes, Any], Any]]] = {
    "try": try_draft,
    "compare": compare_draft,
    "plan": plan_events,
    "search_parked": search_parked,
    "search_deliveries": search_deliveries,
}
