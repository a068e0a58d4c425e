"""Try a draft of a route: its result for an event, and the changes for past events. Pure.

Nothing is sent or stored, and the configuration does not change. The limits of templates apply.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import ValidationError

from integration.config.descriptions import nearest
from integration.config.models import Route
from integration.domain.errors import ConfigError, invalid_value
from integration.mapping.expressions import NOT_LOOKED_UP
from integration.mapping.planner import (
    CancelWanted,
    Expired,
    Ignored,
    Parked,
    Pending,
    RecallWanted,
    plan_event,
)
from integration.mapping.routes import CompiledRoutes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from integration.config.models import Config
    from integration.domain.delivery import Delivery, Event
    from integration.mapping.planner import EventPlan

NEW: Final = -1  # the place of a new route
FIELDS: Final = (
    "name", "account", "accounts", "when", "action",
    "campaign_id", "customer_id", "recall_telephone", "recall_date",
)  # fmt: skip
_MAY_LACK: Final = frozenset({"accounts", "when", "recall_telephone", "recall_date"})
_NOT_OF_A_CANCEL: Final = frozenset({"recall_telephone", "recall_date"})

Verdict = Literal["same", "changed", "newly mapped", "newly parked", "newly ignored", "not known"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft of a route, with the field values that a user entered.

    `place` is its index in the configuration's routes, or NEW for a route that is added at the end.
    """

    source: str
    place: int
    values: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FieldFault:
    """The fault of one field of a draft: the value found, and the values allowed."""

    name: str
    found: str
    allowed: str


