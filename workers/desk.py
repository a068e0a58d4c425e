"""What the web and the command line ask of the ledger, in the words of the contract.

Reads the configuration that counts now, admits, finds, retries, cancels, pauses; rings whatever has to
be rung. It holds no state of its own beyond what it can read again.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from integration.clock import from_epoch_ms
from integration.errors import StoreAwayError, StoreUnsafeError, UnboundError, UnknownError
from integration.mapping import RouteBook
from integration.redaction import remember_secrets, secrets_of
from integration.store_check import assure
from integration.tally import Tally
from workers.agenda import Agenda
from workers.alerts import Alerts
from workers.arrivals import Arrivals
from workers.audit import Audit
from workers.inquiry import Answer, LaneInUseError, ask_in_lane
from workers.jobs import Jobs, retry_date
from workers.lane import UNTAKEN, Lanes, held_until, lane_id, lane_state
from workers.ledger import PURGED, Admitted, Keeping, Kept, Ledger, kept_parked
from workers.outlook import Outlook, Outlooks
from workers.parking import Parking, Which, remap
from workers.person import People
from workers.processes import Processes
from workers.quota import next_reset, quota_day
from workers.recalls import Recalls
from workers.senders import Senders
from workers.series import Series
from workers.sessions import Sessions
from workers.tallies import Tallies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from integration.config import Account, Config
    from integration.config_file import ConfigWatch
    from integration.delivery import Delivery
    from integration.plan import Outcome
    from integration.recall import RecallRequest
    from workers.parking import Remapped
    from workers.store import Store
    from workers.wakeup import WakeUpPublisher

log = structlog.get_logger("ringback.desk")

ACCOUNTS_AT_ONCE = 500
# Each keeps a thread of the web for as long as wolkvox takes to answer.
TEST_CALLS_AT_ONCE = 4
STOOD = (
    *("stopped", "gone", "paused", "paused_until", "wait", "wait_reason", "quiet", "lease", "lease_ms"),
    *("inflight", "rung", "rings", "day", "pushed"),
)
"""The fields of a lane that `stand` gives, as in lua/monitoring.lua."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountView:
    """An account with its lane, as the contract's `/v1/accounts` shows it. `until` is aware, UTC."""

    name: str
    state: str
    reason: str | None
    until: datetime | None
    queued: int
    dead: int
    pushed_today: int
    daily_limit: int | None
    oldest_seconds: float | None


