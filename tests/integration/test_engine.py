"""A worker process between its doorbells: the sweep, turns of its own, and how it stops."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from integration.config_file import ConfigWatch
from integration.delivery import Delivery, Event
from integration.errors import StoreAwayError
from integration.plan import Pending, request_from_fields
from integration.recall import State
from integration.sandbox import Sandbox
from support import ENVIRON, SOURCES_AND_ROUTES, account, url_of, write_config
from workers import engine as engine_module
from workers import shift as shift_module
from workers.engine import OWN_TURNS, SWEEP_LANES, Engine
from workers.store import Store, connect
from workers.turn import TURN_RECALLS


class Bell:
    def __init__(self):
        self.lanes = []
        self.sources = []

    def ring(self, lane):
        self.lanes.append(lane)

    def ring_lookup(self, source):
        self.sources.append(source)


class Deaf:
    def dead(self, *told):
        """Nobody listens."""

    def stopped(self, *told):
        """Nobody listens."""

    def deaf(self, *told):
        """Nobody listens."""

    def alert_begins(self, *told):
        """Nobody listens."""

    def alert_is_over(self, *told):
        """Nobody listens."""

    def swept(self, *told):
        """Nobody listens."""

    def hears(self, *told):
        """Nobody listens."""

    def store_lost(self, loss):
        """Nobody listens."""


class Works:
    """A worker's engine over a sandbox, with the store's time in hand."""

    def __init__(self, folder, client, sandbox):
        text = account("bogota", sandbox.url) + account("lima", sandbox.url, zone="Lima", country="PE")
        self.sandbox = sandbox
        self.ahead = timedelta()
        self.bell = Bell()
        watch = ConfigWatch(write_config(folder, text + SOURCES_AND_ROUTES), ENVIRON)
        self.store = Store(connect(url_of(client)), clock=self.ms)
        self.engine = Engine(watch, self.store, self.bell, Deaf())
        self.desk = self.engine.desk
        self.desk.bind()

    def ms(self):
        return round((datetime.now(UTC) + self.ahead).timestamp() * 1000)

    def ask(self, customer="c1", *, account="bogota"):
        request = request_from_fields(
            self.desk.config.accounts[account],
            campaign_id="10",
            customer_id=customer,
            recall_telephone="+57 300 111 2233",
            recall_date=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
            now=datetime.now(UTC),
            source="api:test",
        )
        recall = self.desk.admit_one(request, expired=None, key="", fingerprint="").answer.recalls[0]
        self.bell.lanes.clear()
        return recall

    @property
    def lane(self):
        return self.desk.lanes.bound()["bogota"]

    def state(self, recall):
        return self.desk.recalls.get(recall).state

    def later(self, seconds):
        self.ahead += timedelta(seconds=seconds)


@pytest.fixture
def works(tmp_path, store):
    with Sandbox() as sandbox:
        works = Works(tmp_path, store, sandbox)
        yield works
        works.engine.stop()


def eventually(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.01)
    return False


def test_a_doorbell_is_answered_by_a_turn(works):
    recall = works.ask()
    works.engine.take_turn(works.lane)
    assert works.state(recall) is State.ACCEPTED
    assert works.bell.lanes == []


def test_doorbells_and_turns_of_the_sweep_are_counted_apart(works):
    works.ask()
    works.engine.answer(works.lane)
    works.ask("c2")
    works.later(2)
    works.engine._sweep_lanes()
    hearing = works.engine.pulse.hearing
    assert eventually(lambda: (hearing.doorbells, hearing.sweeps) == (1, 1))


def test_a_worker_that_runs_is_seen_and_so_are_its_sweeps(works):
    works.engine.start()

    def seen():
        return [process.swept_at is not None for process in works.desk.processes.all()] == [True]

    assert eventually(seen)


def test_a_doorbell_holds_its_thread_while_nobody_waits_and_a_turn_of_the_sweep_not_for_long(
    works, monkeypatch
):
    monkeypatch.setattr(engine_module, "OWN_SECONDS", 0.0)
    for n in range(45):
        works.ask(f"c{n}")
    pushed = lambda: sum(call["method"] == "PUT" for call in works.sandbox.calls())  # noqa: E731
    works.engine.threads = 2
    works.engine._own_free.acquire()
    works.engine._own_turn(works.lane)
    assert pushed() == TURN_RECALLS
    works.engine.answer(works.lane)
    assert pushed() == 45


def test_a_turn_that_leaves_work_behind_rings_again(works):
    for n in range(TURN_RECALLS + 1):
        works.ask(f"c{n}")
    works.engine.take_turn(works.lane, seconds=0.0)
    assert works.bell.lanes == [works.lane]


def test_a_shift_that_leaves_lanes_waiting_has_them_taken_up_by_whoever_is_idle(works, monkeypatch):
    monkeypatch.setattr(shift_module, "CROWDED_SECONDS", 0.0)
    for n in range(TURN_RECALLS + 1):
        works.ask(f"c{n}")
    works.engine.threads = 1
    works.engine.answer(works.lane)
    # Its thread is free a moment later, and nobody has come.
    assert eventually(lambda: works.bell.lanes == [works.lane])


def test_no_doorbell_is_rung_for_a_thread_that_another_one_has_found(works, monkeypatch):
    monkeypatch.setattr(engine_module, "RELIEF_SECONDS", 0.0)
    works.engine.threads = 1
    with works.engine.pulse.hearing.answering():
        works.engine._ring_unless_taken(works.lane)
        time.sleep(0.1)
    assert works.bell.lanes == []


def test_the_sweep_rings_for_lanes_in_line_as_many_doorbells_as_threads_are_idle(works):
    lanes = [f"lane {n}" for n in range(5)]
    works.store.client.zadd(works.store.key("line"), {lane: n for n, lane in enumerate(lanes)})
    works.engine.threads = 3
    works.engine._sweep_lanes()
    assert works.bell.lanes == lanes[:3]
    with works.engine.pulse.hearing.answering(), works.engine.pulse.hearing.answering():
        works.engine._sweep_lanes()
    assert works.bell.lanes == [*lanes[:3], lanes[0]]


def test_a_lane_that_this_configuration_does_not_have_is_left_alone(works):
    recall = works.ask()
    works.desk.lanes.bind({"bogota": "another lane", "lima": "L2"})
    works.engine.take_turn("another lane")
    assert works.state(recall) is State.QUEUED
    assert not works.store.client.hexists(works.store.key("lane:another lane"), "owner")


def test_lanes_are_known_again_after_the_store_was_emptied(works):
    before = works.ask()
    works.engine.take_turn(works.lane)
    assert works.state(before) is State.ACCEPTED
    old = works.lane
    works.store.client.flushdb()
    # Unbound for the one who admits, who binds again; the worker finds out by the unknown lane.
    after = works.ask("c2")
    assert works.lane != old
    works.engine.take_turn(works.lane)
    # Nothing is known of calls that may still be running.
    assert works.state(after) is State.QUEUED
    works.later(works.desk.config.accounts["bogota"].lease_seconds)
    works.engine.take_turn(works.lane)
    assert works.state(after) is State.ACCEPTED


def test_the_sweep_rings_for_a_lane_whose_time_has_come(works):
    works.ask()
    works.store.client.hset(works.store.key(f"lane:{works.lane}"), "rung", "0")
    works.later(2)
    works.engine._sweep_lanes()
    assert works.bell.lanes == [works.lane]


def test_where_a_doorbell_stays_untaken_the_sweep_takes_the_turn_itself(works):
    recall = works.ask()
    works.later(2)
    works.engine._sweep_lanes()
    assert eventually(lambda: works.state(recall) is State.ACCEPTED)
    # And rings, to find out whether it is heard.
    assert works.bell.lanes == [works.lane]


def test_a_thread_of_the_sweep_goes_on_with_the_lanes_in_line(works):
    for n in range(TURN_RECALLS + 1):
        works.ask(f"c{n}")
    other = works.ask("other", account="lima")
    works.engine._own_free.acquire()
    works.engine._own_turn(works.lane)
    assert works.state(other) is State.ACCEPTED
    assert len(works.sandbox.calls()) == TURN_RECALLS + 2


def test_when_all_threads_for_own_turns_are_busy_the_doorbell_is_rung_again(works):
    recall = works.ask()
    for _ in range(OWN_TURNS):
        works.engine._own_free.acquire()
    works.later(2)
    works.engine._sweep_lanes()
    assert works.bell.lanes == [works.lane]
    assert works.state(recall) is State.QUEUED


def test_a_thread_is_free_again_after_its_own_turn_whatever_became_of_it(works):
    def fails(lane, **_):
        raise RuntimeError("a fault")

    works.engine.take_turn = fails
    for _ in range(OWN_TURNS + 1):
        assert works.engine._own_free.acquire(blocking=False)
        works.engine._own_turn(works.lane)


def test_one_sweep_finds_every_lane_that_is_due(works):
    key = works.store.key
    lanes = [f"lane {n}" for n in range(SWEEP_LANES + 5)]
    with works.store.client.pipeline() as pipe:
        for lane in lanes:
            pipe.zadd(key(f"lane:{lane}:queue"), {"rc_1": 1})
            pipe.zadd(key("due"), {lane: 1})
        pipe.execute()
    works.engine._sweep_lanes()
    assert set(works.bell.lanes) == set(lanes)


def test_the_sweep_rings_for_sources_whose_lookups_are_due(works):
    now = datetime.now(UTC)
    delivery = Delivery(
        id="dl_1", source="hubspot", method="POST", url="", headers={}, body=b"", received_at=now
    )
    pending = Pending(event=Event(data={}, dedup_key="k1", lookup_id="77"))
    works.desk.admit(delivery, [pending], b"")
    works.bell.sources.clear()
    works.engine._sweep_lookups()
    assert works.bell.sources == ["hubspot"]


def test_a_worker_that_is_stopping_takes_no_turn(works):
    recall = works.ask()
    works.engine.stop()
    works.engine.take_turn(works.lane)
    assert works.state(recall) is State.QUEUED


def test_a_stopped_sweep_ends(works):
    works.engine.start()
    works.engine.stop()
    works.engine._sweeper.join(10)
    assert not works.engine._sweeper.is_alive()


def test_a_fault_of_one_step_does_not_end_the_sweep(works):
    ended = threading.Event()

    def store_away():
        raise StoreAwayError("ConnectionError")

    def broken():
        raise ValueError("a mistake of ours")

    for step in (store_away, broken, ended.set):
        works.engine._tolerantly(step)
    assert ended.is_set()


def test_the_sweep_takes_up_work_by_itself(works):
    recall = works.ask()
    works.later(2)
    works.engine.start()
    assert eventually(lambda: works.state(recall) is State.ACCEPTED)


def test_what_is_old_is_purged_until_nothing_old_is_left(works, monkeypatch):
    monkeypatch.setattr(engine_module, "utc_now", lambda: datetime.now(UTC) + timedelta(days=60))
    key = works.store.key
    with works.store.client.pipeline() as pipe:
        for n in range(450):
            pipe.zadd(key("parked"), {f"pk_{n}": 1})
        pipe.execute()
    works.engine._purge()
    assert works.store.client.zcard(key("parked")) == 0


def test_purging_rests_for_a_minute(works, monkeypatch):
    works.engine._purge()
    monkeypatch.setattr(works.desk, "purge", lambda _: pytest.fail("too soon"))
    works.engine._purge()
