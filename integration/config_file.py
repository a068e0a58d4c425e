"""Reads `ringback.toml`: texts from `env:` and `file:`, then models, then what the tables say of each other.

Promises every fault at once, each with its key, what was found and what is allowed; and a `Config` only
when there is none. Never quotes a secret, nor anything that could be one: not in a fault, not in a log.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import itertools
import json
import re
import stat
import threading
import tomllib
from dataclasses import dataclass, field
from datetime import date, time
from difflib import get_close_matches
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo

import structlog
from phonenumbers import SUPPORTED_REGIONS
from pydantic import SecretStr, ValidationError

from integration import mapping
from integration.config import (
    DIAL_FORMAT_WORDS,
    HEADER_TEXT_WORDS,
    NAME_WORDS,
    SOURCE_KINDS,
    URL_KEY_WORDS,
    Account,
    ApiKey,
    Config,
    HubspotSource,
    JsonSource,
    Lookup,
    Misfit,
    Route,
    Source,
    StoreSettings,
    Table,
)
from integration.errors import ConfigError, Fault
from integration.hours import HoursError, read_hours
from integration.telephone import dial_format_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails

_log = structlog.get_logger(__name__)

Place = tuple[str | int, ...]
Stamp = tuple[int, int, int]
_Model = TypeVar("_Model", bound=Table)

_TABLES: Final = ("accounts", "vars", "store", "api_keys", "sources", "routes")
_SECRET_KEYS: Final = frozenset({"token", "key", "url_key", "secrets"})
_CONFIG_BYTES: Final = 16 * 1024 * 1024
_SECRET_BYTES: Final = 64 * 1024
_MANY_NAMES: Final = 1000
_LISTED_NAMES: Final = 20
_PLAIN_CHARACTERS: Final = 60
_PLAIN_DIGITS: Final = 8
_PLAIN_NUMBER: Final = 1_000_000
_API_KEY_AS_TEXT: Final = 2
_LAST: Final = 1 << 62
_OWN_NAME: Final = "the table's own name"
_SHORT_KEY: Final = 16
# A call may go on for up to 60 s at wolkvox, says its API documentation.
_WOLKVOX_CALL_SECONDS: Final = 60


def load(path: Path, environ: Mapping[str, str]) -> Config:
    """Read the configuration at `path`, with `env:NAME` taken from `environ`.

    A relative `file:` path counts from the folder that `path` lies in. Raises ConfigError with every
    fault of the file, or with the one that kept it from being read at all.
    """
    return _read(path, environ).outcome()


def warnings(config: Config) -> tuple[str, ...]:
    """Say what is allowed but is likely not what was meant, one plain sentence each."""
    return (
        *_idle_tables(config),
        *_lane_warnings(config),
        *_weak_checks(config),
        *_keys_without_effect(config),
        *_route_warnings(config),
    )


# --- texts that lie elsewhere ------------------------------------------------------------------


class _UnreadableFileError(Exception):
    """A file cannot be read as text; the message describes what was found there."""


def _stamp(path: Path) -> Stamp | None:
    """Tell one state of a file from another, without reading it; None when it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_text(path: Path, most_bytes: int) -> str:
    try:
        # A pipe or a device could keep the reader waiting, or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise _UnreadableFileError("something that is not a regular file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise _UnreadableFileError("no file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _UnreadableFileError(f"a file that cannot be read ({reason or 'bad path'})") from error
    if len(content) > most_bytes:
        raise _UnreadableFileError(f"a file of more than {most_bytes} bytes")
    try:
        # Editors on Windows put a byte order mark in front.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _UnreadableFileError(f"bytes that are not UTF-8, at byte {error.start}") from error


