"""Schedule histogram: how many callbacks are queued for when, by account and campaign.

The store counts them as recalls are queued and leave the queue, by the half hour of their date; nothing is
looked through for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.store.client import Store


class Slot(NamedTuple):
    """Recalls queued, or being pushed, for a half hour; `half_hour` counts from 1970, UTC."""

    account: str
    campaign_id: str
    half_hour: int
    number: int


class ScheduleHistogram:
    """The schedule histogram of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, accounts: Iterable[str]) -> list[Slot]:
        """Give what is queued for these accounts, in no order. Raises StoreAwayError."""
        names = list(accounts)
        found = self._store.hashes(f"calendar:{name}" for name in names)
        return [
            Slot(name, campaign, int(half_hour), int(count))
            for name, counts in zip(names, found, strict=True)
            for field, count in counts.items()
            for half_hour, _, campaign in (field.partition("\0"),)
        ]
