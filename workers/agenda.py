"""The agenda: how many callbacks are queued for when, by account and campaign.

The store counts them as recalls are queued and leave the queue, by the half hour of their date; nothing is
looked through for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from workers.store import Store

SLOT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """Recalls queued, or being pushed, for the half hour that begins at `at` (aware, UTC)."""

    account: str
    campaign_id: str
    at: datetime
    count: int


class Agenda:
    """The agenda of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, accounts: Iterable[str]) -> list[Slot]:
        """Give what is queued for these accounts, earliest first. Raises StoreAwayError."""
        names = list(accounts)

        def read() -> list[Any]:
            with self._store.client.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.hgetall(self._store.key(f"calendar:{name}"))
                return list(pipe.execute())

        found = self._store.guarded(read) if names else []
        slots = [
            _slot(name, field, count)
            for name, counts in zip(names, found, strict=True)
            for field, count in counts.items()
        ]
        return sorted(slots, key=lambda slot: (slot.at, slot.account, slot.campaign_id))


def _slot(account: str, field: str, count: str) -> Slot:
    number, _, campaign = field.partition("\0")
    at = datetime.fromtimestamp(int(number) * SLOT.total_seconds(), UTC)
    return Slot(account=account, campaign_id=campaign, at=at, count=int(count))
