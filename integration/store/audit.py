"""The audit log: the actions of users and API keys, with ids, times and client addresses.

Entries are kept as long as recalls. They contain names of users, internal ids and counts, but no
telephone number and no customer id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from integration.domain.errors import StoreAwayError
from integration.domain.timestamps import epoch_ms, from_epoch_ms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from integration.store.client import Store

log = structlog.get_logger("ringback.audit")

COMMAND_LINE: Final = "command line"
"""The user of command line actions."""

_CHUNK: Final = 500
_IDS_AN_ENTRY: Final = 50
# Entries examined for one page. If a filter excludes more, the page's cursor continues from there.
_MOST_LOOKED_AT: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """An action of a user. `at` is an aware UTC time, by the store's clock.

    `who` is the user, "api:" and the name of an API key, or COMMAND_LINE. `what` is the action, `about`
    has the ids or counts concerned. `address` is the client's IP address, or "".
    """

    id: str
    at: datetime
    who: str
    what: str
    about: tuple[str, ...]
    address: str


class AuditLog:
    """Reads and writes the audit log of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def note(self, who: str, what: str, about: Sequence[str] = (), *, address: str = "") -> None:
        """Log an action with its user, the ids concerned, and the client's address.

        The entry is written even if the store is full. Raise StoreAwayError.
        """
        self._store.call("note", who, what, " ".join(about), address)

    def note_done(self, who: str, what: str, about: Sequence[str], *, address: str = "") -> None:
        """Log an action that was carried out. Split a long list of ids; log nothing for an empty one.

        If the store is unavailable, only write to the process log, because the action cannot be undone.
        """
        try:
            for start in range(0, len(about), _IDS_AN_ENTRY):
                self.note(who, what, about[start : start + _IDS_AN_ENTRY], address=address)
        except StoreAwayError as error:
            log.error(
                "the action was carried out, but the audit log could not be written",
                who=who,
                what=what,
                reason=str(error),
            )

    def page(
        self, *, limit: int = 50, cursor: str | None = None, who: str = "", what: str = ""
    ) -> tuple[list[AuditEntry], str | None]:
        """Return entries, newest first, and the cursor of the next page (None on the last page).

        `who` filters by user, `what` by the first words of the action. A page may have fewer than `limit`
        entries although a next page exists. Raise StoreAwayError.
        """
        found: list[AuditEntry] = []
        last = cursor
        for looked_at, entry in enumerate(self._newest_first(cursor)):
            if len(found) == limit or looked_at == _MOST_LOOKED_AT:
                return found, last
            last = entry.id
            if who in {"", entry.who} and f"{entry.what} ".startswith(what and f"{what} "):
                found.append(entry)
        return found, None

    def purge(self, *, before: datetime) -> int:
        """Remove entries older than `before`. Return the number removed. Raise StoreAwayError."""
        oldest = str(epoch_ms(before))
        key = self._store.key("audit")
        return int(
            self._store.guarded(lambda: self._store.client.xtrim(key, minid=oldest, approximate=False))
        )

    def _newest_first(self, cursor: str | None) -> Iterator[AuditEntry]:
        key, newest = self._store.key("audit"), "+" if cursor is None else f"({cursor}"
        while True:
            chunk = self._chunk(key, newest)
            yield from (_entry(entry_id, fields) for entry_id, fields in chunk)
            if len(chunk) < _CHUNK:
                return
            newest = f"({chunk[-1][0]}"

    def _chunk(self, key: str, newest: str) -> list[tuple[str, dict[str, str]]]:
        found: Any = self._store.guarded(
            lambda: self._store.client.xrevrange(key, max=newest, min="-", count=_CHUNK)
        )
        return list(found)


def _entry(entry_id: str, fields: dict[str, str]) -> AuditEntry:
    return AuditEntry(
        id=entry_id,
        at=from_epoch_ms(entry_id.partition("-")[0]),
        who=fields["who"],
        what=fields["what"],
        about=tuple(fields["about"].split()),
        address=fields["address"],
    )
