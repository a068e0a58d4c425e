"""Notes of operators on problems: acknowledged, snoozed or assigned."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson

from integration.domain.json_codec import read_json
from integration.domain.timestamps import epoch_ms, from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from integration.store.client import Store

NoteKind = Literal["acknowledged", "snoozed", "assigned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemNote:
    """The notes on one row of the problem list. Times are aware, UTC.

    `acknowledged_kinds` are the kinds of problems that `acknowledged_by` acknowledged. The fields of a
    missing note are empty or None.
    """

    acknowledged_by: str = ""
    acknowledged_kinds: frozenset[str] = frozenset()
    snoozed_by: str = ""
    snoozed_until: datetime | None = None
    assigned_to: str = ""


class ProblemNoteStore:
    """The operators' notes by row. Each method may raise StoreAwayError."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def all(self) -> dict[str, ProblemNote]:
        """Return all notes by row id."""
        (found,) = self._store.hashes(["problem_notes"])
        rows: dict[str, dict[str, Any]] = defaultdict(dict)
        for field, text in found.items():
            row, _, kind = field.partition("\0")
            rows[row][kind] = read_json(text)
        return {row: _note(fields) for row, fields in rows.items()}

    def acknowledge(self, row: str, by: str, kinds: Iterable[str]) -> None:
        """Acknowledge these kinds of problems of a row for a user."""
        self._put(row, "acknowledged", {"by": by, "kinds": sorted(kinds)})

    def snooze(self, row: str, by: str, until: datetime) -> None:
        """Snooze a row until a time (aware)."""
        self._put(row, "snoozed", {"by": by, "until": epoch_ms(until)})

    def assign(self, row: str, to: str) -> None:
        """Assign a row to a user."""
        self._put(row, "assigned", {"to": to})

    def reopen(self, row: str) -> None:
        """Remove the acknowledgement and the snooze of a row. The assignment stays."""
        for kind in ("acknowledged", "snoozed"):
            self._store.call("note_problem", row, kind, "")

    def keep(self, rows: Iterable[str]) -> None:
        """Remove the notes of all rows except these."""
        self._store.call("keep_problem_notes", orjson.dumps(sorted(rows)))

    def _put(self, row: str, kind: NoteKind, fields: Mapping[str, Any]) -> None:
        self._store.call("note_problem", row, kind, orjson.dumps(fields))


def _note(fields: Mapping[str, Mapping[str, Any]]) -> ProblemNote:
    acknowledged, snoozed = fields.get("acknowledged", {}), fields.get("snoozed", {})
    until = snoozed.get("until")
    return ProblemNote(
        acknowledged_by=acknowledged.get("by", ""),
        acknowledged_kinds=frozenset(acknowledged.get("kinds", ())),
        snoozed_by=snoozed.get("by", ""),
        snoozed_until=None if until is None else from_epoch_ms(until),
        assigned_to=fields.get("assigned", {}).get("to", ""),
    )
