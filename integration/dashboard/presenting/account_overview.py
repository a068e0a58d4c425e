"""The combined state of all accounts. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import AccountView
    from integration.services.forecast import Forecast

_HELD: Final = ("stopped", "paused", "waiting")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaUse:
    """The daily quota of an account: calls used, the limit, and the time of the reset (aware).

    `out_at` is the time at which the quota is used up at the current rate (aware); None if that is not
    before the reset, or unknown.
    """

    account: str
    used: int
    limit: int
    out_at: datetime | None
    resets_at: datetime

    @property
    def share(self) -> float:
        """Return the used share of the limit, from 0.0 to 1.0 or more."""
        return self.used / self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountOverview:
    """The combined figures of all accounts.

    `queues` is the number of accounts by queue state. `oldest` is the account whose oldest queued recall
    waits longest, or None. `drained_at` is the time at which all queues are empty at the current rate
    (aware); None if nothing is queued, or if the time is unknown for one of them. `quotas` begins with
    the largest share used.
    """

    queues: Mapping[str, int]
    queued: int
    dead: int
    oldest: AccountView | None
    at_risk: int
    drained_at: datetime | None
    quotas: Sequence[QuotaUse]

    @property
    def tightest(self) -> QuotaUse | None:
        """Return the quota that is used up first, else the quota with the largest share used.

        Return None if no account has a quota.
        """
        out = [quota for quota in self.quotas if quota.out_at is not None]
        if out:
            return min(out, key=lambda quota: (quota.out_at, quota.account))
        return self.quotas[0] if self.quotas else None

    @property
    def held(self) -> int:
        """Return the number of accounts that are stopped, paused or waiting."""
        return sum(self.queues[state] for state in _HELD)


def overview(
    views: Sequence[AccountView], forecasts: Mapping[str, Forecast], resets: Mapping[str, datetime]
) -> AccountOverview:
    """Return the combined figures of accounts.

    `resets` maps the name of each account with a daily quota to the time of the reset (aware).
    """
    waiting = [view for view in views if view.oldest_seconds is not None]
    ends = [forecasts[view.name].drained_at for view in views if view.queued and view.name in forecasts]
    drained = [end for end in ends if end is not None]
    return AccountOverview(
        queues=Counter(view.state for view in views),
        queued=sum(view.queued for view in views),
        dead=sum(view.dead for view in views),
        oldest=max(waiting, key=lambda view: view.oldest_seconds or 0.0, default=None),
        at_risk=sum(forecast.at_risk for forecast in forecasts.values()),
        drained_at=max(drained, default=None) if len(drained) == len(ends) else None,
        quotas=sorted(_quotas(views, forecasts, resets), key=lambda quota: (-quota.share, quota.account)),
    )


def _quotas(
    views: Iterable[AccountView], forecasts: Mapping[str, Forecast], resets: Mapping[str, datetime]
) -> Iterable[QuotaUse]:
    for view in views:
        if view.daily_limit is None or view.name not in resets:
            continue
        resets_at = resets[view.name]
        out_at = forecasts[view.name].quota_out_at if view.name in forecasts else None
        yield QuotaUse(
            account=view.name,
            used=view.pushed_today,
            limit=view.daily_limit,
            out_at=out_at if out_at is not None and out_at < resets_at else None,
            resets_at=resets_at,
        )
