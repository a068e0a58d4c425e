"""Match an event to a route, and render the fields of its recall. Pure.

All templates are compiled once, in CompiledRoutes. A field that is blank or cannot be rendered has a
fault, an UnmappableError.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from integration.config.source_models import lookup_of
from integration.domain import phone_numbers
from integration.domain.errors import ConfigError, Fault, UnmappableError
from integration.domain.phone_numbers.reasons import SCIENTIFIC
from integration.domain.schedule import read_date
from integration.mapping import expressions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from integration.config.models import Config, Route
    from integration.domain.account import Account
    from integration.mapping.event_context import EventContext

LONGEST_FIELD = 256
# Unicode's Default_Ignorable_Code_Point, and a blank that strip() keeps. Copied texts contain them, and
# an id with one of them would be another customer.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_WITH_DECIMAL = re.compile(r"[0-9]+\.0")
# A spreadsheet may export 3001112233 as 3.00111E+09. In JSON this is the float 3001110000.0: a multiple of
# 10,000 has probably lost its last digits.
_ROUNDED_TO = 10_000
_ROUNDED = re.compile(r"[0-9](?:[.,][0-9]+[eE]\+?|[eE]\+)[0-9]+")  # 8.01E+07
_IDENTITY_FIELDS = ("campaign_id", "customer_id")
_RECALL_FIELDS = (*_IDENTITY_FIELDS, "recall_telephone", "recall_date")
FIELDS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"recall": _RECALL_FIELDS, "cancel": _IDENTITY_FIELDS}
)
_NOT_ALLOWED = "an account that this route may not use"
_LISTED_ACCOUNTS = 20
_EVENT_NAMES = frozenset({"event", "vars", "delivery", "now"})
# The names that each template of a source may use. `events` and `dedup_key` are evaluated before planning.
_SOURCE_NAMES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "events": frozenset({"body"}),
        "token": frozenset({"body"}),
        "dedup_key": frozenset({"event", "delivery"}),
        "event_time": _EVENT_NAMES,
    }
)


@dataclass(frozen=True, slots=True)
class CompiledRoute:
    """A route with its accounts and its compiled templates.

    `account` is the template for the account, or None if the route names one account. `accounts` is never
    empty.
    """

    route: Route
    accounts: Mapping[str, Account]
    account: expressions.Text | None
    when: expressions.Expression | None
    texts: Mapping[str, expressions.Text]

    @property
    def first_account(self) -> Account:
        """The only or first account of the route. `when` is evaluated in this account's time zone."""
        return next(iter(self.accounts.values()))


@dataclass(frozen=True, slots=True)
class Considered:
    """A route that was evaluated for an event: whether it matched, and the reason."""

    route: str
    matched: bool
    why: str


