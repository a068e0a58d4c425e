"""Heat maps of what is queued: rows of a name and 24 hours, on one clock. Pure; `now` is handed in."""

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
    """An hour of a row, from `begins` to `ends` (aware): how many, how hot from 0 to 5.

    `past`: its time is over and something is queued for it. `closed`: some of it is outside calling hours.
    """

    begins: datetime
    ends: datetime
    count: int
    level: int
    past: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row: what it stands for, how many in all, its hours."""

    name: str
    day: date
    total: int
    cells: tuple[HeatCell, ...]


@dataclass(frozen=True, slots=True)
class _Local:
    """A slot, and when it begins on the clock that is shown."""

    slot: Slot
    at: datetime


class HeatMap:
    """What is queued, on the clock of `zone`; `hours` are the calling hours of accounts that have some."""

    def __init__(
        self, slots: Iterable[Slot], zone: tzinfo, hours: Mapping[str, CallingHours], now: datetime
    ) -> None:
        self._zone = zone
        self._hours = hours
        self._slots = tuple(slots)
        self._by_day: dict[date, list[_Local]] = defaultdict(list)
        self.today = now.astimezone(zone).date()
        self._running = _half_hour(now)
        # Of many accounts and campaigns the half hours are the same few.
        clock: dict[int, datetime] = {}
        midnight = _half_hour(datetime.combine(self.today, time(0), zone))
        for slot in self._slots:
            if slot.half_hour >= midnight:
                local = clock.get(slot.half_hour)
                if local is None:
                    local = clock[slot.half_hour] = _moment(slot.half_hour).astimezone(zone)
                self._by_day[local.date()].append(_Local(slot, local))

    def total(self) -> int:
        """Tell how many are queued in all."""
        return sum(slot.number for slot in self._slots)

    def past_due(self) -> int:
        """Tell how many are queued for half hours that are over."""
        return sum(slot.number for slot in self._slots if slot.half_hour < self._running)

    def beyond(self, last: date) -> int:
        """Tell how many are queued for days after `last`."""
        return sum(each.slot.number for day, found in self._by_day.items() if day > last for each in found)

    def by_day(self, days: int) -> list[HeatRow]:
        """Give a row for today and each of the days after it."""
        wanted = [self.today + timedelta(days=n) for n in range(days)]
        return self._rows([(day.isoformat(), day, self._by_day.get(day, [])) for day in wanted])

    def by_campaign(self, day: date) -> list[HeatRow]:
        """Give a row for each campaign that has something queued on a day, the fullest first."""
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
    """Give how hot a cell is, from 0 for nothing to 5 for the most; few are seen beside many."""
    return math.ceil(LEVELS * math.sqrt(count / max(count, most))) if count > 0 else 0


def local_text(moment: datetime) -> str:
    """Give a moment as a field of a date and time has it: on its own clock, without the zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="minutes")
