"""The version of the store's layout, and the check that this version may change a store.

The script compares the layout in each run (epoch.lua). So a process with another layout that still runs
during an upgrade changes nothing. Increase LAYOUT when the name or meaning of a key or field changes.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LAYOUT: Final = 2
"""Layout 1, of version 0.1.0, has the hash `meta` in place of `store`, and no field `layout`."""
VERSION: Final = version("ringback")

FIELDS: Final = ("layout", "layout_version", "epoch", "seq")
"""The fields of the hash `store` that `layout_fault` compares."""


def layout_fault(facts: Mapping[str, str], *, is_older: bool) -> str | None:
    """Return why this version must not use a store, or None if it may.

    `facts` has those of FIELDS that exist. `is_older` is True if the store has accounts, or the hash `meta`
    of version 0.1.0.
    """
    if "layout" not in facts:
        used = is_older or "epoch" in facts or "seq" in facts
        return _older("0.1.0 or a development version") if used else None
    found, writer = int(facts["layout"]), facts.get("layout_version", "a newer version")
    if found > LAYOUT:
        return (
            f"layout: Ringback {writer} wrote the store (layout {found}), and this is the older version "
            f"{VERSION} (layout {LAYOUT}). Run Ringback {writer} or later."
        )
    return _older(writer) if found < LAYOUT else None


def _older(writer: str) -> str:
    return (
        f"layout: Ringback {writer} wrote the store, and {VERSION} does not read its layout. Start {writer} "
        f"again, wait until nothing is queued, stop all processes, and start {VERSION} with an empty store: "
        "another RINGBACK_DATA_DIR, or another database in REDIS_URL."
    )
