"""Compare configurations: their digests, and the parts that a new configuration removes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import date, time
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import SecretStr

if TYPE_CHECKING:
    from collections.abc import Iterator

    from integration.config.models import Config

RemovalKind = Literal["source", "routes", "account", "api key", "alert rules"]


@dataclass(frozen=True, slots=True, order=True)
class Removal:
    """A part of the configuration that a new configuration lacks. `name` is "" for the alert rules."""

    kind: RemovalKind
    name: str = ""

    def __str__(self) -> str:
        """Return the part as ringback.toml spells it, which needs no translation."""
        match self.kind:
            case "source":
                return f"[sources.{self.name}]"
            case "routes":
                return f'[[routes]] source = "{self.name}"'
            case "account":
                return f"[accounts.{self.name}]"
            case "api key":
                return f"api_keys.{self.name}"
        return "[[alerts.rules]]"


def removals(old: Config, new: Config) -> tuple[Removal, ...]:
    """Return the sources, accounts and API keys that only `old` has.

    The result also has the sources that lost all their routes, and the alert rules if all were removed.
    """
    return tuple(_removals(old, new))


def _removals(old: Config, new: Config) -> Iterator[Removal]:
    yield from (Removal("source", name) for name in old.sources if name not in new.sources)
    yield from (
        Removal("routes", name)
        for name, routes in old.routes_by_source.items()
        if routes and name in new.sources and not new.routes_by_source[name]
    )
    yield from (Removal("account", name) for name in old.accounts if name not in new.accounts)
    yield from (Removal("api key", name) for name in old.api_keys if name not in new.api_keys)
    if old.alerts.rules and not new.alerts.rules:
        yield Removal("alert rules")


def digest(config: Config) -> str:
    """Return the digest of the configuration, 16 hex digits.

    The digest does not depend on the values of secrets or the length of a list of secrets, so that it can
    be logged.
    """
    canonical = _canonical(config.model_dump(exclude={"digest", "exposed_files"}))
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """Return a value as JSON types. A secret, and a non-empty list of secrets, becomes "secret"."""
    match value:
        case SecretStr():
            return "secret"
        case dict():
            return {str(key): _canonical(part) for key, part in value.items()}
        case frozenset():
            return sorted(value)
        case list() | tuple():
            parts = [_canonical(part) for part in value]
            return "secret" if value and all(isinstance(part, SecretStr) for part in value) else parts
        case ZoneInfo():
            return value.key
        case date() | time():
            return value.isoformat()
    return value
