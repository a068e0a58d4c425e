"""The status of each source: latest deliveries, rejections, and hourly counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from integration.domain.timestamps import epoch_seconds, from_epoch_ms, from_epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from integration.store.client import Store

HOURS: Final = 24
_HOURLY: Final = ("taken", "refused", "lost")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceActivity:
    """The latest deliveries of a source. Times are aware, UTC, or None if there was none.

    `taken` is the time of the latest accepted or repeated delivery. `refused` is the time of the latest
    delivery that was rejected because of its proof, content or size. No delivery has been accepted since
    `refusing_since`; `refusals` is the number of deliveries rejected since then. `address_checked` is the
    time of the latest successful check of the webhook address by the sender. A lost delivery was not
    stored and is not sent again: `lost` is the time of the latest loss, `losses` the number since
    `lost_since`. The count restarts after a day without losses.
    """

    taken: datetime | None = None
    refused: datetime | None = None
    refusing_since: datetime | None = None
    refusals: int = 0
    address_checked: datetime | None = None
    lost: datetime | None = None
    lost_since: datetime | None = None
    losses: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HourlyDeliveries:
    """The deliveries of a source in the hour that begins at `at` (aware, UTC)."""

    at: datetime
    taken: int
    refused: int
    lost: int


class SourceStatusStore:
    """Reads the status of sources by name."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def activity(self, names: Iterable[str]) -> dict[str, SourceActivity]:
        """Return the latest activity of these sources, in one round trip. Raise StoreAwayError."""
        wanted = list(names)
        found = self._store.hashes(f"source:{name}" for name in wanted)
        return {name: _activity(fields) for name, fields in zip(wanted, found, strict=True)}

    def day(self, names: Iterable[str], now: datetime) -> dict[str, list[HourlyDeliveries]]:
        """Return the last 24 hours of these sources, oldest first, ending with the current hour.

        The read takes one round trip. Raise StoreAwayError.
        """
        wanted = list(names)
        last = int(epoch_seconds(now)) // 3600
        hours = range(last - HOURS + 1, last + 1)
        fields = [f"{what}:{name}" for name in wanted for what in _HOURLY]

        def commands(pipe: Any) -> None:
            for hour in hours:
                pipe.hmget(self._store.key(f"source_requests:{hour}"), fields)

        rows = self._store.pipelined(commands) if fields else []
        found: dict[str, list[HourlyDeliveries]] = {name: [] for name in wanted}
        for hour, row in zip(hours, rows, strict=False):
            at = from_epoch_seconds(hour * 3600)
            for index, name in enumerate(wanted):
                first = index * len(_HOURLY)
                values = (int(value or 0) for value in row[first : first + len(_HOURLY)])
                found[name].append(HourlyDeliveries(at=at, **dict(zip(_HOURLY, values, strict=True))))
        return found


def _activity(fields: Mapping[str, str]) -> SourceActivity:
    def moment(name: str) -> datetime | None:
        return from_epoch_ms(fields[name]) if fields.get(name) else None

    return SourceActivity(
        taken=moment("taken"),
        refused=moment("refused"),
        refusing_since=moment("refusing"),
        refusals=int(fields.get("refusals") or 0),
        address_checked=moment("checked"),
        lost=moment("lost"),
        lost_since=moment("losing"),
        losses=int(fields.get("losses") or 0),
    )
