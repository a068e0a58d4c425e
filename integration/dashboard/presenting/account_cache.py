"""A cached overview of all accounts, for pages that show all of them.

Up to MOST_AT_ONCE accounts are read for each page. With more, a snapshot is reused. After FRESH_SECONDS a
thread renews the snapshot in the background; after OLDEST_SECONDS a page reads it again itself.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Final

from flask import current_app

from integration.dashboard.presenting.account_overview import overview
from integration.domain.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from flask import Flask

    from integration.dashboard.presenting.account_overview import AccountOverview
    from integration.domain.account import AccountView
    from integration.services.container import Services

MOST_AT_ONCE: Final = 500
FRESH_SECONDS: Final = 4.0
# With an older snapshot, the page waits for a new read.
OLDEST_SECONDS: Final = 30.0
_NAME: Final = "ringback.account_cache"


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """All accounts and their overview. `moment` is the store's time of the read (aware)."""

    views: Sequence[AccountView]
    together: AccountOverview
    moment: datetime


class AccountCache:
    """A thread-safe cache of the snapshot. `clock` returns monotonic seconds."""

    def __init__(self, read: Callable[[], AccountSnapshot], clock: Callable[[], float] = monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[AccountSnapshot, float] | None = None
        self._reading: threading.Thread | None = None

    def now(self) -> AccountSnapshot:
        """Return the snapshot. With more than MOST_AT_ONCE accounts it may be up to OLDEST_SECONDS old.

        Raise StoreAwayError.
        """
        with self._lock:
            kept, age = self._kept, 0.0
            if kept is not None:
                age = self._clock() - kept[1]
                if FRESH_SECONDS < age <= OLDEST_SECONDS:
                    self._begin_reading()
        if kept is None or age > OLDEST_SECONDS:
            return self._renewed()
        return kept[0]

    def _begin_reading(self) -> None:
        if self._reading is None or not self._reading.is_alive():
            self._reading = threading.Thread(
                target=self._read_in_background, name="account-cache", daemon=True
            )
            self._reading.start()

    def _read_in_background(self) -> None:
        try:
            self._renewed()
        except StoreAwayError:
            # The next request raises the error, once the snapshot is too old.
            return

    def _renewed(self) -> AccountSnapshot:
        asked_at = self._clock()
        account_snapshot = self._read()
        with self._lock:
            many = len(account_snapshot.views) > MOST_AT_ONCE
            self._kept = (account_snapshot, asked_at) if many else None
        return account_snapshot


def install(app: Flask, services: Services) -> None:
    """Add the account cache to an application."""
    app.extensions[_NAME] = AccountCache(lambda: read(services))


def account_snapshot() -> AccountSnapshot:
    """Return the snapshot from the cache of the current application. Raise StoreAwayError."""
    cache: AccountCache = current_app.extensions[_NAME]
    return cache.now()


def read(services: Services) -> AccountSnapshot:
    """Return a snapshot of all accounts, with forecasts for those with queued recalls or a daily limit.

    Raise StoreAwayError.
    """
    moment = services.store.now()
    views = services.accounts.all()
    forecasts = services.accounts.forecasts(
        [view for view in views if view.queued or view.daily_limit], moment
    )
    return AccountSnapshot(
        views,
        overview(views, forecasts, services.accounts.quota_resets((view.name for view in views), moment)),
        moment,
    )
