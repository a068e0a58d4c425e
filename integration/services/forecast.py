"""Forecasts for accounts: rate, end of the queue and of the daily quota, and recalls at risk.

A queue is assumed to continue at the pace of its recent pushes. Without recent pushes one push a second
is assumed. A queue that is stopped, or paused without an end, makes no pushes, so all its recalls are at
risk.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from integration.domain.timestamps import epoch_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from integration.domain.account import AccountView
    from integration.store.client import Store
    from integration.store.monitoring.time_series import Pace, TimeSeries

PACE_MINUTES: Final = 15
UNKNOWN_PER_MINUTE: Final = 60.0
# The times from now for which the number of due recalls is compared with the number of possible pushes.
HORIZONS: Final = tuple(timedelta(minutes=m) for m in (0, 15, 60, 4 * 60, 12 * 60, 24 * 60))
HORIZON: Final = HORIZONS[-1]
_ENDS: Final = (HORIZONS[0], HORIZON)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The forecast for an account. Times are aware.

    `per_minute` is the number of pushes a minute that its queue can make. `drained_at` is when the queue
    is empty at this rate, without regard to the daily limit. `quota_out_at` is when the daily limit is
    reached at the pace of the last 15 minutes. Both are None if that never happens or is unknown.
    `at_risk` is the estimated number of queued recalls whose date cannot be kept: all recalls of a queue
    that makes no pushes, else those due within `HORIZON` that are pushed after their date, within the
    daily limit.
    """

    pace: Pace
    per_minute: float
    drained_at: datetime | None
    quota_out_at: datetime | None
    at_risk: int


@dataclass(frozen=True, slots=True)
class _Progress:
    """The expected progress of a queue: `rate` pushes a minute from `starts` on, `left` pushes today.

    `left`, `limit` and `resets` are None without a daily limit.
    """

    now: datetime
    rate: float
    starts: datetime
    left: int | None
    limit: int | None
    resets: datetime | None

    def capacity(self, time: timedelta) -> float:
        """Return the number of pushes possible within `time` from now."""
        end = self.now + time
        if self.left is None or self.resets is None or self.limit is None:
            return self._calls(self.starts, end)
        today = min(self.left, self._calls(self.starts, min(end, self.resets)))
        return today + min(self.limit, self._calls(max(self.starts, self.resets), end))

    def _calls(self, begin: datetime, end: datetime) -> float:
        return self.rate * max(0.0, (end - begin).total_seconds()) / 60


def _progress(view: AccountView, pace: Pace, now: datetime, resets: datetime | None) -> _Progress:
    rate = 0.0
    if view.state != "stopped" and (view.state != "paused" or view.until is not None):
        rate = pace.capacity_per_minute or UNKNOWN_PER_MINUTE
    starts = view.until if view.state in {"waiting", "paused"} and view.until else now
    left = None if view.daily_limit is None else max(0, view.daily_limit - view.pushed_today)
    return _Progress(now, rate, max(now, starts), left, view.daily_limit, resets)


def forecast(
    view: AccountView, pace: Pace, due: Mapping[timedelta, int], now: datetime, resets: datetime | None = None
) -> Forecast:
    """Return the forecast for an account.

    `due` maps each horizon to the number of queued recalls that are due within it. `resets` is the time
    of the next quota reset, or None without a daily limit. Times are aware.
    """
    going = _progress(view, pace, now, resets)
    missed = max((max(0, n - int(going.capacity(h))) for h, n in due.items()), default=0)
    return Forecast(
        pace=pace,
        per_minute=going.rate,
        drained_at=_after(view.queued, going.rate, going.starts) if view.queued else None,
        quota_out_at=None if going.left is None else _after(going.left, pace.per_minute, now),
        at_risk=missed if going.rate else view.queued,
    )


def _after(number: float, rate: float, now: datetime) -> datetime | None:
    minutes = number / rate if rate else None
    return None if minutes is None or minutes > 10**6 else now + timedelta(minutes=minutes)


class Forecasts:
    """Computes forecasts from a store."""

    def __init__(self, store: Store, series: TimeSeries) -> None:
        self._store = store
        self._series = series

    def of(
        self,
        views: Sequence[AccountView],
        queues: Mapping[str, str],
        now: datetime,
        resets: Callable[[str], datetime | None],
    ) -> dict[str, Forecast]:
        """Return the forecasts by account. `queues` has the queue ids by account. Raise StoreAwayError.

        `resets` returns the time of an account's next quota reset, or None. Accounts with the same token
        share a queue. While the queue makes pushes, each of them has the recalls at risk of the whole
        queue.
        """
        known = {view.name: view for view in views if view.name in queues}
        paces = self._series.paces(known, now, PACE_MINUTES)
        goings = {name: _progress(view, paces[name], now, resets(name)) for name, view in known.items()}
        queued = [name for name, view in known.items() if view.queued]
        due = self._due({name: queues[name] for name in queued}, goings, now)
        return {
            name: forecast(view, paces[name], due.get(name, {}), now, goings[name].resets)
            for name, view in known.items()
        }

    def _due(
        self, queues: Mapping[str, str], goings: Mapping[str, _Progress], now: datetime
    ) -> dict[str, dict[timedelta, int]]:
        """Return the number of due recalls by account and horizon.

        The horizons between the first and the last are counted only for queues that have more recalls due
        within HORIZON than they can push in 15 minutes.
        """
        due = self._counted(queues, _ENDS, now)
        between = {
            name: queue
            for name, queue in queues.items()
            if goings[name].rate and due[name][HORIZONS[-1]] > goings[name].capacity(HORIZONS[1])
        }
        for name, more in self._counted(between, HORIZONS[1:-1], now).items():
            due[name].update(more)
        return due

    def _counted(
        self, queues: Mapping[str, str], horizons: Sequence[timedelta], now: datetime
    ) -> dict[str, dict[timedelta, int]]:
        ends = [epoch_ms(now + horizon) for horizon in horizons]

        def commands(pipe: Any) -> None:
            for queue in queues.values():
                for end in ends:
                    pipe.zcount(self._store.key(f"queue:{queue}:recalls"), "-inf", end)

        flat = iter(self._store.pipelined(commands))
        return {name: {horizon: next(flat) for horizon in horizons} for name in queues}
