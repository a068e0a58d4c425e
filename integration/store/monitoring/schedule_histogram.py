"""Schedule histogram: how many callbacks are planned for each half hour, by account and campaign.

The script updates the counts when a recall enters or leaves a queue, and when wolkvox accepts it, so reading
them needs no scan.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.store.client import Store


class Slot(NamedTuple):
    """Recalls planned for a half hour. `half_hour` counts from 1970-01-01, UTC.

    `queued` are queued or being pushed. `accepted` are set in wolkvox; a day or two after their date they are
    left out.
    """

    account: str
    campaign_id: str
    half_hour: int
    queued: int
    accepted: int


class ScheduleHistogram:
    """The schedule histogram of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, accounts: Iterable[str]) -> list[Slot]:
        """Return the counts of these accounts, in no order. Raise StoreAwayError."""
        names = list(accounts)
        found = self._store.hashes(
            f"{kind}:{name}" for name in names for kind in ("calendar", "accepted_calendar")
        )
        counts = dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))
        return [
            Slot(name, campaign, int(half_hour), int(queued.get(field, 0)), int(accepted.get(field, 0)))
            for name, (queued, accepted) in counts.items()
            for field in queued.keys() | accepted.keys()
            for half_hour, separator, campaign in (field.partition("\0"),)
            if separator
        ]
