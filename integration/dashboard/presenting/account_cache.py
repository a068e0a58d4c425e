"""How all accounts stand, for pages that look at all of them.

Up to MOST_AT_ONCE accounts are read for each page. Where there are more, a page is given what was read a few
seconds ago, and while it is drawn they are read anew, so that nobody waits for thousands of them.
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
# A page that was not looked at for longer than this waits for what is true now.
OLDEST_SECONDS: Final = 30.0
_NAME: Final = "ringback.standings"


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """All accounts, and what they come to together, at one moment of the store's clock (aware)."""

    views: Sequence[AccountView]
    together: AccountOverview
    moment: datetime


class AccountCache:
    """Reads how all accounts stand. `clock` gives seconds that only grow; may be used from many threads."""

    def __init__(self, read: Callable[[], AccountSnapshot], clock: Callable[[], float] = monotonic) -> None:
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: tuple[AccountSnapshot, float] | None = None
        self._reading: threading.Thread | None = None

    def now(self) -> AccountSnapshot:
        """Give how they stand, or stood a few seconds ago where they are many. Raises StoreAwayError."""
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
            self._reading = threading.Thread(target=self._read_aside, name="standings", daemon=True)
            self._reading.start()

    def _read_aside(self) -> None:
        try:
            self._renewed()
        except StoreAwayError:
            # Whoever asks next is told, once what is kept is too old.
            return

    def _renewed(self) -> AccountSnapshot:
        asked_at = self._clock()
        account_snapshot = self._read()
        with self._lock:
            many = len(account_snapshot.views) > MOST_AT_ONCE
            self._kept = (account_snapshot, asked_at) if many else None
        return account_snapshot


def install(app: Flask, services: Services) -> None:
    """Keep the standings of an application's services."""
    app.extensions[_NAME] = AccountCache(lambda: read(services))


def account_snapshot() -> AccountSnapshot:
    """Give how all accounts stand. Raises StoreAwayError."""
    standings: AccountCache = current_app.extensions[_NAME]
    return standings.now()


def read(services: Services) -> AccountSnapshot:
    """Read all accounts, with the forecasts of those that have work or a limit. Raises StoreAwayError."""
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
