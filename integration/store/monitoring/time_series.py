"""Counts for each minute of the last day, and the push rate of each account.

`TimeSeries.minutes` returns deliveries by result, recalls admitted, pushes by verdict and recalls ended by
state, summed over all processes. `TimeSeries.paces` returns the pushes of accounts. Each takes one round
trip. The counters' totals are saved once a minute. The counts of a minute are the difference of two saved
totals, so the series adds no cost to counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from integration.clients.wolkvox_protocol import VerdictKind
from integration.domain.json_codec import read_json
from integration.domain.recall import ENDS
from integration.domain.timestamps import epoch_seconds, from_epoch_seconds
from integration.telemetry.counters import PUSH_UNIT, RESULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from integration.store.client import Store

TOTALS: Final = (
    "admitted",
    *(f"results:{name}" for name in RESULTS),
    *(f"pushes:{name}" for name in (*VerdictKind, "worker lost")),
    *(f"ended:{state}" for state in ENDS),
)
MOST_MINUTES: Final = 24 * 60
MOST_PACE_MINUTES: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """The counts of the minute that begins at `at` (aware, UTC). The mappings have no zeros."""

    at: datetime
    deliveries: Mapping[str, int]
    admitted: int
    pushes: Mapping[str, int]
    ended: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The pushes of an account in the last `minutes`: their number and total duration in seconds."""

    minutes: int
    pushes: int
    busy_seconds: float

    @property
    def per_minute(self) -> float:
        """Return the number of pushes per minute, idle time included."""
        return self.pushes / self.minutes

    @property
    def capacity_per_minute(self) -> float | None:
        """Return the pushes per minute of busy time, or None if there were no pushes."""
        return 60 * self.pushes / self.busy_seconds if self.pushes and self.busy_seconds else None


class TimeSeries:
    """Reads the time series of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def minutes(self, now: datetime, last: int = 60) -> list[Minute]:
        """Return the `last` minutes (at most a day), oldest first, ending with the current minute.

        Counts of a minute in which no process saved the totals are included in the latest earlier minute
        in which one did. Raise StoreAwayError.
        """
        last = min(last, MOST_MINUTES)
        end = _minute(now)
        begin = end - last + 1
        notes, totals = self._read(range(begin // 60, end // 60 + 1))
        notes[end + 1] = totals
        return list(_differences(notes, begin, end))

    def _read(self, hours: Sequence[int]) -> tuple[dict[int, dict[str, int]], dict[str, int]]:
        def commands(pipe: Any) -> None:
            for hour in hours:
                pipe.hgetall(self._store.key(f"series:{hour}"))
            pipe.hmget(self._store.key("counts"), list(TOTALS))

        *found, values = self._store.pipelined(commands)
        notes = {
            int(minute): {name: int(value) for name, value in read_json(text).items()}
            for hour in found
            for minute, text in hour.items()
        }
        return notes, {name: int(value) for name, value in zip(TOTALS, values, strict=True) if value}

    def paces(self, accounts: Iterable[str], now: datetime, minutes: int = 15) -> dict[str, Pace]:
        """Return the pace of each account over the last `minutes`, at most an hour.

        The current minute counts as a full minute. Raise StoreAwayError.
        """
        names = list(accounts)
        minutes = min(minutes, MOST_PACE_MINUTES)
        if not names:
            return {}

        def commands(pipe: Any) -> None:
            for minute in range(_minute(now) - minutes + 1, _minute(now) + 1):
                pipe.hmget(self._store.key(f"pushed:{minute}"), names)

        columns = zip(*self._store.pipelined(commands), strict=True)
        return {name: _pace(minutes, column) for name, column in zip(names, columns, strict=True)}


def _minute(moment: datetime) -> int:
    return int(epoch_seconds(moment)) // 60


def _pace(minutes: int, values: Iterable[str | None]) -> Pace:
    pushes, ms = divmod(sum(int(value) for value in values if value), PUSH_UNIT)
    return Pace(minutes=minutes, pushes=pushes, busy_seconds=ms / 1000)


def _differences(notes: Mapping[int, Mapping[str, int]], begin: int, end: int) -> Iterator[Minute]:
    following = dict(notes[end + 1])
    made: list[Minute] = []
    for minute in range(end, begin - 1, -1):
        before = notes.get(minute)
        counts = {} if before is None else _grown(before, following)
        following = following if before is None else dict(before)
        made.append(_made(minute, counts))
    return reversed(made)


def _grown(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    # After the store was emptied or replaced, its counts start at zero.
    grown = {name: value - before.get(name, 0) for name, value in after.items()}
    return {name: by if by > 0 else after[name] for name, by in grown.items() if by}


def _made(minute: int, counts: Mapping[str, int]) -> Minute:
    def family(name: str) -> dict[str, int]:
        start = f"{name}:"
        return {key.removeprefix(start): by for key, by in counts.items() if key.startswith(start)}

    return Minute(
        at=from_epoch_seconds(minute * 60),
        deliveries=family("results"),
        admitted=counts.get("admitted", 0),
        pushes=family("pushes"),
        ended=family("ended"),
    )
