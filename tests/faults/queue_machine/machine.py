"""The stores, the clock and the workers of the machine, and what all of its rules read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product

import redis
from hypothesis.stateful import RuleBasedStateMachine

from integration.domain.recall import State
from integration.store.client import Store, connect
from integration.store.deliveries import DeliveryStore
from integration.store.recalls import RecallStore
from integration.store.scripting.protocol import EpochLoss
from integration.store.token_queue import QueueSettings, TokenQueues
from support import url_of

from .model import (
    ACCOUNTS,
    DAILY_LIMIT,
    ENDS,
    LEASE,
    QUEUES,
    QUIET,
    START,
    Model,
    Owner,
    Queue,
    StoreCopy,
    View,
)


class Machine(RuleBasedStateMachine):
    """The state that the rules share."""

    def __init__(self, client) -> None:
        super().__init__()
        client.config_set("maxmemory", "0")
        client.flushall()
        self.client = client
        self.raw = redis.Redis.from_url(url_of(client))
        self.time = START
        self.clock = timedelta()
        self.full = False
        self.clock_went_back = False
        # Each store keeps a connection, and a pool counts those that it made.
        self.stores = [
            Store(connect(url_of(client)), clock=self.store_ms, kind=kind)
            for kind in ("worker", "worker", "web")
        ]
        self.store = self.stores[2]
        self.workers = [TokenQueues(store) for store in self.stores[:2]]
        self.used = 0
        self.deliveries = DeliveryStore(self.store)
        self.recalls = RecallStore(self.store)
        self.reports: list[EpochLoss] = []
        for store in self.stores:
            store.report_losses(self.reports.append)
        self.copy: StoreCopy | None = None
        self.model = Model()
        self.owners: list[Owner] = []
        self.asked = 0
        self.states: dict[str, str] = {}

    @property
    def queues(self) -> TokenQueues:
        """The queues as one worker or the other has them, in turn: each has a memory of its own."""
        self.used += 1
        return self.workers[self.used % 2]

    def queues_of(self, owner: Owner) -> TokenQueues:
        return self.workers[owner.process]

    def forget(self, key: tuple[str, str, str]) -> None:
        """With what was known of a customer goes what older requests are measured by."""
        del self.model.requests[key]
        self.model.last.pop(key, None)

    def has_work(self) -> bool:
        return any(state not in ENDS for state in self.states.values())

    def store_ms(self) -> int:
        return round((self.time + self.clock).timestamp() * 1000)

    def terms(self, clock: timedelta) -> QueueSettings:
        local = self.time + clock
        ends = datetime.combine(local.date() + timedelta(days=1), datetime.min.time(), UTC)
        return QueueSettings(
            lease_seconds=LEASE,
            quiet_seconds=QUIET,
            daily_limit=DAILY_LIMIT,
            day=ends.date().isoformat(),
            day_ends=ends,
        )

    def view(self) -> View:
        key = self.store.key
        ids = list(self.model.recalls)
        pairs = list(product(ACCOUNTS, State))
        with self.client.pipeline(transaction=False) as pipe:
            for recall in ids:
                pipe.hgetall(key(f"recall:{recall}"))
            for queue in QUEUES:
                pipe.hgetall(key(f"queue:{queue}"))
                pipe.zrange(key(f"queue:{queue}:recalls"), 0, -1, withscores=True)
                pipe.hgetall(key(f"queue:{queue}:newest"))
            for state in State:
                pipe.zrange(key(f"in:{state}"), 0, -1)
            for account, state in pairs:
                pipe.zrange(key(f"of:{account}:{state}"), 0, -1)
            pipe.zrange(key("due"), 0, -1, withscores=True)
            for state in sorted(ENDS):
                pipe.zrange(key(f"ended:{state}"), 0, -1, withscores=True)
            for account in ACCOUNTS:
                pipe.hgetall(key(f"calendar:{account}"))
                pipe.hgetall(key(f"accepted_calendar:{account}"))
            found = iter(pipe.execute())
        return View(
            recalls={recall: fields for recall in ids if (fields := next(found))},
            queues={queue: Queue(next(found), dict(next(found)), next(found)) for queue in QUEUES},
            by_state={state: next(found) for state in State},
            by_account={pair: next(found) for pair in pairs},
            due=dict(next(found)),
            ended={recall: at for _ in ENDS for recall, at in next(found)},
            calendar={
                (kind, account, *slot.split("\0")): int(count)
                for account in ACCOUNTS
                for kind in ("queued", "accepted")
                for slot, count in next(found).items()
                if slot != "day"
            },
        )

    def key_of(self, recall: str) -> tuple[str, str, str]:
        account, campaign, customer = self.model.recalls[recall]
        return self.model.bound[account], campaign, customer

    def is_newest(self, recall: str, requests: dict | None = None, queue: str | None = None) -> bool:
        own, campaign, customer = self.key_of(recall)
        request = (requests or self.model.requests).get((queue or own, campaign, customer))
        return request is None or request.recall == recall

    def is_paused(self, fields: dict[str, str]) -> bool:
        ends = float(fields.get("paused_until") or 0)
        return bool(fields.get("paused")) and (not ends or ends > self.store_ms())

    def held(self, queue: Queue) -> bool:
        """Tell whether a queue waits, by its latest claim, for what a lost history may have running."""
        return self.held_for(float(queue.fields.get("lease_ms") or 0) / 1000)

    def held_for(self, seconds: float) -> bool:
        """Tell whether claims with such a lease wait for that, or for the other worker to be heard."""
        held, settle = self.client.hmget(self.store.key("store"), "held", "settle")
        lease_ms = seconds * 1000
        return max(float(held or -lease_ms) + lease_ms, float(settle or 0)) > self.store_ms()

    def fill(self, *, full: bool) -> None:
        self.full = full
        self.client.config_set("maxmemory", "1" if full else "0")
