"""Heat maps of what is queued: rows of a name and 24 hours, on one clock. Pure; `now` is handed in."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from integration.schedule import is_open

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from integration.config import CallingHours
    from workers.agenda import Slot

LEVELS: Final = 5
HOUR: Final = timedelta(hours=1)
HOURS: Final = 24


@dataclass(frozen=True, slots=True)
class Cell:
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
class Row:
    """A row: what it stands for, how many in all, its hours."""

    name: str
    day: date
    total: int
    cells: tuple[Cell, ...]


class Heat:
    """What is queued, on the clock of `zone`; `hours` are the calling hours of accounts that have some."""

    def __init__(
        self, slots: Iterable[Slot], zone: tzinfo, hours: Mapping[str, CallingHours], now: datetime
    ) -> None:
        self._zone = zone
        self._hours = hours
        self._now = now
        self.slots = tuple(slots)
        self.today = now.astimezone(zone).date()

    def past_due(self) -> int:
        """Tell how many are queued for half hours that are over."""
        return sum(slot.count for slot in self.slots if slot.at + HOUR / 2 <= self._now)

    def beyond(self, last: date) -> int:
        """Tell how many are queued for days after `last`."""
        return sum(slot.count for slot in self.slots if self._day(slot) > last)

    def by_day(self, days: int) -> list[Row]:
        """Give a row for today and each of the days after it."""
        wanted = [self.today + timedelta(days=n) for n in range(days)]
        groups: dict[date, list[Slot]] = {day: [] for day in wanted}
        for slot in self.slots:
            groups.get(self._day(slot), []).append(slot)
        return self._rows([(day.isoformat(), day, groups[day]) for day in wanted])

    def by_campaign(self, day: date) -> list[Row]:
        """Give a row for each campaign that has something queued on a day, the fullest first."""
        groups: dict[str, list[Slot]] = defaultdict(list)
        for slot in self.slots:
            if self._day(slot) == day:
                groups[slot.campaign_id].append(slot)
        rows = self._rows([(name, day, found) for name, found in groups.items()])
        return sorted(rows, key=lambda row: (-row.total, row.name))

    def _day(self, slot: Slot) -> date:
        return slot.at.astimezone(self._zone).date()

    def _rows(self, groups: Iterable[tuple[str, date, list[Slot]]]) -> list[Row]:
        drafts = [(name, day, self._by_hour(slots)) for name, day, slots in groups]
        counts = (sum(s.count for s in slots) for _, _, hours in drafts for slots in hours.values())
        most = max(counts, default=0)
        return [self._row(name, day, hours, most) for name, day, hours in drafts]

    def _by_hour(self, slots: Iterable[Slot]) -> dict[int, list[Slot]]:
        hours: dict[int, list[Slot]] = defaultdict(list)
        for slot in slots:
            hours[slot.at.astimezone(self._zone).hour].append(slot)
        return hours

    def _row(self, name: str, day: date, hours: Mapping[int, list[Slot]], most: int) -> Row:
        cells = tuple(self._cell(day, hour, hours.get(hour, []), most) for hour in range(HOURS))
        return Row(name, day, sum(cell.count for cell in cells), cells)

    def _cell(self, day: date, hour: int, slots: list[Slot], most: int) -> Cell:
        begins = datetime.combine(day, time(hour), self._zone)
        count = sum(slot.count for slot in slots)
        return Cell(
            begins=begins,
            ends=begins + HOUR,
            count=count,
            level=level(count, most),
            past=any(slot.at + HOUR / 2 <= self._now for slot in slots),
            closed=any(self._closed(slot) for slot in slots),
        )

    def _closed(self, slot: Slot) -> bool:
        hours = self._hours.get(slot.account)
        return hours is not None and not is_open(hours, slot.at.astimezone(self._zone))


def level(count: int, most: int) -> int:
    """Give how hot a cell is, from 0 for nothing to 5 for the most; by magnitude, so that few are seen."""
    if count <= 0:
        return 0
    return max(1, math.ceil(LEVELS * math.log1p(count) / math.log1p(max(count, most))))


def local_text(moment: datetime) -> str:
    """Give a moment as a field of a date and time has it: on its own clock, without the zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="minutes")
