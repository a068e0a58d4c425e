"""The quota day of an account: when it ends. Pure.

wolkvox does not document when the daily limit of a token resets, so `quota_resets_at` is a setting.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from integration.domain.account import Account


def next_reset(account: Account, now: datetime) -> datetime:
    """Return the first reset of the account's quota after `now`, aware, in the account's zone."""
    local = now.astimezone(account.timezone)
    reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    while reset.astimezone(UTC) <= now:
        local += timedelta(days=1)
        reset = datetime.combine(local.date(), account.quota_resets_at, account.timezone)
    return reset


def quota_day(ends: datetime) -> str:
    """Return the ISO date that identifies a quota day: the date on which it ends, in the account's zone."""
    return ends.date().isoformat()