# --- one reading of the file -------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Reading:
    """What one look at the file brought: the faults so far, and which files it depends on.

    A key is reported once, for the first reason found: whatever else follows from it is noise.
    """

    path: Path
    environ: Mapping[str, str]
    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=dict)
    faults: dict[Place, Fault] = field(default_factory=dict)
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    config: Config | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _above: set[Place] = field(default_factory=set)

    def outcome(self) -> Config:
        """Give the configuration, or raise ConfigError."""
        if self.faults or self.config is None:
            raise ConfigError(tuple(self.faults[place] for place in sorted(self.faults, key=self._position)))
        return self.config

    def _position(self, place: Place) -> tuple[int, ...]:
        """Give where a place stands in the file, what is not there behind what is."""
        containers = [self.value(place[:depth]) for depth in range(len(place))]
        return tuple(
            part
            if isinstance(part, int)
            else ([*container].index(part) if isinstance(container, dict) and part in container else _LAST)
            for part, container in zip(place, containers, strict=True)
        )

    def at_fault(self, place: Place) -> bool:
        """Tell whether this key, a part of it or what it is a part of was reported."""
        return place in self._above or any(place[:end] in self.faults for end in range(len(place) + 1))

    def report(self, place: Place, allowed: str, found: str | None = None) -> None:
        """Note a fault at `place`, unless that place has one."""
        place = self.written(place)
        if not self.at_fault(place):
            found = found or _described(self.value(place), place, self.origins.get(place))
            self.faults[place] = Fault(str(self.path), self.spelled(place), found, allowed)
            self._above.update(place[:end] for end in range(len(place)))

    def report_name(self, table: Place) -> None:
        """Note that a table's own name cannot be used; its keys are looked at all the same."""
        found = _described_text(str(table[-1]), None, quotable=True)
        self.faults[*table, _OWN_NAME] = Fault(
            str(self.path), self.spelled(table), f"the name {found}", NAME_WORDS
        )

    def report_all(self, table: Place, misfits: Iterable[Misfit]) -> None:
        """Note the misfits of one table."""
        for misfit in misfits:
            self.report((*table, *misfit.place), misfit.allowed, misfit.found)

    def report_whole(self, found: str, allowed: str, key: str = "the whole file") -> None:
        """Note that the file as such cannot be used."""
        self.faults[()] = Fault(str(self.path), key, found, allowed)

    def text_of(self, path: Path, most_bytes: int) -> str:
        """Read a file, and remember the state it was in before."""
        self.stamps[path] = _stamp(path)
        return _read_text(path, most_bytes)

    def value(self, place: Place) -> Any:
        """Give what the file has at `place`; None when there is nothing."""
        value: Any = self.tree
        for part in place:
            value = _part(value, part)
        return value

    def spelled(self, place: Place) -> str:
        """Spell a place as its reader would find it; lists count from 1, routes give their name."""
        text = "".join(map(_spelled_part, place)).removeprefix(".")
        name = self.value((*place[:2], "name")) if place[:1] == ("routes",) else None
        if isinstance(name, str) and (*place[:2], "name") not in self.origins and _is_plain(name):
            return text.replace("]", f'] ("{name}")', 1)
        return text

    def written(self, place: Place) -> Place:
        """Give the place in the file that decides about `place`."""
        # One text may stand where a list or a table would do: what is said of its part is said of it.
        for end in range(1, len(place)):
            value = self.value(place[:end])
            if value is not None and not isinstance(value, dict | list):
                return place[:end]
        return place


