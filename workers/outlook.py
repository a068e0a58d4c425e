"""What is to be expected of an account: how fast it goes, when it is through, which dates it cannot keep.

A lane with work goes on at the rate of its own calls; one that made no call within the hour is taken to
make one a second. A stopped or paused one makes none. All of it is a forecast, and said as such.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from workers.desk import AccountView
    from workers.series import Pace, Series
    from workers.store import Store

PACE_MINUTES: Final = 60
UNKNOWN_PER_MINUTE: Final = 60.0
# How far ahead it is asked whether what is due by then can be pushed by then.
HORIZONS: Final = tuple(timedelta(minutes=m) for m in (0, 15, 60, 4 * 60, 12 * 60, 24 * 60))


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The forecast for an account. Calls a minute as seen, and as the lane could; None: never or unknown.

    `drained_at`, `quota_out_at`: when the queue is empty, and the day's calls used up, at that rate.
    `at_risk`: queued recalls that will be pushed after their date, at least; those past it included.
    """

    pace: Pace
    per_minute: float
    drained_at: datetime | None
    quota_out_at: datetime | None
    at_risk: int


def outlook(view: AccountView, pace: Pace, due: Sequence[int], now: datetime) -> Outlook:
    """Forecast an account. `due`: how many of its queued recalls have their date within each horizon."""
    rate = 0.0
    if view.state not in {"stopped", "paused"}:
        rate = pace.capacity_per_minute or UNKNOWN_PER_MINUTE
    waits = max(timedelta(0), view.until - now) if view.state == "waiting" and view.until else timedelta(0)
    return Outlook(
        pace=pace,
        per_minute=rate,
        drained_at=_after(view.queued, rate, now + waits) if view.queued else None,
        quota_out_at=_quota_out(view, pace, now),
        at_risk=max(_beyond(number, rate, h - waits) for number, h in zip(due, HORIZONS, strict=True)),
    )


def _beyond(number: int, rate: float, time: timedelta) -> int:
    """Tell how many of these cannot be pushed in that time."""
    return max(0, number - int(rate * max(0.0, time.total_seconds()) / 60))


def _after(number: float, rate: float, now: datetime) -> datetime | None:
    minutes = number / rate if rate else None
    return None if minutes is None or minutes > 10**6 else now + timedelta(minutes=minutes)


def _quota_out(view: AccountView, pace: Pace, now: datetime) -> datetime | None:
    """Tell when the day's calls are used up as the last hour went, whether or not the day ends before."""
    if view.daily_limit is None:
        return None
    return _after(max(0, view.daily_limit - view.pushed_today), pace.per_minute, now)


class Outlooks:
    """Forecasts from a store."""

    def __init__(self, store: Store, series: Series) -> None:
        self._store = store
        self._series = series

    def of(self, views: Sequence[AccountView], lanes: Mapping[str, str], now: datetime) -> dict[str, Outlook]:
        """Forecast these accounts, whose lanes are given by name. Raises StoreAwayError.

        Accounts on one token share a queue, so that each is at the risk of all of it.
        """
        known = [view for view in views if view.name in lanes]
        paces = self._series.paces([view.name for view in known], now, PACE_MINUTES)
        due = self._due([lanes[view.name] for view in known if view.queued], now)
        none = (0,) * len(HORIZONS)
        return {
            view.name: outlook(view, paces[view.name], due.get(lanes[view.name], none), now) for view in known
        }

    def _due(self, lanes: Sequence[str], now: datetime) -> dict[str, tuple[int, ...]]:
        ends = [round((now + horizon).timestamp() * 1000) for horizon in HORIZONS]

        def read() -> list[Any]:
            with self._store.client.pipeline(transaction=False) as pipe:
                for lane in lanes:
                    for end in ends:
                        pipe.zcount(self._store.key(f"lane:{lane}:queue"), "-inf", end)
                return list(pipe.execute())

        flat = self._store.guarded(read) if lanes else []
        width = len(ends)
        return {lane: tuple(flat[i * width : (i + 1) * width]) for i, lane in enumerate(lanes)}
