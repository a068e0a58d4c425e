"""A worker process: its drains, its sweep, and how it stops."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import StoreAwayError
from integration.domain.recall import State
from integration.local.sandbox import Sandbox
from integration.mapping.planner import Pending, request_from_fields
from integration.services.configuration import watch_config
from integration.store.client import Store, connect
from integration.store.token_queue import WakeUp
from support import ENVIRON, SOURCES_AND_ROUTES, account, url_of, write_config
from support.waiting import wait_until
from workers import sweeper
from workers.drain import DRAIN_CALLS
from workers.sweeper import SWEEP_DRAINS
from workers.worker import Worker


class WakeUps:
    def __init__(self):
        self.published = []
        self.sources = []

    @property
    def queues(self):
        return [wake_up.queue for wake_up in self.published]

    def publish(self, wake_up):
        self.published.append(wake_up)

    def publish_lookup(self, source):
        self.sources.append(source)


class SilentReporter:
    def dead(self, *told):
        """Nobody listens."""

    def stopped(self, *told):
        """Nobody listens."""

    def consumers_stalled(self, *told):
        """Nobody listens."""

    def alert_begins(self, *told):
        """Nobody listens."""

    def alert_is_over(self, *told):
        """Nobody listens."""

    def swept(self, *told):
        """Nobody listens."""

    def consumers_recovered(self, *told):
        """Nobody listens."""

    def store_lost(self, loss):
        """Nobody listens."""


class Works:
    """A worker's engine over a sandbox, with the store's time in hand."""

    def __init__(self, folder, client, sandbox):
        text = account("bogota", sandbox.url) + account("lima", sandbox.url, zone="Lima", country="PE")
        self.sandbox = sandbox
        self.ahead = timedelta()
        self.wake_ups = WakeUps()
        watch = watch_config(write_config(folder, text + SOURCES_AND_ROUTES), ENVIRON)
        self.store = Store(connect(url_of(client)), clock=self.ms)
        self.engine = Worker(watch, self.store, self.wake_ups, SilentReporter())
        self.services = self.engine.services
        self.services.binding.bind()

    def ms(self):
        return round((datetime.now(UTC) + self.ahead).timestamp() * 1000)

    def ask(self, customer="c1", *, account="bogota"):
        request = request_from_fields(
            self.services.config.accounts[account],
            campaign_id="10",
            customer_id=customer,
            recall_telephone="+57 300 111 2233",
            recall_date=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
            now=datetime.now(UTC),
            source="api:test",
        )
        return self.services.admission.admit_one(
            request, expired=None, key="", fingerprint=""
        ).answer.recalls[0]

    @property
    def queue(self):
        return self.services.queues.bound()["bogota"]

    @property
    def wake_up(self):
        """The latest one that was published."""
        return self.wake_ups.published[-1]

    def state(self, recall):
        return self.services.recalls.records.get(recall).state

    def later(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def works(tmp_path, store):
    with Sandbox() as sandbox:
        works = Works(tmp_path, store, sandbox)
        yield works
        works.engine.stop()


def test_a_wake_up_has_its_queue_drained(works):
    recall = works.ask()
    assert works.wake_ups.queues == [works.queue]
    works.engine.take(works.wake_up)
    assert works.state(recall) is State.ACCEPTED
    assert works.wake_ups.queues == [works.queue]


def test_wake_ups_taken_and_drains_of_the_sweep_are_counted_apart(works):
    works.ask()
    works.engine.take(works.wake_up)
    works.ask("c2")
    works.later(2)
    works.engine.sweeper._sweep_queues()
    health = works.engine.heartbeat.consumer_health
    wait_until(lambda: (health.taken, health.swept) == (1, 1))


def test_a_worker_that_runs_is_seen_and_so_are_its_sweeps(works):
    works.engine.start()

    def seen():
        return [process.swept_at is not None for process in works.services.processes.all()] == [True]

    wait_until(seen)


def test_a_drain_that_leaves_work_behind_publishes_a_wake_up(works):
    # A look-up waits, so the drain goes on for no longer than its due.
    works.store.client.zadd(works.store.key("lookups"), {"lu_1": 1})
    for n in range(DRAIN_CALLS + 1):
        works.ask(f"c{n}")
    works.engine.drain(works.wake_up)
    assert len(works.sandbox.calls()) == DRAIN_CALLS
    assert works.wake_ups.queues == [works.queue, works.queue]
    works.engine.drain(works.wake_up)
    assert len(works.sandbox.calls()) == DRAIN_CALLS + 1
    assert works.wake_ups.queues == [works.queue, works.queue]


def test_a_queue_that_this_configuration_does_not_have_is_left_alone(works):
    recall = works.ask()
    works.services.queues.bind({"bogota": "another queue", "lima": "L2"})
    works.engine.drain(WakeUp("another queue", 1))
    assert works.state(recall) is State.QUEUED
    assert not works.store.client.hexists(works.store.key("queue:another queue"), "owner")


def test_queues_are_known_again_after_the_store_was_emptied(works):
    before = works.ask()
    works.engine.drain(works.wake_up)
    assert works.state(before) is State.ACCEPTED
    old = works.queue
    works.store.client.flushdb()
    # Unbound for the one who admits, who binds again; the worker finds out by the unknown queue.
    after = works.ask("c2")
    assert works.queue != old
    # Nothing is known of calls that may still be running.
    works.later(works.services.config.accounts["bogota"].lease_seconds)
    works.engine.sweeper._sweep_queues()
    assert works.wake_up.queue == works.queue
    works.engine.drain(works.wake_up)
    # By this thread or by one of the sweep: whichever took the wake-up first.
    wait_until(lambda: works.state(after) is State.ACCEPTED)


def test_the_sweep_publishes_the_wake_up_of_a_queue_whose_time_has_come(works):
    works.ask()
    works.store.client.hset(works.store.key(f"queue:{works.queue}"), "wake_up_at", "0")
    works.later(2)
    works.engine.sweeper._sweep_queues()
    assert works.wake_ups.queues == [works.queue] * 2
    assert works.engine.sweeper._draining == []


def test_where_a_wake_up_stays_untaken_the_sweep_drains_the_queue_itself(works):
    recall = works.ask()
    works.later(2)
    works.engine.sweeper._sweep_queues()
    wait_until(lambda: works.state(recall) is State.ACCEPTED)
    # And publishes it again: whether that is taken says how the consumers are.
    assert works.wake_ups.queues == [works.queue] * 2


def test_while_all_threads_are_busy_the_sweep_lets_wake_ups_wait(works):
    recall = works.ask()
    works.engine.sweeper.threads = 1
    works.later(2)
    with works.engine.heartbeat.consumer_health.taking():
        works.engine.sweeper._sweep_queues()
    assert works.wake_ups.queues == [works.queue]
    assert works.state(recall) is State.QUEUED
    works.engine.sweeper._sweep_queues()
    wait_until(lambda: works.state(recall) is State.ACCEPTED)


def test_the_sweep_drains_a_few_queues_at_a_time(works, monkeypatch):
    key, queues, going = works.store.key, [f"queue {n}" for n in range(SWEEP_DRAINS + 5)], threading.Event()
    with works.store.client.pipeline() as pipe:
        for queue in queues:
            pipe.zadd(key(f"queue:{queue}:recalls"), {"rc_1": 1})
            pipe.hset(key(f"queue:{queue}"), mapping={"wake_up_at": works.ms(), "publications": 1})
            pipe.zadd(key("due"), {queue: 1})
        pipe.execute()
    monkeypatch.setattr(works.engine.sweeper, "_drain", lambda _: going.wait(30))
    for _ in range(2):
        works.engine.sweeper._sweep_queues()
        assert len(works.wake_ups.published) == SWEEP_DRAINS
    going.set()
    wait_until(lambda: all(each.done() for each in works.engine.sweeper._draining))
    works.engine.sweeper._sweep_queues()
    assert set(works.wake_ups.queues) == set(queues)


def test_a_thread_of_the_sweep_is_free_again_whatever_became_of_its_drain(works, monkeypatch):
    def fails(_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(works.engine.sweeper, "_drain", fails)
    works.ask()
    works.later(2)
    works.engine.sweeper._sweep_queues()
    wait_until(lambda: works.engine.sweeper._room() == SWEEP_DRAINS)


def test_one_sweep_finds_every_queue_that_is_due(works):
    key = works.store.key
    queues = [f"queue {n}" for n in range(205)]
    with works.store.client.pipeline() as pipe:
        for queue in queues:
            pipe.zadd(key(f"queue:{queue}:recalls"), {"rc_1": 1})
            pipe.zadd(key("due"), {queue: 1})
        pipe.execute()
    works.engine.sweeper._sweep_queues()
    assert set(works.wake_ups.queues) == set(queues)


def test_the_sweep_publishes_wake_ups_of_sources_whose_lookups_are_due(works):
    now = datetime.now(UTC)
    delivery = Delivery(
        id="dl_1", source="hubspot", method="POST", url="", headers={}, body=b"", received_at=now
    )
    pending = Pending(event=Event(data={}, dedup_key="k1", lookup_id="77"))
    works.services.admission.admit(delivery, [pending], b"")
    works.wake_ups.sources.clear()
    works.engine.sweeper._sweep_lookups()
    assert works.wake_ups.sources == ["hubspot"]


def test_a_worker_that_is_stopping_begins_no_drain(works):
    recall = works.ask()
    works.engine.stop()
    works.engine.drain(works.wake_up)
    assert works.state(recall) is State.QUEUED


def test_a_stopped_sweep_ends(works):
    works.engine.start()
    (sweep,) = (thread for thread in threading.enumerate() if thread.name == "sweep")
    works.engine.stop()
    sweep.join(10)
    assert not sweep.is_alive()


def test_a_fault_of_one_step_does_not_end_the_sweep(works):
    ended = threading.Event()

    def store_away():
        raise StoreAwayError("ConnectionError")

    def broken():
        raise ValueError("a mistake of ours")

    for step in (store_away, broken, ended.set):
        works.engine.sweeper._tolerantly(step)
    assert ended.is_set()


def test_the_sweep_takes_up_work_by_itself(works):
    recall = works.ask()
    works.later(2)
    works.engine.start()
    wait_until(lambda: works.state(recall) is State.ACCEPTED)


def test_what_is_old_is_purged_until_nothing_old_is_left(works, monkeypatch):
    monkeypatch.setattr(sweeper, "utc_now", lambda: datetime.now(UTC) + timedelta(days=60))
    key = works.store.key
    with works.store.client.pipeline() as pipe:
        for n in range(450):
            pipe.zadd(key("parked"), {f"pk_{n}": 1})
        pipe.execute()

    def purged():
        works.engine.sweeper._purge()
        return works.store.client.zcard(key("parked")) == 0

    wait_until(purged)


def test_purging_rests_for_a_minute(works, monkeypatch):
    works.engine.sweeper._purge()
    monkeypatch.setattr(sweeper, "purge", lambda *_: pytest.fail("too soon"))
    works.engine.sweeper._purge()
