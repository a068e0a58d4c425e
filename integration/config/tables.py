"""Build the models from the file's tables.

A key with a fault gets a placeholder value, so that the rest of its table is validated too.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from pydantic import ValidationError

from integration.config.alert_models import CHANNEL_KINDS, RULE_KINDS, AlertSettings, Channel, Rule
from integration.config.descriptions import nearest
from integration.config.models import (
    ApiKey,
    Config,
    DashboardSettings,
    Oidc,
    Route,
    StoreSettings,
    User,
)
from integration.config.source_models import (
    SOURCE_KINDS,
    HubspotSource,
    JsonSource,
    Source,
    presets,
    with_preset,
)
from integration.domain.account import Account
from integration.domain.field_types import Table
from integration.domain.schedule.calling_hours import CallingHoursError, read_hours

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic_core import ErrorDetails

    from integration.config.descriptions import Place
    from integration.config.reading import ConfigReading

_SIMILAR_PRESET: Final = 0.8
_TABLES: Final = (
    "include",
    "accounts",
    "vars",
    "store",
    "alerts",
    "api_keys",
    "users",
    "dashboard",
    "oidc",
    "sources",
    "routes",
)
_SINGLE: Final = frozenset({"vars", "store", "alerts", "dashboard", "oidc"})
_Model = TypeVar("_Model", bound=Table)


def config_of(reading: ConfigReading) -> Config:
    """Return the configuration, and report every fault. With a fault it contains placeholder values."""
    for key in reading.tree.keys() - set(_TABLES):
        reading.report((key,), nearest(key, _TABLES, "the tables"), "an unknown key")
    return Config(
        accounts=_accounts(reading),
        vars=table_of(reading, "vars"),
        store=_built(reading, StoreSettings, ("store",), table_of(reading, "store")) or StoreSettings(),
        alerts=_alerts(reading),
        api_keys=_api_keys(reading),
        users=_users(reading),
        dashboard=_built(reading, DashboardSettings, ("dashboard",), table_of(reading, "dashboard"))
        or DashboardSettings(),
        oidc=_oidc(reading),
        sources=_sources(reading),
        routes=_routes(reading),
    )


def table_of(reading: ConfigReading, key: str) -> dict[str, Any]:
    """Return a top-level table of the file, or an empty one if it is missing. Report any other value."""
    value = reading.tree.get(key, {})
    if isinstance(value, dict):
        return value
    reading.report((key,), f"a table, [{key}]" if key in _SINGLE else f"tables, [{key}.NAME]")
    return {}


def _tables(reading: ConfigReading, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in table_of(reading, key).items():
        if isinstance(value, dict):
            yield name, value
        else:
            reading.report((key, name), f"a table, [{key}.{name}]")


def _accounts(reading: ConfigReading) -> dict[str, Account]:
    built = {
        name: _built(reading, Account, ("accounts", name), _with_hours(reading, name, table), name=name)
        for name, table in _tables(reading, "accounts")
    }
    return {name: account for name, account in built.items() if account}


def _with_hours(reading: ConfigReading, name: str, table: dict[str, Any]) -> dict[str, Any]:
    if table.get("calling_hours") is None:
        return table
    try:
        hours = read_hours(table["calling_hours"])
    except CallingHoursError as error:
        reading.report_all(("accounts", name, "calling_hours"), error.issues)
        hours = None
    return {**table, "calling_hours": hours}


def _api_keys(reading: ConfigReading) -> dict[str, ApiKey]:
    tables: dict[str, ApiKey] = {}
    for name, value in table_of(reading, "api_keys").items():
        place = ("api_keys", name)
        if not isinstance(value, str | dict):
            reading.report(place, "the key as a text, or a table with key, accounts and rate_per_minute")
            continue
        key = _built(reading, ApiKey, place, value if isinstance(value, dict) else {"key": value}, name=name)
        if key:
            tables[name] = key
    return tables


def _users(reading: ConfigReading) -> dict[str, User]:
    built = {
        name: _built(reading, User, ("users", name), table, name=name)
        for name, table in _tables(reading, "users")
    }
    return {name: user for name, user in built.items() if user}


def _oidc(reading: ConfigReading) -> Oidc | None:
    table = table_of(reading, "oidc")
    return _built(reading, Oidc, ("oidc",), table) if "oidc" in reading.tree else None


def _alerts(reading: ConfigReading) -> AlertSettings:
    table = table_of(reading, "alerts")
    channels, rules = table.get("channels", {}), table.get("rules", [])
    if not isinstance(channels, dict):
        reading.report(("alerts", "channels"), "tables, [alerts.channels.NAME]")
        channels = {}
    if not isinstance(rules, list):
        reading.report(("alerts", "rules"), "a list of tables, each headed [[alerts.rules]]")
        rules = []
    built = {name: _channel(reading, name, channel) for name, channel in channels.items()}
    kept = [_rule(reading, index, rule) for index, rule in enumerate(rules)]
    plain = {key: value for key, value in table.items() if key not in {"channels", "rules"}}
    settings = _built(reading, AlertSettings, ("alerts",), plain) or AlertSettings()
    return settings.model_copy(
        update={
            "channels": {name: channel for name, channel in built.items() if channel},
            "rules": tuple(rule for rule in kept if rule),
        }
    )


def _channel(reading: ConfigReading, name: str, table: object) -> Channel | None:
    place = ("alerts", "channels", name)
    if not isinstance(table, dict):
        reading.report(place, f"a table, [alerts.channels.{name}]")
        return None
    return _built_by_kind(reading, CHANNEL_KINDS, place, table, name=name)


def _rule(reading: ConfigReading, index: int, table: object) -> Rule | None:
    place = ("alerts", "rules", index)
    if not isinstance(table, dict):
        reading.report(place, "a table, headed [[alerts.rules]]")
        return None
    return _built_by_kind(reading, RULE_KINDS, place, table)


def _sources(reading: ConfigReading) -> dict[str, Source]:
    built = {
        name: _source(reading, ("sources", name), table, name) for name, table in _tables(reading, "sources")
    }
    return {name: source for name, source in built.items() if source}


def _source(reading: ConfigReading, place: Place, table: dict[str, Any], name: str) -> Source | None:
    kind, wanted = table.get("kind"), table.get("preset")
    if kind == "json" and wanted is not None:
        preset = presets().get(wanted) if isinstance(wanted, str) else None
        if preset is None:
            # The required keys depend on the preset, so the table cannot be validated without it.
            reading.report((*place, "preset"), nearest(wanted, presets(), "the presets"))
            return None
        table = with_preset(table, preset)
    elif isinstance(kind, str) and kind not in SOURCE_KINDS:
        for close in get_close_matches(kind, presets(), n=1, cutoff=_SIMILAR_PRESET):
            reading.report((*place, "kind"), f'"json", and add preset = "{close}"')
            return None
    return _built_by_kind(reading, SOURCE_KINDS, place, table, name=name)


def _routes(reading: ConfigReading) -> tuple[Route, ...]:
    """Return the routes. A faulty route has placeholder values, so that later routes keep their index."""
    tables = reading.tree.get("routes", [])
    if not isinstance(tables, list):
        reading.report(("routes",), "a list of tables, each headed [[routes]]")
        return ()
    routes = [_route(reading, ("routes", index), table) for index, table in enumerate(tables)]
    return tuple(route for route in routes if route)


def _route(reading: ConfigReading, place: Place, table: Any) -> Route | None:
    if not isinstance(table, dict):
        reading.report(place, "a table, headed [[routes]]")
    return _built(reading, Route, place, table if isinstance(table, dict) else {})


def _built_by_kind(
    reading: ConfigReading,
    kinds: Mapping[str, type[_Model]],
    place: Place,
    table: dict[str, Any],
    **header_values: str,
) -> _Model | None:
    """Return the model of one table. Its key `kind` selects the type. Return None for an unknown kind."""
    kind = table.get("kind")
    model = kinds.get(kind) if isinstance(kind, str) else None
    if model is None:
        reading.report((*place, "kind"), nearest(kind, kinds, "the kinds"))
        return None
    return _built(reading, model, place, table, **header_values)


def _built(
    reading: ConfigReading, model: type[_Model], place: Place, table: dict[str, Any], **header_values: str
) -> _Model | None:
    """Return the model of one table, or None if placeholder values for its faulty keys are not enough."""
    if header_values.keys() & table.keys():
        reading.report(
            (*place, "name"), "Remove the key: the name is in the table's header", "an unknown key"
        )
    values = {**table, **header_values}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    _report_errors(reading, model, place, errors)
    placeholders = _placeholders(next(reading.numbers), model)
    for key in {error["loc"][0] for error in errors if error["loc"]}:
        values.pop(str(key), None)
        if key in placeholders and key in model.model_fields:
            values[str(key)] = placeholders[str(key)]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        _report_errors(reading, model, place, error.errors(include_url=False, include_input=False))
        return None


def _placeholders(number: int, model: type[Table]) -> dict[str, Any]:
    """Return valid values for keys with a fault. Secrets contain `number`, so that they are unique."""
    secret = f"stand-in-for-a-secret-{number}"
    lookups = {
        HubspotSource: {"token": secret, "properties": ["0"]},
        JsonSource: {"kind": "bitrix24", "url": "https://localhost", "id": "0"},
    }
    texts = ("account", "campaign_id", "customer_id", "name", "recall_date", "recall_telephone", "source")
    return {
        **dict.fromkeys(texts, "0"),
        **dict.fromkeys(("token", "key", "url_key", "secrets"), secret),
        "lookup": lookups.get(model),
        **dict.fromkeys(("issuer", "base_url"), "http://localhost"),
        **dict.fromkeys(("client_id", "client_secret"), secret),
        "roles": {"0": "viewer"},
        "timezone": "UTC",
        "server": "0000",
        "organization_id": "0" * 15,
        "verify": "bearer",
        "host": "localhost",
        "sender": "a@localhost",
        "to": "a@localhost",
        "url": "http://localhost",
    }


def _report_errors(
    reading: ConfigReading, model: type[Table], place: Place, errors: list[ErrorDetails]
) -> None:
    for error in errors:
        context = error.get("ctx", {})
        owner, loc = _owner(model, error["loc"] or (context.get("key", ""),))
        if loc == ("name",) and place[0] not in {"routes", "oidc"}:
            reading.report_name(place)
        elif error["type"] == "extra_forbidden":
            keys = owner.model_fields.keys() - ({"name"} if owner not in {Route, Oidc} else set())
            reading.report((*place, *loc), nearest(loc[-1], keys, "the keys"), "an unknown key")
        elif error["type"] == "refused":
            reading.report((*place, *loc), context["allowed"], context["found"])
        else:
            reading.report((*place, *loc), owner.model_fields[_key(loc)].description or "another value")


def _key(loc: Place) -> str:
    """Return the last key of a path, without the list indexes after it."""
    return next(part for part in reversed(loc) if isinstance(part, str))


def _owner(model: type[Table], loc: Place) -> tuple[type[Table], Place]:
    """Return the model that has the last key of pydantic's path `loc`, and the path in the file.

    If the key `kind` selects the model of an inner table, pydantic's path has the kind after the table's
    key.
    """
    field = model.model_fields.get(str(loc[0])) if len(loc) > 1 else None
    types = [] if field is None else [field.annotation, *get_args(field.annotation)]
    tables = [each for each in types if isinstance(each, type) and issubclass(each, Table)]
    if field is not None and field.discriminator:
        kinds = {get_args(each.model_fields["kind"].annotation)[0]: each for each in tables}
        return kinds[loc[1]], (loc[0], *loc[2:])
    return next(iter(tables), model), loc
