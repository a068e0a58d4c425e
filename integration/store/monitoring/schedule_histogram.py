"""Schedule histogram: how many callbacks are queued for each half hour, by account and campaign.

The script updates the counts when a recall enters or leaves a queue, so reading them needs no scan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.store.client import Store


class Slot(NamedTuple):
    """Recalls queued or being pushed for a half hour. `half_hour` counts from 1970-01-01, UTC."""

    account: str
    campaign_id: str
    half_hour: int
    number: int


class ScheduleHistogram:
    """The schedule histogram of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, accounts: Iterable[str]) -> list[Slot]:
        """Return the counts of these accounts, in no order. Raise StoreAwayError."""
        names = list(accounts)
        found = self._store.hashes(f"calendar:{name}" for name in names)
        return [
            Slot(name, campaign, int(half_hour), int(count))
            for name, counts in zip(names, found, strict=True)
            for field, count in counts.items()
            for half_hour, _, campaign in (field.partition("\0"),)
        ]