@dataclass(frozen=True, slots=True)
class Match:
    """The route that matches an event, or None. `fault` is set if its `when` cannot be evaluated."""

    route: CompiledRoute | None
    considered: tuple[Considered, ...]
    fault: UnmappableError | None = None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a recall: its template, the rendered text, and the value to send or the fault."""

    name: str
    template: str
    rendered: str | None = field(default=None, repr=False)
    value: str | datetime | None = field(default=None, repr=False)
    fault: UnmappableError | None = None


@dataclass(frozen=True, slots=True)
class Filled:
    """The fields of a recall and its account.

    If the route's `account` is a template, the first field is the account. If that field has a fault,
    there are no other fields, and `account` is the route's first account.
    """

    account: Account
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class CompiledRoutes:
    """The compiled routes and `event_time` templates of a configuration, by the name of their source."""

    config: Config
    routes: Mapping[str, tuple[CompiledRoute, ...]]
    event_times: Mapping[str, expressions.Text]

    @classmethod
    def of(cls, config: Config) -> CompiledRoutes:
        """Return the compiled templates. Raise ConfigError with every fault of a template or route."""
        invalid = faults(config, "ringback.toml")
        if invalid:
            raise ConfigError(invalid)
        routes = {
            name: tuple(_compiled(config, route) for route in routes)
            for name, routes in config.routes_by_source.items()
        }
        times = {
            name: expressions.text(source.event_time, _SOURCE_NAMES["event_time"])
            for name, source in config.sources.items()
            if source.event_time is not None
        }
        return cls(config, MappingProxyType(routes), MappingProxyType(times))


def faults(config: Config, file: str) -> tuple[Fault, ...]:
    """Return the faults of the templates of routes and sources, and of routes without a required field.

    `file` is the file name in the faults. Keys number the routes from 1, as in
    `routes[2] ("its name").when`.
    """
    return (*_source_faults(config, file), *_route_faults(config, file))


def match(compiled_routes: CompiledRoutes, source: str, context: EventContext) -> Match:
    """Return the first route of `source` that matches the event, with the routes evaluated before it.

    A `when` that cannot be evaluated ends the search, because a later route must not take an event of
    this route. Raise LookupNeeded if a `when` reads a record that is not looked up yet.
    """
    considered: list[Considered] = []
    for compiled in compiled_routes.routes.get(source, ()):
        try:
            taken = compiled.when is None or bool(compiled.when.evaluated(context.of(compiled.first_account)))
        except UnmappableError as error:
            fault = UnmappableError("when", error.found, error.allowed)
            considered.append(Considered(compiled.route.name, matched=False, why=str(fault)))
            return Match(compiled, tuple(considered), fault)
        why = _why(compiled, taken=taken)
        considered.append(Considered(compiled.route.name, matched=taken, why=why))
        if taken:
            return Match(compiled, tuple(considered))
    return Match(None, tuple(considered))


def fill(compiled: CompiledRoute, context: EventContext) -> Filled:
    """Return the account and the fields that the route's action needs. An invalid field has a fault.

    Raise LookupNeeded if a field reads a record that is not looked up yet.
    """
    if compiled.account is None:
        return Filled(compiled.first_account, _fields(compiled, compiled.first_account, context))
    chosen = _filled_account(compiled, compiled.account, context)
    if chosen.fault is not None:
        return Filled(compiled.first_account, (chosen,))
    account = compiled.accounts[str(chosen.value)]
    return Filled(account, (chosen, *_fields(compiled, account, context)))


def read_field(name: str, value: object, account: Account, now: datetime) -> str | datetime:
    """Return the value to send for a field. A `recall_date` is aware, in the account's zone.

    `now` is aware. Raise UnmappableError with the field's name if the value is invalid.
    """
    if name == "recall_date":
        return read_date(account, value, now)
    if name == "recall_telephone" and isinstance(value, float) and value and value % _ROUNDED_TO == 0:
        raise UnmappableError(name, SCIENTIFIC.found, SCIENTIFIC.allowed)
    written = _clean(name, value)
    if name == "recall_telephone":
        return phone_numbers.dialled(written, account)
    return written


def _fields(compiled: CompiledRoute, account: Account, context: EventContext) -> tuple[Field, ...]:
    return tuple(_filled(name, text, account, context) for name, text in compiled.texts.items())


def _filled_account(compiled: CompiledRoute, text: expressions.Text, context: EventContext) -> Field:
    """Return the field `account`: its value is the name of an account of the route, or it has a fault."""
    rendered = None
    try:
        rendered = expressions.as_text(text.value(context.of(compiled.first_account)))
        name = _clean("account", rendered)
    except UnmappableError as error:
        fault = UnmappableError("account", error.found, error.allowed)
        return Field("account", text.source, rendered, fault=fault)
    if name in compiled.accounts:
        return Field("account", text.source, rendered, name)
    fault = UnmappableError("account", _NOT_ALLOWED, f"one of its accounts ({_listed(compiled)})")
    return Field("account", text.source, rendered, fault=fault)


def _listed(compiled: CompiledRoute) -> str:
    names = [*compiled.accounts]
    return ", ".join(names[:_LISTED_ACCOUNTS]) + (", …" if len(names) > _LISTED_ACCOUNTS else "")


def _filled(name: str, text: expressions.Text, account: Account, context: EventContext) -> Field:
    rendered = None
    try:
        value = text.value(context.of(account))
        rendered = expressions.as_text(value)
        # A date keeps its type, so that the format and the zone that the template applied are not lost.
        return Field(name, text.source, rendered, read_field(name, value, account, context.now))
    except UnmappableError as error:
        fault = UnmappableError(name, error.found, error.allowed)
        return Field(name, text.source, rendered, fault=fault)


def _clean(name: str, value: object) -> str:
    try:
        written = _INVISIBLE.sub("", expressions.as_text(value)).strip()
    except UnmappableError as error:
        raise UnmappableError(name, error.found, error.allowed) from error
    if not written:
        raise UnmappableError(name, "a blank text", "a value")
    if len(written) > LONGEST_FIELD:
        raise UnmappableError(name, f"{len(written)} characters", f"at most {LONGEST_FIELD}")
    if not written.isprintable() and any(
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in written
    ):
        raise UnmappableError(name, "a control character or line break", "one line of text")
    return _identifier(name, written) if name in _IDENTITY_FIELDS else written


def _identifier(name: str, written: str) -> str:
    """Return an id without the `.0` that spreadsheets add.

    Raise UnmappableError for a number in scientific notation, which has lost digits.
    """
    if _ROUNDED.fullmatch(written):
        raise UnmappableError(name, SCIENTIFIC.found, SCIENTIFIC.allowed)
    return written.removesuffix(".0") if _WITH_DECIMAL.fullmatch(written) else written


def _why(compiled: CompiledRoute, *, taken: bool) -> str:
    if compiled.when is None:
        return "it has no `when`"
    return "its `when` is true" if taken else "its `when` is false"


def _names(config: Config, source: str) -> frozenset[str]:
    settings = config.sources.get(source)
    if settings is None:
        return _EVENT_NAMES | expressions.LOOKUP_NAMES
    lookup = lookup_of(settings)
    return _EVENT_NAMES if lookup is None else _EVENT_NAMES | lookup.names


def _compiled(config: Config, route: Route) -> CompiledRoute:
    names = _names(config, route.source)
    texts = {
        name: expressions.text(source, names)
        for name in FIELDS[route.action]
        if (source := getattr(route, name)) is not None
    }
    when = None if route.when is None else expressions.expression(route.when, names)
    account = expressions.text(route.account, names) if route.has_account_template else None
    accounts = {name: config.accounts[name] for name in route.account_names}
    return CompiledRoute(route, MappingProxyType(accounts), account, when, MappingProxyType(texts))


def _source_faults(config: Config, file: str) -> Iterator[Fault]:
    for name, source in config.sources.items():
        for key, allowed in _SOURCE_NAMES.items():
            compile_ = expressions.expression if key == "events" else expressions.text
            template = getattr(source, key, None)
            for wrong in _compile_faults(compile_, template, allowed, config.vars):
                yield Fault(file, f"sources.{name}.{key}", *wrong)


def _route_faults(config: Config, file: str) -> Iterator[Fault]:
    for number, route in enumerate(config.routes, start=1):
        place = f'routes[{number}] ("{route.name}")'
        allowed = _names(config, route.source)
        for wrong in _compile_faults(expressions.expression, route.when, allowed, config.vars):
            yield Fault(file, f"{place}.when", *wrong)
        account = route.account if route.has_account_template else None
        for wrong in _compile_faults(expressions.text, account, allowed, config.vars):
            yield Fault(file, f"{place}.account", *wrong)
        for name in FIELDS[route.action]:
            template = getattr(route, name)
            if template is None:
                yield Fault(
                    file, f"{place}.{name}", "missing", 'a template, because action = "recall" needs one'
                )
            for wrong in _compile_faults(expressions.text, template, allowed, config.vars):
                yield Fault(file, f"{place}.{name}", *wrong)


def _compile_faults(
    compile_: Callable[[str, frozenset[str]], expressions.Text | expressions.Expression],
    source: str | None,
    names: frozenset[str],
    variables: Mapping[str, Any],
) -> Iterator[tuple[str, str]]:
    """Yield the faults of one template as pairs of `found` and `allowed`."""
    if source is None:
        return
    try:
        compiled = compile_(source, names)
    except expressions.TemplateFaultError as error:
        yield error.found, error.allowed
        return
    for name in sorted(compiled.variables - variables.keys()):
        known = ", ".join(sorted(variables)) or "none is configured"
        yield (
            f"vars.{name}, which is not in [vars]",
            f"one of [vars] ({known}), or the filter default",
        )
