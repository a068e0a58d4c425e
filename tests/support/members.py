"""Processes on a store with all clocks in hand, each with its own memory of it; and copies of the store."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from integration.domain.delivery import Delivery, Event
from integration.domain.recall import RecallRequest
from integration.mapping.planner import RecallWanted
from integration.services.heartbeat import Heartbeat
from integration.store.client import Store
from integration.store.deliveries import DeliveryStore, RetentionTerms
from integration.store.epoch import StoreEpoch
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.recalls import RecallStore
from integration.store.token_queue import Outcome, Terms, TokenQueues

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LEASE, QUIET = 67.0, 62.0
TERMS = Terms(
    lease_seconds=LEASE,
    quiet_seconds=QUIET,
    daily_limit=None,
    day="2026-03-03",
    day_ends=NOON + timedelta(hours=12),
)
ACCEPTED = Outcome(kind="ended", state="accepted", reason="202", passed=True, sent_ms=5)
KEEPING = RetentionTerms(dedup_hours=168, raw_retention_days=0, config_digest="c1")


class Member:
    """One process on the store: its memory, and what it reported."""

    def __init__(self, world, kind="worker", path=None):
        self.world = world
        world.members.append(self)
        self.epoch = StoreEpoch(path, clock=lambda: world.steady, wall=lambda: world.steady)
        self.store = Store(world.client, clock=world.ms, kind=kind, epoch=self.epoch)
        self.queues = TokenQueues(self.store)
        self.deliveries = DeliveryStore(self.store)
        self.recalls = RecallStore(self.store)
        self.losses = []
        self.store.on_loss = self.losses.append
        self.acquired = 0

    def sweep(self):
        return [(wake_up.queue, times) for wake_up, times in self.queues.sweep(9)]

    def acquire(self, queue="L1"):
        self.acquired += 1
        return self.queues.acquire(queue, f"{self.store.who}-{self.acquired}", TERMS)[0]

    def finish(self, claim, outcome=ACCEPTED, *, more=False):
        return self.queues.finish("L1", claim, 1, outcome, more=more, terms=TERMS)[0]

    def send(self):
        Heartbeat(ProcessRegistry(self.store), self.store.who).send()

    def ask(self, customer="c1", account="bogota", event=None):
        request = RecallRequest(
            account=account,
            campaign_id="1",
            customer_id=customer,
            recall_telephone="3001112233",
            recall_date=NOON,
            requested_date=NOON,
            version=self.world.now,
            source="forms",
        )
        delivery = Delivery(
            id="dl_1", source="forms", method="POST", url="", headers={}, body=b"", received_at=NOON
        )
        outcome = RecallWanted(event=Event(data={}, dedup_key=event or customer), request=request)
        return self.deliveries.admit(delivery, [outcome], KEEPING).answer.recalls[0]


class World:
    """A store, its time, and copies of it."""

    def __init__(self, client):
        self.client = client
        self.now = NOON
        self.steady = 1000.0
        self.members = []

    def ms(self):
        return round(self.now.timestamp() * 1000)

    def passes(self, seconds):
        self.now += timedelta(seconds=seconds)
        self.steady += seconds

    def copy(self):
        return {key: (self.client.dump(key), self.client.pttl(key)) for key in self.client.keys("*")}

    def contents(self):
        return {key: self.client.dump(key) for key in self.client.keys("*")}

    def put_back(self, copy):
        self.client.flushall()
        for key, (value, ttl) in copy.items():
            self.client.restore(key, max(0, ttl), value, replace=True)
