"""Heat maps of queued recalls: rows of 24 hours in one time zone. Pure: `now` is a parameter."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from integration.domain.schedule import is_open
from integration.domain.timestamps import epoch_seconds, from_epoch_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from integration.domain.account import CallingHours
    from integration.store.monitoring.schedule_histogram import Slot

LEVELS: Final = 5
HOUR: Final = timedelta(hours=1)
HALF: Final = timedelta(minutes=30)
HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One hour of a row, from `begins` to `ends` (aware datetimes).

    `level` is 0 to 5. `past`: recalls are still queued although their time is over. `closed`: some of them
    are due outside calling hours.
    """

    begins: datetime
    ends: datetime
    count: int
    level: int
    past: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of the map: its name, its day, the total and the cells of its hours."""

    name: str
    day: date
    total: int
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class _Local:
    """A slot and its start in the displayed zone."""

    slot: Slot
    at: datetime


class HeatMap:
    """Queued recalls in the time zone `zone`. `hours` maps accounts to their calling hours."""

    def __init__(
        self, slots: Iterable[Slot], zone: tzinfo, hours: Mapping[str, CallingHours], now: datetime
    ) -> None:
        self._zone = zone
        self._hours = hours
        self._slots = tuple(slots)
        self._by_day: dict[date, list[_Local]] = defaultdict(list)
        self.today = now.astimezone(zone).date()
        self._running = _half_hour(now)
        # Cache the conversions: accounts and campaigns share the same few half hours.
        clock: dict[int, datetime] = {}
        midnight = _half_hour(datetime.combine(self.today, time(0), zone))
        for slot in self._slots:
            if slot.half_hour >= midnight:
                local = clock.get(slot.half_hour)
                if local is None:
                    local = clock[slot.half_hour] = _moment(slot.half_hour).astimezone(zone)
                self._by_day[local.date()].append(_Local(slot, local))

    def total(self) -> int:
        """Return the number of queued recalls."""
        return sum(slot.number for slot in self._slots)

    def past_due(self) -> int:
        """Return how many recalls are queued for half hours that are over."""
        return sum(slot.number for slot in self._slots if slot.half_hour < self._running)

    def beyond(self, last: date) -> int:
        """Return how many recalls are queued for days after `last`."""
        return sum(each.slot.number for day, found in self._by_day.items() if day > last for each in found)

    def by_day(self, days: int) -> list[HeatRow]:
        """Return a row for each of `days` days, from today on."""
        wanted = [self.today + timedelta(days=n) for n in range(days)]
        return self._rows([(day.isoformat(), day, self._by_day.get(day, [])) for day in wanted])

    def by_campaign(self, day: date) -> list[HeatRow]:
        """Return a row for each campaign with recalls on a day, largest first."""
        groups: dict[str, list[_Local]] = defaultdict(list)
        for each in self._by_day.get(day, []):
            groups[each.slot.campaign_id].append(each)
        rows = self._rows([(name, day, found) for name, found in groups.items()])
        return sorted(rows, key=lambda row: (-row.total, row.name))

    def _rows(self, groups: Iterable[tuple[str, date, list[_Local]]]) -> list[HeatRow]:
        drafts = [(name, day, _by_hour(found)) for name, day, found in groups]
        counts = (sum(each.slot.number for each in found) for *_, hours in drafts for found in hours.values())
        most = max(counts, default=0)
        return [self._row(name, day, hours, most) for name, day, hours in drafts]

    def _row(self, name: str, day: date, hours: Mapping[int, list[_Local]], most: int) -> HeatRow:
        cells = tuple(self._cell(day, hour, hours.get(hour, []), most) for hour in range(HOURS))
        return HeatRow(name, day, sum(cell.count for cell in cells), cells)

    def _cell(self, day: date, hour: int, found: list[_Local], most: int) -> HeatCell:
        begins = datetime.combine(day, time(hour), self._zone)
        count = sum(each.slot.number for each in found)
        return HeatCell(
            begins=begins,
            ends=begins + HOUR,
            count=count,
            level=level(count, most),
            past=any(each.slot.half_hour < self._running for each in found),
            closed=any(self._closed(account, at) for account, at in {(e.slot.account, e.at) for e in found}),
        )

    def _closed(self, account: str, at: datetime) -> bool:
        hours = self._hours.get(account)
        return hours is not None and not is_open(hours, at)


def _half_hour(moment: datetime) -> int:
    return int(epoch_seconds(moment) // HALF.total_seconds())


def _moment(half_hour: int) -> datetime:
    return from_epoch_seconds(half_hour * HALF.total_seconds())


def _by_hour(found: Iterable[_Local]) -> dict[int, list[_Local]]:
    hours: dict[int, list[_Local]] = defaultdict(list)
    for each in found:
        hours[each.at.hour].append(each)
    return hours


def level(count: int, most: int) -> int:
    """Return the level of a cell: 0 for none, 5 for the largest count. The scale is a square root."""
    return math.ceil(LEVELS * math.sqrt(count / max(count, most))) if count > 0 else 0


def local_text(moment: datetime) -> str:
    """Return a datetime as the value of a `datetime-local` input: local time without a zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="minutes")
