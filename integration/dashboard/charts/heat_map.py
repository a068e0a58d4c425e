"""Heat maps of queued and accepted recalls: rows of 24 hours in one time zone. Pure."""

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

    from integration.domain.account import Account, CallingHours
    from integration.store.monitoring.schedule_histogram import Slot

LEVELS: Final = 5
HOUR: Final = timedelta(hours=1)
HALF: Final = timedelta(minutes=30)
HOURS: Final = 24
MOST_CALLING_HOURS: Final = 8


@dataclass(frozen=True, slots=True)
class HeatCell:
    """One hour of a row, from `begins` to `ends` (aware datetimes).

    `queued` and `accepted` are numbers of recalls. `level`, from 0 to 5, is that of their sum. `over`:
    the hour has passed. `past`: recalls are still queued for a half hour that has passed. `closed`: some
    recalls are due outside the calling hours of their account, or `_all_closed` is true for the hour.
    """

    begins: datetime
    ends: datetime
    queued: int
    accepted: int
    level: int
    over: bool
    past: bool
    closed: bool


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A row of the map: a name, a day, the number of recalls, and the cells of the 24 hours."""

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
    """Queued and accepted recalls of accounts by day and hour in the time zone `zone`. `now` is aware.

    Calling hours are in the time zone of their account.
    """

    def __init__(
        self, slots: Iterable[Slot], zone: tzinfo, accounts: Mapping[str, Account], now: datetime
    ) -> None:
        self._zone = zone
        self._now = now
        self._hours = {name: (each.calling_hours, each.timezone) for name, each in accounts.items()}
        self._distinct_hours = frozenset(self._hours.values())
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

    def queued(self) -> int:
        """Return the number of queued recalls."""
        return sum(slot.queued for slot in self._slots)

    def accepted(self) -> int:
        """Return the number of accepted recalls for the current half hour and later ones."""
        return sum(slot.accepted for slot in self._slots if slot.half_hour >= self._running)

    def past_due(self) -> int:
        """Return the number of recalls queued for half hours that have passed."""
        return sum(slot.queued for slot in self._slots if slot.half_hour < self._running)

    def beyond(self, last: date) -> int:
        """Return the number of queued and accepted recalls for days after `last`."""
        return sum(_number(found) for day, found in self._by_day.items() if day > last)

    def by_day(self, days: int) -> list[HeatRow]:
        """Return a row for each of the next `days` days, beginning with today."""
        wanted = [self.today + timedelta(days=n) for n in range(days)]
        return self._rows([(day.isoformat(), day, self._by_day.get(day, [])) for day in wanted])

    def by_campaign(self, day: date) -> list[HeatRow]:
        """Return a row for each campaign with recalls on a day from today on, largest first."""
        groups: dict[str, list[_Local]] = defaultdict(list)
        for each in self._by_day.get(day, []):
            groups[each.slot.campaign_id].append(each)
        rows = self._rows([(name, day, found) for name, found in groups.items()])
        return sorted(rows, key=lambda row: (-row.total, row.name))

    def _rows(self, groups: Iterable[tuple[str, date, list[_Local]]]) -> list[HeatRow]:
        drafts = [(name, day, _by_hour(found)) for name, day, found in groups]
        counts = (_number(found) for *_, hours in drafts for found in hours.values())
        most = max(counts, default=0)
        return [self._row(name, day, hours, most) for name, day, hours in drafts]

    def _row(self, name: str, day: date, hours: Mapping[int, list[_Local]], most: int) -> HeatRow:
        cells = tuple(self._cell(day, hour, hours.get(hour, []), most) for hour in range(HOURS))
        return HeatRow(name, day, sum(cell.queued + cell.accepted for cell in cells), cells)

    def _cell(self, day: date, hour: int, found: list[_Local], most: int) -> HeatCell:
        begins = datetime.combine(day, time(hour), self._zone)
        dates = {(each.slot.account, each.at) for each in found}
        return HeatCell(
            begins=begins,
            ends=begins + HOUR,
            queued=sum(each.slot.queued for each in found),
            accepted=sum(each.slot.accepted for each in found),
            level=level(_number(found), most),
            over=begins + HOUR <= self._now,
            past=any(each.slot.queued and each.slot.half_hour < self._running for each in found),
            closed=self._all_closed(begins) or any(_is_closed(*self._hours[name], at) for name, at in dates),
        )

    def _all_closed(self, begins: datetime) -> bool:
        """Return True if both half hours are outside the calling hours of all accounts.

        Return False without accounts, and with more than MOST_CALLING_HOURS different calling hours.
        """
        return 0 < len(self._distinct_hours) <= MOST_CALLING_HOURS and all(
            _is_closed(*hours, begins) and _is_closed(*hours, begins + HALF) for hours in self._distinct_hours
        )


def _is_closed(hours: CallingHours | None, zone: tzinfo, at: datetime) -> bool:
    return hours is not None and not is_open(hours, at.astimezone(zone))


def _number(found: Iterable[_Local]) -> int:
    return sum(each.slot.queued + each.slot.accepted for each in found)


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
    """Return the level of a cell, from 0 for no recalls to 5 for `most`, on a square-root scale."""
    return math.ceil(LEVELS * math.sqrt(count / max(count, most))) if count > 0 else 0


def local_text(moment: datetime) -> str:
    """Return a datetime as the value of a `datetime-local` input: its local time, without the zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="minutes")
