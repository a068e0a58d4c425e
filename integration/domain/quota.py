"""The day of a token's quota: when it began, when it ends; pure.

wolkvox does not document when the daily limit of a token starts anew, so `quota_resets_at` is a setting.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.domain.account import Account


def next_reset(account: Account, now: datetime) -> datetime:
    """Tell when the account's quota starts anew after `now` (aware, in the account's zone)."""
    local = now.astimezone(account.timezone)
    reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    while reset.astimezone(UTC) <= now:
        local += timedelta(days=1)
        reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    return reset


def quota_day(ends: datetime) -> str:
    """Name a quota's day by the date on which it ends (aware, in the account's zone)."""
    return ends.date().isoformat()
