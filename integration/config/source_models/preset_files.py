"""Presets of senders: files of data in `presets/`, one for each sender.

A preset has the keys of a `json` source that its sender needs, a route to begin with, and a set-up text. It
contains no secrets.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from integration.config.source_models.checks import ALL_PROOF_KEYS

if TYPE_CHECKING:
    from collections.abc import Mapping

_FOLDER: Final = Path(__file__).parent / "presets"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A sender. `page` is the vendor's page, `set_up` and `set_up_es` the steps in the sender, one a line.

    `source` has keys of a source table, `route` of a route table. `with_secrets` has the keys that replace
    those of `source` if the table has `secrets`: some senders sign only if they are set up so. `country` is
    that of the sender's numbers.
    """

    name: str
    title: str
    page: str
    set_up: str
    set_up_es: str
    source: Mapping[str, Any]
    route: Mapping[str, str]
    with_secrets: Mapping[str, Any] = field(default_factory=dict)
    country: str = "CO"

    def steps(self, language: str) -> tuple[str, ...]:
        """Return the lines of the set-up text in a language, English if it has no such text."""
        return tuple((self.set_up_es if language == "es" else self.set_up).strip().splitlines())


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """Return all presets by name, in alphabetical order."""
    return {path.stem: _read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def _read(path: Path) -> Preset:
    return Preset(name=path.stem, **tomllib.loads(path.read_text("utf-8")))


def with_preset(table: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """Return a source's table with the keys of a preset that it does not have itself.

    If the table has another `verify`, the preset's keys of the proof are left out, because they describe
    another one.
    """
    source = {**preset.source, **(preset.with_secrets if "secrets" in table else {})}
    own = table.get("verify", source["verify"]) == source["verify"]
    kept = {key: value for key, value in source.items() if own or key not in ALL_PROOF_KEYS}
    return {**kept, **table, **_merged_lookup(table.get("lookup", {}), preset)}


def _merged_lookup(own: Any, preset: Preset) -> dict[str, Any]:
    """Return the key `lookup` with the preset's keys and a table's own ones, if the preset has a lookup."""
    lookup = preset.source.get("lookup")
    return {} if lookup is None or not isinstance(own, dict) else {"lookup": {**lookup, **own}}