def _part(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _read(path: Path, environ: Mapping[str, str]) -> _Reading:
    reading = _Reading(path, environ)
    try:
        document = _document(reading)
        if document is not None:
            reading.tree = document
            reading.tree = _resolved(reading, (), document)
            reading.config = _assembled(reading)
    except RecursionError:
        reading.report_whole("far too many levels", "lists and tables nested a few levels deep")
    return reading


def _document(reading: _Reading) -> dict[str, Any] | None:
    try:
        return tomllib.loads(reading.text_of(reading.path, _CONFIG_BYTES))
    except _UnreadableFileError as error:
        reading.report_whole(str(error), "a readable TOML file in UTF-8; RINGBACK_CONFIG names its path")
    except ValueError as error:
        # tomllib puts the place behind its words: "Invalid value (at line 3, column 9)". The words
        # quote a key or a single character at most, never a value.
        words, _, where = str(error).partition(" (at ")
        key = where.removesuffix(")") or "the whole file"
        reading.report_whole(f"text that is not TOML ({words})", "TOML 1.0", key)
    return None


def _resolved(reading: _Reading, place: Place, value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _resolved(reading, (*place, key), part) for key, part in value.items()}
    if isinstance(value, list):
        return [_resolved(reading, (*place, index), part) for index, part in enumerate(value)]
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        reading.origins[place] = value
        kind, _, target = value.partition(":")
        return (_from_environment if kind == "env" else _from_file)(reading, place, target)
    return value


def _from_environment(reading: _Reading, place: Place, name: str) -> str | None:
    allowed = "env: and the name of a variable that is set, such as env:WOLKVOX_TOKEN"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        reading.report(place, allowed, "env: with something behind it that is not a variable's name")
        return None
    text = reading.environ.get(name)
    if text is None:
        reading.report(place, allowed, f"env:{name}, a variable that is not set")
        return None
    if not _is_utf8(text):
        reading.report(place, "a text in UTF-8", f"env:{name}, a variable whose bytes are not UTF-8")
        return None
    return text


def _is_utf8(text: str) -> bool:
    # The operating system's bytes that are no text come through as lone surrogates.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_file(reading: _Reading, place: Place, target: str) -> str | None:
    allowed = (
        "file: and the path of a readable text file; a relative path counts from the configuration's folder"
    )
    if not target or "\0" in target:
        reading.report(
            place, allowed, "file: without a path" if not target else "file: with a NUL in its path"
        )
        return None
    try:
        text = reading.text_of(reading.path.parent / target, _SECRET_BYTES)
    except _UnreadableFileError as error:
        reading.report(place, allowed, f"file:{target}, {error}")
        return None
    return re.sub(r"\r?\n\Z", "", text)


# --- words for people --------------------------------------------------------------------------


def _spelled_part(part: str | int) -> str:
    if isinstance(part, int):
        return f"[{part + 1}]"
    return f".{part}" if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f".{json.dumps(part, ensure_ascii=False)}"


def _is_plain(text: str) -> bool:
    """Tell words, short codes, hours and addresses from what could be a key, a token or a number."""
    runs = re.findall(r"[^\W_]+", text)
    words = all(re.fullmatch(r"[^\W\d_]{0,14}\d{0,2}", run) for run in runs)
    # An @ may close a user name and a password in an address.
    short = len(text) <= _PLAIN_CHARACTERS and sum(map(str.isdigit, text)) <= _PLAIN_DIGITS
    return words and short and text.isprintable() and "@" not in text


def _masked(words: str, text: str) -> str:
    """Take out of `words` what is quoted from `text` and is not plain."""
    return re.sub(r"[^\W_]+", lambda run: "…" if run[0] in text and not _is_plain(run[0]) else run[0], words)


def _described(value: Any, place: Place = (), origin: str | None = None) -> str:
    """Describe a value; quote it only when it stands in the file itself and is no secret."""
    quotable = origin is None and not _is_secret(place)
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return _described_text(value, origin, quotable=quotable)
        case int() | float():
            return f"the number {value}" if quotable and abs(value) < _PLAIN_NUMBER else "a number"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
    return "a date or a time"


def _described_text(text: str, origin: str | None, *, quotable: bool) -> str:
    if text and quotable and _is_plain(text):
        return f'"{text}"'
    size = "a text of 1 character" if len(text) == 1 else f"a text of {len(text)} characters"
    return (size if text else "an empty text") + (f" from {origin}" if origin else "")


def _is_secret(place: Place) -> bool:
    return (place[:1] == ("api_keys",) and len(place) == _API_KEY_AS_TEXT) or any(
        part in _SECRET_KEYS for part in place
    )


def _nearest(name: Any, known: Iterable[str], of: str) -> str:
    """Say which names would do, the likeliest first."""
    names = sorted(known)
    if not names:
        return f"{of} none"
    close = get_close_matches(name, names[:_MANY_NAMES], n=1) if isinstance(name, str) else []
    listed = ", ".join(f'"{each}"' for each in names[:_LISTED_NAMES])
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return (f'perhaps "{close[0]}"; ' if close else "") + f"{of} {listed}{more}"


# --- from tables to models ---------------------------------------------------------------------


def _assembled(reading: _Reading) -> Config:
    """Build what can be built, noting every fault; worth something only when there is none."""
    for key in reading.tree.keys() - set(_TABLES):
        reading.report((key,), _nearest(key, _TABLES, "the tables are"), "an unknown key")
    config = Config(
        accounts=_accounts(reading),
        vars=_table(reading, "vars"),
        store=_built(reading, StoreSettings, ("store",), _table(reading, "store")) or StoreSettings(),
        api_keys=_api_keys(reading),
        sources=_sources(reading),
        routes=_routes(reading),
    )
    _check_each_table(reading, config)
    _check_names(reading, config)
    _check_shared_texts(reading, config)
    _check_shared_lanes(reading, config)
    _check_templates(reading, config)
    return config.model_copy(update={"digest": _digest(config)})


def _table(reading: _Reading, key: str) -> dict[str, Any]:
    value = reading.tree.get(key, {})
    if isinstance(value, dict):
        return value
    reading.report((key,), f"a table, [{key}]" if key in {"vars", "store"} else f"tables, [{key}.NAME]")
    return {}


def _tables(reading: _Reading, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in _table(reading, key).items():
        if isinstance(value, dict):
            yield name, value
        else:
            reading.report((key, name), f"a table, [{key}.{name}]")


def _accounts(reading: _Reading) -> dict[str, Account]:
    built = {
        name: _built(reading, Account, ("accounts", name), _with_hours(reading, name, table), name=name)
        for name, table in _tables(reading, "accounts")
    }
    return {name: account for name, account in built.items() if account}


def _with_hours(reading: _Reading, name: str, table: dict[str, Any]) -> dict[str, Any]:
    if table.get("calling_hours") is None:
        return table
    try:
        hours = read_hours(table["calling_hours"])
    except HoursError as error:
        reading.report_all(("accounts", name, "calling_hours"), error.misfits)
        hours = None
    return {**table, "calling_hours": hours}


def _api_keys(reading: _Reading) -> dict[str, ApiKey]:
    tables: dict[str, ApiKey] = {}
    for name, value in _table(reading, "api_keys").items():
        place = ("api_keys", name)
        if not isinstance(value, str | dict):
            reading.report(place, "the key as a text, or a table with key, accounts and rate_per_minute")
            continue
        key = _built(reading, ApiKey, place, value if isinstance(value, dict) else {"key": value}, name=name)
        if key:
            tables[name] = key
    return tables


def _sources(reading: _Reading) -> dict[str, Source]:
    sources: dict[str, Source] = {}
    for name, table in _tables(reading, "sources"):
        place = ("sources", name)
        kind = table.get("kind")
        model = SOURCE_KINDS.get(kind) if isinstance(kind, str) else None
        if model is None:
            reading.report((*place, "kind"), _nearest(kind, SOURCE_KINDS, "the kinds are"))
            continue
        source = _built(reading, model, place, table, name=name)
        if source:
            sources[name] = source
    return sources


def _routes(reading: _Reading) -> tuple[Route, ...]:
    """Build the routes, one for each in the file, so that their numbers stay."""
    tables = reading.tree.get("routes", [])
    if not isinstance(tables, list):
        reading.report(("routes",), "a list of tables, each headed [[routes]]")
        return ()
    routes = [_route(reading, ("routes", index), table) for index, table in enumerate(tables)]
    return tuple(route for route in routes if route)


def _route(reading: _Reading, place: Place, table: Any) -> Route | None:
    if not isinstance(table, dict):
        reading.report(place, "a table, headed [[routes]]")
    return _built(reading, Route, place, table if isinstance(table, dict) else {})


def _built(
    reading: _Reading, model: type[_Model], place: Place, table: dict[str, Any], **given: str
) -> _Model | None:
    """Build one table's model; where keys are at fault, with stand-ins, so that the rest is checked too."""
    if given.keys() & table.keys():
        reading.report((*place, "name"), "no such key: the table's head names it", "an unknown key")
    values = {**table, **given}
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors(include_url=False, include_input=False)
    _report_errors(reading, model, place, errors)
    stand_ins = _stand_ins(next(reading.numbers))
    for key in {error["loc"][0] for error in errors if error["loc"]}:
        values.pop(str(key), None)
        if key in stand_ins and key in model.model_fields:
            values[str(key)] = stand_ins[str(key)]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        _report_errors(reading, model, place, error.errors(include_url=False, include_input=False))
        return None


def _stand_ins(number: int) -> dict[str, Any]:
    """Give sound values for keys at fault; the secrets differ from call to call, so that none are equal."""
    secret = f"stand-in-for-a-secret-{number}"
    texts = ("account", "campaign_id", "customer_id", "name", "recall_date", "recall_telephone", "source")
    return {
        **dict.fromkeys(texts, "0"),
        **dict.fromkeys(("token", "key", "url_key", "secrets"), secret),
        "lookup": {"token": secret, "properties": ["0"]},
        "timezone": "UTC",
        "server": "0000",
        "base_url": "http://localhost",
        "organization_id": "0" * 15,
        "verify": "bearer",
    }


def _report_errors(reading: _Reading, model: type[Table], place: Place, errors: list[ErrorDetails]) -> None:
    for error in errors:
        context = error.get("ctx", {})
        loc = error["loc"] or (context.get("key", ""),)
        if loc == ("name",) and place[0] != "routes":
            reading.report_name(place)
        elif error["type"] == "extra_forbidden":
            owner = _owner(model, loc)
            keys = owner.model_fields.keys() - ({"name"} if owner is not Route else set())
            reading.report((*place, *loc), _nearest(loc[-1], keys, "the keys are"), "an unknown key")
        elif error["type"] == "refused":
            reading.report((*place, *loc), context["allowed"], context["found"])
        else:
            reading.report(
                (*place, *loc), _owner(model, loc).model_fields[_key(loc)].description or "another value"
            )


def _key(loc: Place) -> str:
    """Give the last key on the way, which list numbers may follow."""
    return next(part for part in reversed(loc) if isinstance(part, str))


def _owner(model: type[Table], loc: Place) -> type[Table]:
    """Give the model whose key `loc` ends at; lookups are the only tables within tables."""
    return Lookup if loc[0] == "lookup" and len(loc) > 1 else model


# --- what the types do not say -----------------------------------------------------------------

_NEEDS_SECRETS: Final = frozenset({"standard-webhooks", "hmac-sha256", "bearer", "basic", "header"})
_NEEDS_HEADER: Final = frozenset({"hmac-sha256", "header"})

# How a secret must look for one way of verifying: a pattern for the whole, and its words.
_SECRET_SHAPES: Final = {
    "bearer": (r"[!-~]+", HEADER_TEXT_WORDS),
    "header": (r"[!-~]([ -~]*[!-~])?", "a text of visible ASCII characters, as it travels in a header"),
    "basic": (r"[^:]+:.*", '"USER:PASSWORD"'),
}
_WEBHOOK_KEY_WORDS: Final = (
    '"whsec_" and base64; the keys of asymmetric signatures, "whsk_" and "whpk_", are not taken'
)


def _check_each_table(reading: _Reading, config: Config) -> None:
    for name, account in config.accounts.items():
        reading.report_all(("accounts", name), _account_misfits(account))
    for name, source in config.sources.items():
        place = ("sources", name)
        if isinstance(source, JsonSource) and not reading.at_fault((*place, "verify")):
            reading.report_all(place, _json_misfits(source))
    for index, route in enumerate(config.routes):
        if not reading.at_fault(("routes", index, "action")):
            reading.report_all(("routes", index), _route_misfits(route))


def _account_misfits(account: Account) -> Iterator[Misfit]:
    if account.country not in SUPPORTED_REGIONS:
        yield Misfit(("country",), 'the code of a country with telephones, such as "CO"')
    found = dial_format_fault(account.dial_format)
    if found:
        yield Misfit(("dial_format",), DIAL_FORMAT_WORDS, _masked(found, account.dial_format))


def _json_misfits(source: JsonSource) -> Iterator[Misfit]:
    needs = f'as verify = "{source.verify}" needs one'
    if source.verify in _NEEDS_SECRETS and not source.secrets:
        yield Misfit(("secrets",), f"a secret or a list of them, {needs}")
    if source.verify in _NEEDS_HEADER and source.header is None:
        yield Misfit(("header",), f'the name of a header such as "X-Signature", {needs}')
    if source.verify == "url-key" and source.url_key is None:
        yield Misfit(("url_key",), f"{URL_KEY_WORDS}, {needs}")
    for index, secret in enumerate(source.secrets):
        allowed = _secret_shape(source.verify, secret.get_secret_value())
        if allowed:
            yield Misfit(("secrets", index), allowed)


def _secret_shape(verify: str, secret: str) -> str | None:
    """Say how the secret should look; None when it does."""
    if verify == "standard-webhooks":
        return None if _is_webhook_secret(secret) else _WEBHOOK_KEY_WORDS
    pattern, words = _SECRET_SHAPES.get(verify, (".*", ""))
    return None if re.fullmatch(pattern, secret, re.DOTALL) else words


def _is_webhook_secret(secret: str) -> bool:
    # https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
    if secret.startswith(("whsk_", "whpk_")):
        return False
    if not secret.startswith("whsec_"):
        return True
    try:
        return bool(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return False


def _route_misfits(route: Route) -> Iterator[Misfit]:
    for key, value in (("recall_telephone", route.recall_telephone), ("recall_date", route.recall_date)):
        if route.action == "recall" and value is None:
            yield Misfit((key,), 'a template, as action = "recall" needs one')
        if route.action == "cancel" and value is not None:
            yield Misfit((key,), 'no such key: action = "cancel" goes by campaign and customer alone')


# --- what the tables say of each other ---------------------------------------------------------


def _check_names(reading: _Reading, config: Config) -> None:
    accounts, sources = (_table(reading, key).keys() for key in ("accounts", "sources"))
    for index, route in enumerate(config.routes):
        if route.source not in sources:
            reading.report(("routes", index, "source"), _nearest(route.source, sources, "the sources are"))
        if route.account not in accounts:
            reading.report(
                ("routes", index, "account"), _nearest(route.account, accounts, "the accounts are")
            )
    for name in config.api_keys:
        place = ("api_keys", name, "accounts")
        listed = reading.value(place)
        for index, account in enumerate(listed if isinstance(listed, list) else [listed]):
            if isinstance(account, str) and account not in accounts:
                reading.report((*place, index), _nearest(account, accounts, "the accounts are"))


def _secret_texts(config: Config) -> Iterator[tuple[str, Place, SecretStr]]:
    """Give every secret with its use and its place."""
    for name, account in config.accounts.items():
        yield "token", ("accounts", name, "token"), account.token
    for name, source in config.sources.items():
        place = ("sources", name)
        secrets = () if source.kind == "salesforce" else source.secrets
        yield from (("secret", (*place, "secrets", index), each) for index, each in enumerate(secrets))
        if source.url_key:
            yield "url_key", (*place, "url_key"), source.url_key
        if isinstance(source, HubspotSource) and source.lookup:
            yield "lookup", (*place, "lookup", "token"), source.lookup.token
    for name, key in config.api_keys.items():
        yield "key", ("api_keys", name, "key"), key.key


def _check_shared_texts(reading: _Reading, config: Config) -> None:
    """Refuse one text for two callers, or for two uses: who knows it for one could act as the other.

    Accounts may share a token (one lane), and sources a secret (one app at two addresses).
    """
    first: dict[str, tuple[str, Place]] = {}
    for use, place, secret in _secret_texts(config):
        other_use, other = first.setdefault(secret.get_secret_value(), (use, place))
        if other != place and (use != other_use or use in {"key", "url_key"}):
            found = f"the same text as {reading.spelled(reading.written(other))}"
            reading.report(place, "a text that stands nowhere else", found)


def _check_shared_lanes(reading: _Reading, config: Config) -> None:
    first: dict[str, Account] = {}
    for account in config.accounts.values():
        other = first.setdefault(account.token.get_secret_value(), account)
        for key, mine, theirs in _lane_settings(account, other):
            if mine != theirs and not any(reading.at_fault(("accounts", other.name, k)) for k in _twins(key)):
                place = ("accounts", account.name, key)
                default = "nothing" if mine is None else f"nothing, that is {mine}"
                found = default if reading.value(place) is None else None
                reading.report(place, f"the same as in accounts.{other.name}, whose token it shares", found)


def _twins(key: str) -> tuple[str, ...]:
    return ("server", "base_url") if key in {"server", "base_url"} else (key,)


def _lane_settings(account: Account, other: Account) -> Iterator[tuple[str, Any, Any]]:
    """Give the keys that belong to the lane of two accounts, with the value of each."""
    yield ("server" if account.server else "base_url"), account.endpoint, other.endpoint
    for key in ("timeout_seconds", "server_limit_seconds", "daily_limit", "quota_resets_at"):
        yield key, getattr(account, key), getattr(other, key)


def _check_templates(reading: _Reading, config: Config) -> None:
    for fault in mapping.faults(config, str(reading.path)):
        place = _template_place(fault.key)
        text, origin = reading.value(place), reading.origins.get(place)
        if isinstance(text, str):
            # Jinja's words quote pieces of the template, and anything may have been pasted into one.
            found = _described(text, place, origin) if origin else _masked(fault.found, text)
            reading.report(place, fault.allowed, found)


def _template_place(key: str) -> Place:
    """Read `routes[2] ("its name").when` and `sources.forms.events`, as the mapping names its keys."""
    table, _, field_name = key.rpartition(".")
    number = re.match(r"routes\[(\d+)\]", table)
    return ("routes", int(number[1]) - 1, field_name) if number else (*table.split(".", 1), field_name)


# --- the digest --------------------------------------------------------------------------------


def _digest(config: Config) -> str:
    """Give 16 hex digits that stand for the meaning of the configuration, without its secrets."""
    meaning = _meaning(config.model_dump(exclude={"digest"}))
    text = json.dumps(meaning, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _meaning(value: Any) -> Any:
    """Reduce a value to what JSON has; secrets, and how many there are, to the fact that there are some."""
    match value:
        case SecretStr():
            return "secret"
        case dict():
            return {str(key): _meaning(part) for key, part in value.items()}
        case frozenset():
            return sorted(value)
        case list() | tuple():
            parts = [_meaning(part) for part in value]
            return "secret" if value and all(isinstance(part, SecretStr) for part in value) else parts
        case ZoneInfo():
            return value.key
        case date() | time():
            return value.isoformat()
    return value


# --- what is likely not meant ------------------------------------------------------------------


def _idle_tables(config: Config) -> Iterator[str]:
    if not config.accounts:
        yield "There is no account, so nothing can be called back."
    served = {route.source for route in config.routes}
    yield from (
        f"sources.{name} has no route: what it sends is ignored."
        for name in config.sources
        if name not in served
    )
    routed = {route.account for route in config.routes}
    reachable = [key.accounts for key in config.api_keys.values()]
    for name in config.accounts:
        if name not in routed and not any(accounts is None or name in accounts for accounts in reachable):
            yield f"accounts.{name} has no route and no API key: nothing can reach it."


def _lane_warnings(config: Config) -> Iterator[str]:
    first: dict[str, Account] = {}
    for name, account in config.accounts.items():
        if account.server_limit_seconds < _WOLKVOX_CALL_SECONDS and account.base_url is None:
            yield (
                f"accounts.{name}.server_limit_seconds is below {_WOLKVOX_CALL_SECONDS}: "
                "a call may take that long at wolkvox, so two could run at once."
            )
        other = first.setdefault(account.token.get_secret_value(), account)
        if other.timezone != account.timezone:
            yield (
                f"accounts.{name} and accounts.{other.name} have one token and two time zones: "
                "quota_resets_at is not the same moment for both."
            )


def _weak_checks(config: Config) -> Iterator[str]:
    for name, key in config.api_keys.items():
        if len(key.key.get_secret_value()) < _SHORT_KEY:
            yield f"api_keys.{name} is shorter than {_SHORT_KEY} characters: it could be guessed."
    for name, source in config.sources.items():
        weak = sorted({"v1", "v2"} & set(source.signatures)) if isinstance(source, HubspotSource) else []
        if weak:
            named = " and ".join(weak)
            yield f"sources.{name}.signatures has {named}: what was once sent can be sent again by others."


def _keys_without_effect(config: Config) -> Iterator[str]:
    for name, source in config.sources.items():
        if not isinstance(source, JsonSource):
            continue
        used = {
            "header": source.verify in _NEEDS_HEADER,
            "encoding": source.verify == "hmac-sha256",
            "prefix": source.verify == "hmac-sha256",
            "secrets": source.verify in _NEEDS_SECRETS,
        }
        for key in sorted(
            key for key, has_effect in used.items() if not has_effect and key in source.model_fields_set
        ):
            yield f'sources.{name}.{key} has no effect with verify = "{source.verify}".'


def _route_warnings(config: Config) -> Iterator[str]:
    names: set[str] = set()
    takes_all: dict[str, int] = {}
    for number, route in enumerate(config.routes, start=1):
        if route.name in names:
            yield f"routes[{number}] has the name of an earlier route: reports cannot tell them apart."
        names.add(route.name)
        earlier = takes_all.get(route.source)
        if earlier:
            taker = f"routes[{earlier}] takes every event of sources.{route.source}"
            yield f"routes[{number}] is never reached: {taker}."
        elif route.when is None:
            takes_all[route.source] = number


# --- a configuration that changes --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Taken:
    config: Config
    generation: int


class ConfigWatch:
    """The configuration as it is now, taken up anew when its files change.

    `path` and `environ` are as for `load`; `clock` gives seconds that only grow. A changed file with a
    fault is refused whole: `current` stays, `fault` tells. May be used from many threads. Raises
    ConfigError when the configuration is faulty to begin with.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        *,
        every_seconds: float = 2.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._environ = path, environ
        self._every_seconds, self._clock = every_seconds, clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        reading = _read(path, environ)
        self._taken = _Taken(reading.outcome(), 1)
        self._stamps = reading.stamps
        self._look_twice = True
        self._fault: ConfigError | None = None

    @property
    def current(self) -> Config:
        """The last configuration that was without fault."""
        return self._taken.config

    @property
    def generation(self) -> int:
        """How many configurations were taken up, the first included."""
        return self._taken.generation

    @property
    def fault(self) -> ConfigError | None:
        """Why the files as they are now are refused; None when `current` is what they say."""
        return self._fault

    def refresh(self) -> bool:
        """Look at the files, at most every `every_seconds`; tell whether a new configuration was taken up.

        Cheap: it reads only what has changed. A call while another thread looks returns at once.
        """
        if self._clock() - self._looked_at < self._every_seconds or not self._lock.acquire(blocking=False):
            return False
        try:
            self._looked_at = self._clock()
            return self._changed() and self._take(_read(self._path, self._environ))
        finally:
            self._lock.release()

    def _changed(self) -> bool:
        changed = any(_stamp(path) != stamp for path, stamp in self._stamps.items())
        # Two writes within one tick of the file system's clock leave the same stamp, so that a file
        # that has just changed is read once more.
        again, self._look_twice = self._look_twice, changed
        return changed or again

    def _take(self, reading: _Reading) -> bool:
        self._stamps = reading.stamps
        try:
            config = reading.outcome()
        except ConfigError as error:
            if self._fault is None or self._fault.faults != error.faults:
                _log.error(
                    "configuration refused, the old one stays", faults=[str(fault) for fault in error.faults]
                )
            self._fault = error
            return False
        if self._fault is not None:
            _log.info("configuration without fault again")
        self._fault = None
        if config == self.current:
            return False
        self._taken = _Taken(config, self.generation + 1)
        _log.info("configuration taken up", generation=self.generation, digest=config.digest)
        return True
