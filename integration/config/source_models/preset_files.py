"""Presets of senders: files of data in `presets/`, one for each sender.

A preset has the keys of a `json` source for its sender, an example of a route, and the steps of the
set-up. It contains no secrets.
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

# The last step of a preset whose body or proof no page of the vendor describes, by language.
_CHECK: Final = {
    "en": "The vendor does not document everything that it sends. This preset is based on captured "
    "deliveries or source code. Check it with a real delivery.",
    "es": "El proveedor no documenta todo lo que envía. Este ajuste se basa en entregas reales o en código "
    "fuente. Compruébelo con una entrega real.",
    "pt_BR": "O fornecedor não documenta tudo o que envia. Este preset se baseia em entregas reais ou no "
    "código do remetente. Confira-o com uma entrega real.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """The preset of one sender.

    `page` is the address of the vendor's documentation. `set_up` (English), `set_up_es` (Spanish) and
    `set_up_pt` (Brazilian Portuguese) are the steps in the sender's settings, one per line. `source` has
    keys of a source table, `route` has keys of a route table. `with_secrets` replaces keys of `source` if
    the table has `secrets`, because some senders sign only after a setting. `country` is the country of the
    sender's telephone numbers (ISO 3166). `described` is False if no page of the vendor describes the body or
    the proof.
    """

    name: str
    title: str
    page: str
    set_up: str
    set_up_es: str
    set_up_pt: str
    source: Mapping[str, Any]
    route: Mapping[str, str]
    with_secrets: Mapping[str, Any] = field(default_factory=dict)
    country: str = "CO"
    described: bool = True

    def steps(self, language: str) -> tuple[str, ...]:
        """Return the steps of the set-up: "es" in Spanish, "pt_BR" in Portuguese, any other in English.

        If `described` is False, a last step is added that asks the operator to check the preset with a real
        delivery.
        """
        texts = {"es": self.set_up_es, "pt_BR": self.set_up_pt}
        steps = texts.get(language, self.set_up).strip().splitlines()
        return (*steps, *(() if self.described else (_CHECK.get(language, _CHECK["en"]),)))


@lru_cache(maxsize=1)
def presets() -> Mapping[str, Preset]:
    """Return all presets by name, in alphabetical order."""
    return {path.stem: _read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def _read(path: Path) -> Preset:
    return Preset(name=path.stem, **tomllib.loads(path.read_text("utf-8")))


def with_preset(table: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """Return a source's table, completed with the preset's keys that it lacks.

    If the table has another `verify` than the preset, the preset's keys for the verification are left
    out.
    """
    source = {**preset.source, **(preset.with_secrets if "secrets" in table else {})}
    own = table.get("verify", source["verify"]) == source["verify"]
    kept = {key: value for key, value in source.items() if own or key not in ALL_PROOF_KEYS}
    return {**kept, **table, **_merged_lookup(table.get("lookup", {}), preset)}


def _merged_lookup(own: Any, preset: Preset) -> dict[str, Any]:
    """Return the table `lookup`, completed with the preset's keys, or nothing if the preset has none."""
    lookup = preset.source.get("lookup")
    return {} if lookup is None or not isinstance(own, dict) else {"lookup": {**lookup, **own}}
