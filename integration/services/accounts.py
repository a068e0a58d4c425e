"""Lists, pauses, resumes, tests and forecasts accounts, with the states of their queues."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from integration.domain.account import AccountView, Pause, next_reset, quota_day
from integration.domain.errors import NotFoundError
from integration.domain.timestamps import from_epoch_ms
from integration.services.connection_probe import ProbeResult, QueueInUseError, probe_in_queue
from integration.services.forecast import Forecast, Forecasts
from integration.store.token_queue import UNTAKEN, held_until, queue_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from integration.domain.account import Account
    from integration.services.binding import QueueBinding
    from integration.services.configuration import Configuration
    from integration.services.wakeup import WakeUpPublisher
    from integration.store.client import Store
    from integration.store.monitoring.process_registry import ProcessRegistry
    from integration.store.monitoring.time_series import TimeSeries
    from integration.store.token_queue import QueueState, TokenQueues

ACCOUNTS_AT_ONCE = 500
# Each test call occupies a web thread until wolkvox has answered.
TEST_CALLS_AT_ONCE = 4
QUEUE_FIELDS = (
    *(
        "stopped",
        "account_removed",
        "paused",
        "paused_until",
        "wait",
        "wait_reason",
        "quiet",
        "lease",
        "lease_ms",
    ),
    *("inflight", "wake_up_at", "publications", "day", "pushed", "paused_by", "paused_at"),
)
"""The fields of a queue in the reply of the script's `account_states` command, as in lua/monitoring.lua."""


LOOKS: Final = 30
LOOK_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class FirstPush:
    """The result of resuming an account. `view` is the account after the resume.

    The values of `what`:

    - `accepted`, `refused`: the answer of wolkvox to the first recall
    - `held`: the queue is stopped, waiting or paused
    - `nothing queued`: there was no recall to push
    - `none yet`: no push ended within LOOKS times LOOK_SECONDS
    """

    what: Literal["accepted", "refused", "held", "nothing queued", "none yet"]
    view: AccountView


