"""A worker process: its drains, its sweep, and how it stops."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery, Event
from integration.domain.errors import StoreAwayError
from integration.domain.recall import State
from integration.mapping.planner import Pending
from integration.services.configuration import watch_config
from integration.store.client import Store, connect
from integration.store.token_queue import WakeUp
from support import ENVIRON, SOURCES_AND_ROUTES, two_accounts, url_of, write_config
from support.installation import Installation
from support.reporters import SilentReporter
from support.waiting import wait_until
from support.wake_ups import WakeUps
from workers import sweeper
from workers.drain import DRAIN_CALLS
from workers.sweeper import SWEEP_DRAINS
from workers.worker import Worker


class EngineInstallation(Installation):
    """A worker's engine over a sandbox, with the store's time in hand."""

    def __init__(self, folder, client, sandbox):
        self.sandbox = sandbox
        self.ahead = timedelta()
        self.wake_ups = WakeUps()
        watch = watch_config(write_config(folder, two_accounts(sandbox.url) + SOURCES_AND_ROUTES), ENVIRON)
        self.store = Store(connect(url_of(client)), clock=self.ms)
        self.engine = Worker(watch, self.store, self.wake_ups, SilentReporter())
        super().__init__(self.engine.services)
        self.services.binding.bind()

    def ms(self):
        return round((datetime.now(UTC) + self.ahead).timestamp() * 1000)

    @property
    def wake_up(self):
        """The latest one that was published."""
        return self.wake_ups.published[-1]

    def later(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def installation(tmp_path, store, sandbox):
    installation = EngineInstallation(tmp_path, store, sandbox)
    yield installation
    installation.engine.stop()


def test_a_wake_up_has_its_queue_drained(installation):
    recall = installation.ask()
    assert installation.wake_ups.queues == [installation.queue]
    installation.engine.handle_wake_up(installation.wake_up)
    assert installation.state(recall) is State.ACCEPTED
    assert installation.wake_ups.queues == [installation.queue]


def test_wake_ups_taken_and_drains_of_the_sweep_are_counted_apart(installation):
    installation.ask()
    installation.engine.handle_wake_up(installation.wake_up)
    installation.ask("c2")
    installation.later(2)
    installation.engine.sweeper._sweep_queues()
    health = installation.engine.heartbeat.consumer_health
    wait_until(lambda: (health.taken, health.swept) == (1, 1))


def test_a_worker_that_runs_is_seen_and_so_are_its_sweeps(installation):
    installation.engine.start()

    def seen():
        return [process.swept_at is not None for process in installation.services.processes.all()] == [True]

    wait_until(seen)


def test_a_drain_that_leaves_work_behind_publishes_a_wake_up(installation):
    # A look-up waits, so the drain goes on for no longer than its due.
    installation.store.client.zadd(installation.store.key("lookups"), {"lu_1": 1})
    for n in range(DRAIN_CALLS + 1):
        installation.ask(f"c{n}")
    installation.engine.drain(installation.wake_up)
    assert len(installation.sandbox.calls()) == DRAIN_CALLS
    assert installation.wake_ups.queues == [installation.queue, installation.queue]
    installation.engine.drain(installation.wake_up)
    assert len(installation.sandbox.calls()) == DRAIN_CALLS + 1
    assert installation.wake_ups.queues == [installation.queue, installation.queue]


def test_a_queue_that_this_configuration_does_not_have_is_left_alone(installation):
    recall = installation.ask()
    installation.services.queues.bind({"bogota": "another queue", "lima": "L2"})
    installation.engine.drain(WakeUp("another queue", 1))
    assert installation.state(recall) is State.QUEUED
    assert not installation.store.client.hexists(installation.store.key("queue:another queue"), "owner")


def test_queues_are_known_again_after_the_store_was_emptied(installation):
    before = installation.ask()
    installation.engine.drain(installation.wake_up)
    assert installation.state(before) is State.ACCEPTED
    old = installation.queue
    installation.store.client.flushdb()
    # Unbound for the one who admits, who binds again; the worker finds out by the unknown queue.
    after = installation.ask("c2")
    assert installation.queue != old
    # Nothing is known of calls that may still be running.
    installation.later(installation.services.config.accounts["bogota"].lease_seconds)
    installation.engine.sweeper._sweep_queues()
    assert installation.wake_up.queue == installation.queue
    installation.engine.drain(installation.wake_up)
    # By this thread or by one of the sweep: whichever took the wake-up first.
    wait_until(lambda: installation.state(after) is State.ACCEPTED)


def test_the_sweep_publishes_the_wake_up_of_a_queue_whose_time_has_come(installation):
    installation.ask()
    installation.store.client.hset(installation.store.key(f"queue:{installation.queue}"), "wake_up_at", "0")
    installation.later(2)
    installation.engine.sweeper._sweep_queues()
    assert installation.wake_ups.queues == [installation.queue] * 2
    assert installation.engine.sweeper._draining == []


def test_where_a_wake_up_stays_untaken_the_sweep_drains_the_queue_itself(installation):
    recall = installation.ask()
    installation.later(2)
    installation.engine.sweeper._sweep_queues()
    wait_until(lambda: installation.state(recall) is State.ACCEPTED)
    # And publishes it again: whether that is taken says how the consumers are.
    assert installation.wake_ups.queues == [installation.queue] * 2


def test_while_all_threads_are_busy_the_sweep_lets_wake_ups_wait(installation):
    recall = installation.ask()
    installation.engine.sweeper.threads = 1
    installation.later(2)
    with installation.engine.heartbeat.consumer_health.taking():
        installation.engine.sweeper._sweep_queues()
    assert installation.wake_ups.queues == [installation.queue]
    assert installation.state(recall) is State.QUEUED
    installation.engine.sweeper._sweep_queues()
    wait_until(lambda: installation.state(recall) is State.ACCEPTED)


def test_the_sweep_drains_a_few_queues_at_a_time(installation, monkeypatch):
    key, queues, going = (
        installation.store.key,
        [f"queue {n}" for n in range(SWEEP_DRAINS + 5)],
        threading.Event(),
    )
    with installation.store.client.pipeline() as pipe:
        for queue in queues:
            pipe.zadd(key(f"queue:{queue}:recalls"), {"rc_1": 1})
            pipe.hset(key(f"queue:{queue}"), mapping={"wake_up_at": installation.ms(), "publications": 1})
            pipe.zadd(key("due"), {queue: 1})
        pipe.execute()
    monkeypatch.setattr(installation.engine.sweeper, "_drain", lambda _: going.wait(30))
    for _ in range(2):
        installation.engine.sweeper._sweep_queues()
        assert len(installation.wake_ups.published) == SWEEP_DRAINS
    going.set()
    wait_until(lambda: all(each.done() for each in installation.engine.sweeper._draining))
    installation.engine.sweeper._sweep_queues()
    assert set(installation.wake_ups.queues) == set(queues)


def test_a_thread_of_the_sweep_is_free_again_whatever_became_of_its_drain(installation, monkeypatch):
    def fails(_):
        raise RuntimeError("a fault")

    monkeypatch.setattr(installation.engine.sweeper, "_drain", fails)
    installation.ask()
    installation.later(2)
    installation.engine.sweeper._sweep_queues()
    wait_until(lambda: installation.engine.sweeper._room() == SWEEP_DRAINS)


def test_one_sweep_finds_every_queue_that_is_due(installation):
    key = installation.store.key
    queues = [f"queue {n}" for n in range(205)]
    with installation.store.client.pipeline() as pipe:
        for queue in queues:
            pipe.zadd(key(f"queue:{queue}:recalls"), {"rc_1": 1})
            pipe.zadd(key("due"), {queue: 1})
        pipe.execute()
    installation.engine.sweeper._sweep_queues()
    assert set(installation.wake_ups.queues) == set(queues)


def test_the_sweep_publishes_wake_ups_of_sources_whose_lookups_are_due(installation):
    now = datetime.now(UTC)
    delivery = Delivery(
        id="dl_1", source="hubspot", method="POST", url="", headers={}, body=b"", received_at=now
    )
    pending = Pending(event=Event(data={}, dedup_key="k1", lookup_id="77"))
    installation.services.admission.admit(delivery, [pending], b"")
    installation.wake_ups.sources.clear()
    installation.engine.sweeper._sweep_lookups()
    assert installation.wake_ups.sources == ["hubspot"]


def test_a_worker_that_is_stopping_begins_no_drain(installation):
    recall = installation.ask()
    installation.engine.stop()
    installation.engine.drain(installation.wake_up)
    assert installation.state(recall) is State.QUEUED


def test_a_stopped_sweep_ends(installation):
    installation.engine.start()
    (sweep,) = (thread for thread in threading.enumerate() if thread.name == "sweep")
    installation.engine.stop()
    sweep.join(10)
    assert not sweep.is_alive()


def test_a_fault_of_one_step_does_not_end_the_sweep(installation):
    ended = threading.Event()

    def store_away():
        raise StoreAwayError("ConnectionError")

    def broken():
        raise ValueError("a mistake of ours")

    for step in (store_away, broken, ended.set):
        installation.engine.sweeper._run_step(step)
    assert ended.is_set()


def test_the_sweep_takes_up_work_by_itself(installation):
    recall = installation.ask()
    installation.later(2)
    installation.engine.start()
    wait_until(lambda: installation.state(recall) is State.ACCEPTED)


def test_what_is_old_is_purged_until_nothing_old_is_left(installation, monkeypatch):
    monkeypatch.setattr(sweeper, "utc_now", lambda: datetime.now(UTC) + timedelta(days=60))
    key = installation.store.key
    with installation.store.client.pipeline() as pipe:
        for n in range(450):
            pipe.zadd(key("parked"), {f"pk_{n}": 1})
        pipe.execute()

    def purged():
        installation.engine.sweeper._purge()
        return installation.store.client.zcard(key("parked")) == 0

    wait_until(purged)


def test_purging_rests_for_a_minute(installation, monkeypatch):
    installation.engine.sweeper._purge()
    monkeypatch.setattr(sweeper, "purge", lambda *_: pytest.fail("too soon"))
    installation.engine.sweeper._purge()