class DraftError(Exception):
    """A draft is invalid. `faults` has one or more of its faults."""

    def __init__(self, faults: tuple[FieldFault, ...]) -> None:
        super().__init__("; ".join(f"{fault.name} is {fault.found}" for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results of the current routes and of the draft for one event, as lines of text."""

    verdict: Verdict
    before: tuple[str, ...]
    after: tuple[str, ...]

    @property
    def diff(self) -> tuple[tuple[str, str], ...]:
        """Pairs of a mark and a line of the results: " " for equal, "-" for removed, "+" for added."""
        gone = tuple(("-", line) for line in self.before if line not in self.after)
        same = tuple((" ", line) for line in self.before if line in self.after)
        new = tuple(("+", line) for line in self.after if line not in self.before)
        return (*same, *gone, *new)


def route_of(draft: Draft) -> Route:
    """Return the draft as a route. Raise DraftError if a field is invalid."""
    written = {name: draft.values.get(name, "").strip() for name in FIELDS}
    filled: dict[str, Any] = {name: text for name, text in written.items() if text or name not in _MAY_LACK}
    if written["action"] == "cancel":
        filled = {name: text for name, text in filled.items() if name not in _NOT_OF_A_CANCEL}
    if "accounts" in filled:
        filled["accounts"] = _names(filled["accounts"])
    try:
        return Route.model_validate({**filled, "source": draft.source})
    except ValidationError as error:
        faults = tuple(_fault(details["loc"], filled) for details in error.errors(include_input=False))
        raise DraftError(faults) from error


def _fault(place: tuple[int | str, ...], filled: Mapping[str, Any]) -> FieldFault:
    name = str(place[0])
    allowed = Route.model_fields[name].description or ""
    return FieldFault(name, "an invalid value" if filled.get(name) else "missing", allowed)


def routes_of(config: Config, draft: Draft) -> CompiledRoutes:
    """Return the compiled routes of the draft's source, including the draft.

    Raise DraftError if the draft is invalid.
    """
    route = route_of(draft)
    _check_accounts(config, route)
    routes = [
        route if place == draft.place else other
        for place, other in enumerate(config.routes)
        if other.source == draft.source
    ]
    if draft.place == NEW:
        routes.append(route)
    changed = config.model_copy(update={"routes": tuple(routes)})
    # `model_copy` also copies cached properties.
    changed.__dict__.pop("routes_by_source", None)
    try:
        return CompiledRoutes.of(changed)
    except ConfigError as error:
        raise DraftError(
            tuple(
                FieldFault(fault.key.rpartition(".")[2], fault.found, fault.allowed)
                for fault in error.faults
                if f'"{route.name}"' in fault.key
            )
            or tuple(FieldFault("name", fault.found, fault.allowed) for fault in error.faults)
        ) from error


def _names(text: str) -> list[str]:
    """Return the names in a text, which are separated by commas or white space."""
    return text.replace(",", " ").split()


def _check_accounts(config: Config, route: Route) -> None:
    """Raise DraftError for accounts of the route that `ringback check` would reject."""
    if route.has_account_template and route.accounts is None:
        fault = FieldFault("accounts", "missing", "the accounts that the template in account may return")
    elif route.accounts is not None and not route.has_account_template:
        fault = FieldFault("accounts", "a list", "Remove the list: account is the name of one account")
    elif set(route.account_names) <= config.accounts.keys():
        return
    else:
        name = "account" if route.accounts is None else "accounts"
        unknown = next(each for each in route.account_names if each not in config.accounts)
        allowed = nearest(unknown, config.accounts, "the accounts")
        fault = FieldFault(name, "an account that is not configured", allowed)
    raise DraftError((fault,))


def compare(
    present: CompiledRoutes, tried: CompiledRoutes, delivery: Delivery, event: Event, now: datetime
) -> Comparison:
    """Return the results of the current routes and of the draft for an event. `now` is aware."""
    before = plan_event(present, delivery, event, now, NOT_LOOKED_UP)
    after = plan_event(tried, delivery, event, now, NOT_LOOKED_UP)
    lines = tuple(_lines(before)), tuple(_lines(after))
    return Comparison(_verdict(before, after, lines), *lines)


def _verdict(before: EventPlan, after: EventPlan, lines: tuple[tuple[str, ...], tuple[str, ...]]) -> Verdict:
    if isinstance(before, Pending) or isinstance(after, Pending):
        return "not known"
    if lines[0] == lines[1]:
        return "same"
    if isinstance(after, Parked) and not isinstance(before, Parked):
        return "newly parked"
    if isinstance(after, Ignored):
        return "newly ignored"
    return (
        "newly mapped"
        if isinstance(before, Parked | Ignored) and not isinstance(after, Parked)
        else "changed"
    )


def _lines(plan: EventPlan) -> Iterator[str]:
    match plan:
        case RecallWanted() | Expired():
            request = plan.request
            yield "recall" if isinstance(plan, RecallWanted) else "expired"
            yield f"account = {request.account}"
            yield f"campaign_id = {request.campaign_id}"
            yield f"customer_id = {request.customer_id}"
            yield f"recall_telephone = {request.recall_telephone}"
            yield f"requested = {request.requested_date.isoformat()}"
            yield f"recall_date = {request.recall_date.isoformat()}"
        case CancelWanted():
            yield "cancel"
            yield f"account = {plan.request.account}"
            yield f"campaign_id = {plan.request.campaign_id}"
            yield f"customer_id = {plan.request.customer_id}"
        case Parked():
            yield "parked"
            yield invalid_value(plan.field, plan.found, plan.allowed)
        case Pending():
            yield "waits for a lookup"
        case Ignored():
            yield "ignored"


def counted(comparisons: Iterable[Comparison]) -> Counter[str]:
    """Return the number of comparisons for each verdict."""
    return Counter(comparison.verdict for comparison in comparisons)


def as_toml(draft: Draft) -> str:
    """Return the draft as a `[[routes]]` table in TOML, without empty fields and unused keys."""
    lines = ["[[routes]]", _line("name", draft.values.get("name", "")), _line("source", draft.source)]
    for name in FIELDS[1:]:
        text = draft.values.get(name, "").strip()
        if not text or (name == "action" and text == "recall"):
            continue
        if draft.values.get("action") == "cancel" and name in _NOT_OF_A_CANCEL:
            continue
        lines.append(_line(name, _names(text) if name == "accounts" else text))
    return "\n".join(lines) + "\n"


def _line(name: str, value: str | list[str]) -> str:
    # TOML's strings and lists are those of JSON, except that TOML does not allow an unescaped DEL.
    return f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f")