class AccountService:
    """Manages the accounts of the configuration and of the store.

    Methods that use the store raise StoreAwayError.
    """

    def __init__(  # noqa: PLR0913  (one argument per subject it works on)
        self,
        *,
        configuration: Configuration,
        store: Store,
        queues: TokenQueues,
        binding: QueueBinding,
        processes: ProcessRegistry,
        time_series: TimeSeries,
        wake_ups: WakeUpPublisher,
    ) -> None:
        self._configuration = configuration
        self._store = store
        self._queues = queues
        self._binding = binding
        self._processes = processes
        self._forecasts = Forecasts(store, time_series)
        self._wake_ups = wake_ups
        self._test_calls = threading.BoundedSemaphore(TEST_CALLS_AT_ONCE)

    def all(self, names: Sequence[str] | None = None) -> list[AccountView]:
        """Return the accounts with these names.

        With `names=None` return the accounts of the configuration, and removed or renamed accounts that
        have queued recalls.
        """
        if names is not None:
            return self._in_parts(names)
        configured = self._configuration.current.accounts
        known = sorted(set(self._queues.bound()) | set(configured))
        return [view for view in self._in_parts(known) if view.queued or view.name in configured]

    def get(self, name: str) -> AccountView:
        """Return one account with its queue. Raise NotFoundError."""
        if name not in self._queues.bound() and name not in self._configuration.current.accounts:
            raise NotFoundError("no such account")
        return self._accounts([name])[0]

    def sharing_token(self, name: str) -> tuple[str, ...]:
        """Return the names of the other accounts that share an account's queue, in order."""
        bound = self._queues.bound()
        queue = bound.get(name)
        return tuple(sorted(other for other, its in bound.items() if its == queue and other != name))

    def pause(self, name: str, reason: str, until: datetime | None = None, *, by: str = "") -> None:
        """Pause an account's queue until it is resumed, or until `until` (aware). Raise NotFoundError.

        `by` is the user or API key that pauses it.
        """
        self._queues.pause(self._binding.queue_of(name), reason, until, by=by)

    def resume(self, name: str) -> None:
        """Resume an account's queue. Raise NotFoundError."""
        wake_up = self._queues.resume(self._binding.queue_of(name))
        if wake_up is not None:
            self._wake_ups.publish(wake_up)

    def resume_and_watch(self, name: str, sleep: Callable[[float], None] = time.sleep) -> FirstPush:
        """Resume an account's queue, and wait a few seconds for its first push. Raise NotFoundError."""
        before, accepted = self.get(name), self._accepted(name)
        self.resume(name)
        for _ in range(LOOKS):
            view = self.get(name)
            if view.state in {"stopped", "waiting", "paused"}:
                return FirstPush("held", view)
            if view.dead > before.dead:
                return FirstPush("refused", view)
            if self._accepted(name) > accepted:
                return FirstPush("accepted", view)
            if not before.queued:
                return FirstPush("nothing queued", view)
            sleep(LOOK_SECONDS)
        return FirstPush("none yet", view)

    def _accepted(self, name: str) -> int:
        """Return the number of an account's recalls that wolkvox accepted and that are in the store.

        The queue's own counter is not used: it includes other accounts, and starts at 0 every day.
        """
        key = self._store.key(f"of:{name}:accepted")
        return int(self._store.guarded(lambda: self._store.client.zcard(key)))

    def test_call(self, name: str) -> ProbeResult:
        """Read an account's campaigns from wolkvox under a lease. This may take as long as a push.

        If no call can be made because the queue is in use or too many test calls are running, the
        result's message says so. Raise NotFoundError for an account that is not in the configuration.
        """
        account = self._configuration.current.accounts.get(name)
        if account is None:
            raise NotFoundError("no such account in the configuration")
        if not self._test_calls.acquire(blocking=False):
            return ProbeResult(
                good=False,
                message="no test call was made: too many test calls are running; try again in a moment",
            )
        try:
            queue = self._binding.queue_of(name)
            return probe_in_queue(self._queues, queue, account, self._wake_ups.publish)
        except QueueInUseError as error:
            return ProbeResult(good=False, message=f"no test call was made: {error}")
        finally:
            self._test_calls.release()

    def forecasts(self, views: Sequence[AccountView], now: datetime) -> dict[str, Forecast]:
        """Return the forecasts by account. Accounts without a queue are left out. `now` is aware."""
        accounts = self._configuration.current.accounts
        limited = {name for name, account in accounts.items() if account.daily_limit}
        return self._forecasts.of(
            views,
            self._queues.bound(),
            now,
            lambda name: next_reset(accounts[name], now) if name in limited else None,
        )

    def quota_resets(self, names: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Return the time (aware) of the next quota reset, for each account that has a daily limit."""
        days, known = _Days(now), self._configuration.current.accounts
        limited = (name for name in names if name in known and known[name].daily_limit is not None)
        return {name: days.ends(known[name]) for name in limited}

    def due_lag_seconds(self) -> float:
        """Return the longest time in seconds that a due queue has waited for a worker, 0 if none is due."""
        key = self._store.key("due")
        due = self._store.guarded(lambda: self._store.client.zrange(key, 0, 0, withscores=True))
        return max(0.0, (self._store.now_ms() - due[0][1]) / 1000) if due else 0.0

    def _in_parts(self, names: Sequence[str]) -> list[AccountView]:
        views: list[AccountView] = []
        for start in range(0, len(names), ACCOUNTS_AT_ONCE):
            views += self._accounts(names[start : start + ACCOUNTS_AT_ONCE])
        return views

    def _accounts(self, names: Sequence[str]) -> list[AccountView]:
        """Return accounts, read in one round trip. The caller limits their number."""
        now_ms, held, found = self._store.call("account_states", orjson.dumps(list(names)))
        days = _Days(from_epoch_ms(now_ms))
        views = [
            self._view(name, reply, held and str(held), now_ms, days)
            for name, reply in zip(names, found, strict=True)
        ]
        return self._with_stalled_workers(views)

    def _with_stalled_workers(self, views: list[AccountView]) -> list[AccountView]:
        """Add a reason to queues that wait because the Celery consumers of all workers are stalled."""
        if not any(_lacks_reason(view) for view in views):
            return views
        workers = [process for process in self._processes.all() if process.kind == "worker"]
        stalled = [worker.stalled_since for worker in workers if worker.stalled_since is not None]
        if not stalled or len(stalled) < len(workers):
            return views
        since = f"{min(stalled):%Y-%m-%d %H:%M:%S} UTC"
        reason = (
            f"workers have taken no wake-ups since {since}, so callbacks are sent late: check BROKER_URL, "
            "then restart the workers"
        )
        return [replace(view, reason=reason) if _lacks_reason(view) else view for view in views]

    def _view(
        self, name: str, reply: Sequence[Any], held: str | None, now_ms: int, days: _Days
    ) -> AccountView:
        *values, queued, dead, arrived = reply
        fields = dict(zip(QUEUE_FIELDS, values, strict=True))
        account = self._configuration.current.accounts.get(name)
        lease = float(fields["lease_ms"] or 0) / 1000 if account is None else account.lease_seconds
        today = None if account is None else days.of(account)
        state = queue_state(fields, now_ms=now_ms, today=today, held_ms=held_until(held, lease))
        return AccountView(
            name=name,
            state=state.state,
            reason=state.reason,
            until=state.until,
            queued=queued,
            dead=dead,
            pushed_today=state.pushed_today,
            daily_limit=None if account is None else account.daily_limit,
            oldest_seconds=max(0.0, (now_ms - int(arrived)) / 1000) if arrived else None,
            pause=_pause_of(state, fields),
        )


def _pause_of(state: QueueState, fields: Mapping[str, str]) -> Pause | None:
    at = fields["paused_at"]
    return Pause(fields["paused_by"], from_epoch_ms(at)) if state.state == "paused" and at else None


class _Days:
    """The quota days of accounts at one time. They are cached, because many accounts share a reset time."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._known: dict[tuple[Any, Any], datetime] = {}

    def ends(self, account: Account) -> datetime:
        clock = account.timezone, account.quota_resets_at
        if clock not in self._known:
            self._known[clock] = next_reset(account, self._now)
        return self._known[clock]

    def of(self, account: Account) -> str:
        return quota_day(self.ends(account))


def _lacks_reason(view: AccountView) -> bool:
    """Return True if an account has queued recalls and no reason why they wait."""
    return view.queued > 0 and (
        view.state == "busy" or (view.state == "idle" and view.reason in {None, UNTAKEN})
    )
