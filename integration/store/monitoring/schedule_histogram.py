"""The schedule histogram: the number of planned callbacks by half hour, account and campaign.

The script updates the counts when a recall enters or leaves a queue and when wolkvox accepts it, so reading
needs no scan of the recalls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.store.client import Store


class Slot(NamedTuple):
    """The recalls planned for a half hour.

    `half_hour` counts half hours from 1970-01-01 00:00 UTC. `queued` includes recalls being pushed.
    `accepted` counts recalls that wolkvox has accepted and that no later recall replaced. Counts of the
    days before yesterday are removed when the account's first recall of a day (UTC) is accepted.
    """

    account: str
    campaign_id: str
    half_hour: int
    queued: int
    accepted: int


class ScheduleHistogram:
    """Reads the schedule histogram of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, accounts: Iterable[str]) -> list[Slot]:
        """Return the slots of these accounts that have recalls, unordered. Raise StoreAwayError."""
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
