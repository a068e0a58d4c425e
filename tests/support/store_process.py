"""Processes on a store whose clock moves only when told; copies of the store; what is put into it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from integration.domain.delivery import Delivery, Event
from integration.domain.recall import RecallRequest
from integration.mapping.planner import RecallWanted
from integration.services.heartbeat import Heartbeat
from integration.store.client import Store
from integration.store.deliveries import DeliveryStore, RetentionTerms
from integration.store.monitoring.process_registry import ProcessRegistry
from integration.store.recalls import RecallStore
from integration.store.scripting.epoch import StoreEpoch
from integration.store.token_queue import PushResult, QueueSettings, TokenQueues

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LEASE, QUIET = 67.0, 62.0
ACCEPTED = PushResult(kind="ended", state="accepted", reason="wolkvox answered 202", passed=True, sent_ms=50)
KEEPING = RetentionTerms(dedup_hours=168, raw_retention_days=0, config_digest="c1")

_numbers = itertools.count(1)


def terms_of_day(day, *, limit=None, ends=None):
    ends = ends or datetime.fromisoformat(day).replace(tzinfo=UTC) + timedelta(days=1)
    return QueueSettings(lease_seconds=LEASE, quiet_seconds=QUIET, daily_limit=limit, day=day, day_ends=ends)


TERMS = terms_of_day("2026-03-02")


def recall_request(
    customer="c1",
    *,
    account="bogota",
    campaign="10",
    due=NOON + timedelta(hours=1),
    version=NOON,
    source="forms",
):
    return RecallRequest(
        account=account,
        campaign_id=campaign,
        customer_id=customer,
        recall_telephone="3001112233",
        recall_date=due,
        requested_date=due,
        version=version,
        source=source,
    )


def delivery_at(received_at, *, source="forms", body=b"{}", **more):
    fields = {"id": "dl_1", "method": "POST", "url": "", "headers": {}, **more}
    return Delivery(source=source, body=body, received_at=received_at, **fields)


class StoreClock:
    """Moves only when told, but for what the store itself lets go of."""

    def __init__(self):
        self.now = NOON

    def ms(self):
        return round(self.now.timestamp() * 1000)

    def pass_time(self, seconds):
        self.now += timedelta(seconds=seconds)


class StoreProcess:
    """One process on the store: it admits, and works on queues."""

    keeping = KEEPING

    def __init__(self, client, clock, **options):
        self.client = client
        self.clock = clock
        self.store = Store(client, clock=clock.ms, **options)
        self.queues = TokenQueues(self.store)
        self.deliveries = DeliveryStore(self.store)
        self.recalls = RecallStore(self.store)
        self.steps = {}

    def bind(self, **queues):
        return self.queues.bind(queues)

    def event(self, key=None):
        number = next(_numbers)
        return Event(data={"n": number}, dedup_key=key or f"k{number}")

    def admit(self, *outcomes, keeping=None, raw=b"", **delivery):
        return self.deliveries.admit(
            delivery_at(self.clock.now, **delivery), outcomes, keeping or self.keeping, raw=raw
        )

    def ask(self, customer="c1", account="bogota", *, campaign="10", due_minutes=60, version=None, key=None):
        request = recall_request(
            customer,
            account=account,
            campaign=campaign,
            due=NOON + timedelta(minutes=due_minutes),
            version=version or self.clock.now,
        )
        return self.admit(RecallWanted(event=self.event(key), request=request))

    def ask_id(self, *args, **kwargs):
        return self.ask(*args, **kwargs).answer.recalls[0]

    def acquire(self, queue="L1", terms=TERMS):
        return self.queues.acquire(queue, f"n{next(_numbers)}", terms)[0]

    def finish(self, claim, outcome=ACCEPTED, *, queue="L1", more=False, step=None, terms=TERMS):
        if step is None:
            step = self.steps.get((queue, claim.fence), 0) + 1
            self.steps[queue, claim.fence] = step
        return self.queues.finish(queue, claim, step, outcome, more=more, terms=terms)[0]

    def sweep(self, room=9):
        return [(wake_up.queue, times) for wake_up, times in self.queues.sweep(room)]

    def state(self, recall_id):
        return self.recalls.get(recall_id).state


class ClockedProcess(StoreClock, StoreProcess):
    """The only process on its store, and its clock."""

    def __init__(self, client):
        StoreClock.__init__(self)
        StoreProcess.__init__(self, client, self)


class StoreHistory(StoreClock):
    """A store that many processes share, its time, and copies of it."""

    def __init__(self, client):
        super().__init__()
        self.client = client
        self.steady = 1000.0
        self.members = []

    def pass_time(self, seconds):
        super().pass_time(seconds)
        self.steady += seconds

    def copy(self):
        return {key: (self.client.dump(key), self.client.pttl(key)) for key in self.client.keys("*")}

    def contents(self):
        return {key: self.client.dump(key) for key in self.client.keys("*")}

    def put_back(self, copy):
        self.client.flushall()
        for key, (value, ttl) in copy.items():
            self.client.restore(key, max(0, ttl), value, replace=True)


class Member(StoreProcess):
    """One of many processes: its memory of the store, and what it reported."""

    def __init__(self, history, kind="worker", path=None):
        history.members.append(self)
        self.epoch = StoreEpoch(path, clock=lambda: history.steady, wall=lambda: history.steady)
        super().__init__(history.client, history, kind=kind, epoch=self.epoch)
        self.losses = []
        self.store.report_losses(self.losses.append)

    def send(self):
        Heartbeat(ProcessRegistry(self.store), self.store.process_id).send()


def working(*members):
    """Let processes be known to the store as workers."""
    for each in members:
        each.send()
        each.sweep()


def until(claim):
    """Return the moment until which a claim is refused."""
    return datetime.fromtimestamp(claim.until_ms / 1000, UTC)