class Desk:
    """One process's way to the ledger."""

    def __init__(
        self,
        watch: ConfigWatch,
        store: Store,
        wake_ups: WakeUpPublisher,
        tally: Tally | None = None,
    ) -> None:
        """Work on a store."""
        self.watch = watch
        self.store = store
        self.lanes = Lanes(store)
        self.ledger = Ledger(store)
        self.recalls = Recalls(store)
        self.jobs = Jobs(store, self.recalls, wake_ups.publish)
        self.agenda = Agenda(store)
        self.people = People(store, self.recalls)
        self.arrivals = Arrivals(store)
        self.parking = Parking(store)
        self.processes = Processes(store)
        self.alerts = Alerts(store)
        self.series = Series(store)
        self.senders = Senders(store)
        self.audit = Audit(store)
        self.sessions = Sessions(store)
        self._outlooks = Outlooks(store, self.series)
        self.tally = Tally() if tally is None else tally
        self.tallies = Tallies(store, self.tally)
        self.wake_ups = wake_ups
        self._test_calls = threading.BoundedSemaphore(TEST_CALLS_AT_ONCE)
        self._book: RouteBook | None = None
        self._bound: Config | None = None
        self._bound_in = ""
        self._masked: Config | None = None
        self._assured = False

    @property
    def config(self) -> Config:
        """Give the configuration that counts now; a changed file is taken up here."""
        self.watch.refresh()
        config = self.watch.current
        if config is not self._masked:
            remember_secrets(secrets_of(config))
            self._masked = config
        return config

    def cookie_key(self) -> bytes:
        """Give the key that signs the dashboard's cookies. Raises StoreAwayError."""
        return self.store.secret("cookie_key")

    @property
    def book(self) -> RouteBook:
        """Give the compiled routes of that configuration."""
        config = self.config
        if self._book is None or self._book.config is not config:
            self._book = RouteBook.of(config)
        return self._book

    def keeping(self, source: str) -> Keeping:
        """Tell how events of a source are remembered."""
        config = self.config
        return Keeping(
            dedup_hours=config.sources[source].dedup_hours,
            raw_retention_days=config.store.raw_retention_days,
            config_digest=config.digest,
        )

    def look_at_store(self) -> None:
        """Make sure, once, that the store keeps what it acknowledges.

        Raises StoreUnsafeError, and StoreAwayError when it cannot be asked now.
        """
        if not self._assured:
            accept_loss = self.config.store.accept_loss
            self.store.guarded(lambda: assure(self.store.client, accept_loss=accept_loss))
            self._assured = True

    def bind(self) -> int:
        """Give the accounts of the present configuration their lanes, once per configuration.

        Gives 0, or the epoch milliseconds at which it is to be called again (a call may still be
        running on an old token). Raises StoreAwayError.
        """
        config = self.config
        if self._bound is config and self._bound_in == self.store.witness.history:
            return 0
        if self._bound_in != self.store.witness.history:
            # Another store than before, or the same from before: nothing that was known of it holds.
            self._assured = False
        try:
            self.look_at_store()
        except StoreUnsafeError as error:
            log.error("the store may lose what it takes, so nothing is taken", why=str(error))
            raise StoreAwayError("the store may lose what it takes") from error
        key = self.lanes.id_key()
        later = self.lanes.bind(lane_ids(config, key))
        if later == 0:
            self._bound, self._bound_in = config, self.store.witness.history
        return later

    def admit(self, delivery: Delivery, outcomes: Sequence[Outcome], raw: bytes) -> Admitted:
        """Store what follows from a delivery and publish wake-ups. Raises StoreAwayError."""
        keeping = self.keeping(delivery.source)
        admitted = self._bound_first(lambda: self.ledger.admit(delivery, outcomes, keeping, raw=raw))
        self._wake(admitted)
        return admitted

    def admit_one(
        self, request: RecallRequest, *, expired: str | None, key: str, fingerprint: str
    ) -> Admitted:
        """Store one recall that was asked for directly, and publish wake-ups. Raises StoreAwayError."""
        admitted = self._bound_first(
            lambda: self.ledger.admit_one(request, expired=expired, key=key, fingerprint=fingerprint)
        )
        self._wake(admitted)
        return admitted

    def _bound_first(self, act: Callable[[], Admitted]) -> Admitted:
        self.bind()
        try:
            return act()
        except UnboundError:
            # The store is another one than it was: emptied, or restored from before.
            self._bound = None
            self.bind()
            return act()

    def _wake(self, admitted: Admitted) -> None:
        for wake_up in admitted.wake_ups:
            self.wake_ups.publish(wake_up)
        if admitted.lookup is not None:
            self.wake_ups.publish_lookup(admitted.lookup)

    def cancel(self, recall_id: str, reason: str) -> None:
        """Take a queued recall back. Raises UnknownError, ConflictError, StoreAwayError."""
        for wake_up in self.recalls.cancel(recall_id, reason):
            self.wake_ups.publish(wake_up)

    def retry(self, recall_id: str, reason: str, now: datetime) -> None:
        """Queue a dead or expired recall again; a date that has passed becomes as soon as may be.

        Raises UnknownError, ConflictError, StoreAwayError.
        """
        recall = self.recalls.get(recall_id)
        date = retry_date(self.config.accounts.get(recall.account), recall, now)
        for wake_up in self.recalls.retry(recall_id, reason, date=date):
            self.wake_ups.publish(wake_up)

    def accounts(self, names: Sequence[str] | None = None) -> list[AccountView]:
        """Give accounts with their lanes, by name; None means all that the ledger knows."""
        if names is None:
            names = sorted(set(self.lanes.bound()) | set(self.config.accounts))
        views: list[AccountView] = []
        for start in range(0, len(names), ACCOUNTS_AT_ONCE):
            views += self._accounts(names[start : start + ACCOUNTS_AT_ONCE])
        return views

    def outlooks(self, views: Sequence[AccountView], now: datetime) -> dict[str, Outlook]:
        """Forecast accounts: rate, time to drain, dates at risk, when the quota is used up.

        Left out: those that have no lane yet. Raises StoreAwayError.
        """
        accounts = self.config.accounts
        limited = {name for name, account in accounts.items() if account.daily_limit}
        return self._outlooks.of(
            views,
            self.lanes.bound(),
            now,
            lambda name: next_reset(accounts[name], now) if name in limited else None,
        )

    def now(self) -> datetime:
        """Tell the time by the store's clock (aware, UTC). Raises StoreAwayError."""
        return from_epoch_ms(self.store.now_ms())

    def quota_resets(self, names: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Tell when the day's calls begin anew, for each of these accounts that has a limit."""
        days, known = _Days(now), self.config.accounts
        limited = (name for name in names if name in known and known[name].daily_limit is not None)
        return {name: days.ends(known[name]) for name in limited}

    def test_call(self, name: str) -> Answer:
        """Ask wolkvox for an account's campaigns, holding its lane meanwhile. Takes as long as a push may.

        Raises UnknownError for an account that is not in the configuration, StoreAwayError.
        """
        account = self.config.accounts.get(name)
        if account is None:
            raise UnknownError("no such account in the configuration")
        if not self._test_calls.acquire(blocking=False):
            return Answer(good=False, told="not asked: too many test calls are under way here")
        try:
            return ask_in_lane(self.lanes, self._lane(name), account, self.wake_ups.publish)
        except LaneInUseError as error:
            return Answer(good=False, told=f"not asked: {error}")
        finally:
            self._test_calls.release()

    def sharing(self, name: str) -> tuple[str, ...]:
        """Name the other accounts on an account's lane. Raises StoreAwayError."""
        bound = self.lanes.bound()
        lane = bound.get(name)
        return tuple(sorted(other for other, its in bound.items() if its == lane and other != name))

    def account(self, name: str) -> AccountView:
        """Give one account with its lane. Raises UnknownError."""
        bound = self.lanes.bound()
        if name not in bound and name not in self.config.accounts:
            raise UnknownError("no such account")
        return self._accounts([name])[0]

    def pause(self, name: str, reason: str, until: datetime | None = None) -> None:
        """Pause an account's lane, until somebody resumes it or until a moment. Raises UnknownError."""
        self.lanes.pause(self._lane(name), reason, until)

    def resume(self, name: str) -> None:
        """Resume an account's lane. Raises UnknownError."""
        wake_up = self.lanes.resume(self._lane(name))
        if wake_up is not None:
            self.wake_ups.publish(wake_up)

    def _lane(self, name: str) -> str:
        self.bind()
        lane = self.lanes.bound().get(name)
        if lane is None:
            raise UnknownError("no such account")
        return lane

    def _accounts(self, names: Sequence[str]) -> list[AccountView]:
        """Give a bounded number of accounts in one round trip."""
        now_ms, held, found = self.store.call("stand", orjson.dumps(list(names)))
        days = _Days(from_epoch_ms(now_ms))
        views = [
            self._view(name, told, held and str(held), now_ms, days)
            for name, told in zip(names, found, strict=True)
        ]
        return self._with_deafness(views)

    def _with_deafness(self, views: list[AccountView]) -> list[AccountView]:
        """Say of lanes with work that no worker hears their doorbells, where that is so."""
        if not any(_lacks_reason(view) for view in views):
            return views
        workers = [process for process in self.processes.all() if process.kind == "worker"]
        deaf = [worker.deaf_since for worker in workers if worker.deaf_since is not None]
        if not deaf or len(deaf) < len(workers):
            return views
        reason = f"workers take no doorbells since {min(deaf):%Y-%m-%d %H:%M:%S} UTC: the sweep takes turns"
        return [replace(view, reason=reason) if _lacks_reason(view) else view for view in views]

    def _view(
        self, name: str, told: Sequence[Any], held: str | None, now_ms: int, days: _Days
    ) -> AccountView:
        *values, queued, dead, arrived = told
        fields = dict(zip(STOOD, values, strict=True))
        account = self.config.accounts.get(name)
        lease = float(fields["lease_ms"] or 0) / 1000 if account is None else account.lease_seconds
        today = None if account is None else days.of(account)
        state = lane_state(fields, now_ms=now_ms, today=today, held_ms=held_until(held, lease))
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
        )

    def remap(
        self,
        *,
        now: datetime,
        group: str | None = None,
        source: str | None = None,
        route: str | None = None,
        cursor: str | None = None,
        seconds: float = math.inf,
    ) -> Remapped:
        """Remap parked events, with the configuration as it is now, for about so many seconds.

        What is parked meanwhile is not remapped twice. Raises StoreAwayError, UnknownError for a bad cursor.
        """
        which = Which(group=group, source=source, route=route)
        return remap(self, which, now, cursor=cursor, seconds=seconds)

    def parked_event(self, parked: str) -> Kept:
        """Return one parked event as it came. Raises UnknownError, StoreAwayError."""
        return kept_parked(self.parking.get(parked))

    def resolve(self, kept: Kept, outcomes: Sequence[Outcome], *, parked: bool) -> Admitted | None:
        """Put what kept events turned out to be in their place, and ring. None: somebody else did."""
        self.bind()
        keeping = self.keeping(kept.delivery.source)
        admitted = self.ledger.resolve(kept, outcomes, keeping, parked=parked)
        if admitted is not None:
            self._wake(admitted)
        return admitted

    def due_lag_seconds(self) -> float:
        """Tell for how long the lane that is due longest has waited for a worker. Raises StoreAwayError."""
        key = self.store.key("due")
        due = self.store.guarded(lambda: self.store.client.zrange(key, 0, 0, withscores=True))
        return max(0.0, (self.store.now_ms() - due[0][1]) / 1000) if due else 0.0

    def counts(self) -> dict[str, int]:
        """Tell what happened how often since the store was made."""
        counts = self.store.guarded(lambda: self.store.client.hgetall(self.store.key("counts")))
        return {name: int(value) for name, value in counts.items()}

    def purge(self, now: datetime) -> int:
        """Remove a bounded number of things that are over; the audit log goes with the last recalls."""
        config = self.config
        listed = timedelta(days=max(1, config.store.raw_retention_days))
        self.arrivals.trim(config.sources, before=now - listed)
        before = {kind: now - timedelta(days=config.store.days_of(kind)) for kind in PURGED}
        return self.ledger.purge(before=before) + self.audit.purge(before=min(before.values()))


class _Days:
    """The quota's day of accounts at one moment: thousands of them have the same clock."""

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
    """Tell whether nothing but its workers' hearing says why the account's recalls wait."""
    return view.queued > 0 and (
        view.state == "busy" or (view.state == "idle" and view.reason in {None, UNTAKEN})
    )


def lane_ids(config: Config, key: bytes) -> dict[str, str]:
    """Name the lane of every account."""
    return {name: lane_id(key, account.token.get_secret_value()) for name, account in config.accounts.items()}


def accounts_by_lane(config: Config, key: bytes) -> dict[str, tuple[Account, ...]]:
    """Give the accounts that share each lane."""
    lanes: dict[str, list[Account]] = {}
    for name, lane in lane_ids(config, key).items():
        lanes.setdefault(lane, []).append(config.accounts[name])
    return {lane: tuple(accounts) for lane, accounts in lanes.items()}
