"""Heartbeats of web and worker processes, and stalled workers."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

import pytest

from integration.services.consumer_health import (
    ELSEWHERE_SECONDS,
    ELSEWHERE_WAKE_UPS,
    STALLED_DRAINS,
    STALLED_SECONDS,
    ConsumerHealth,
    HealthChange,
)
from integration.services.heartbeat import Heartbeat
from integration.store.client import Store
from integration.store.monitoring.process_registry import LIVES_SECONDS, ProcessRegistry
from support.reporters import RecordingReporter


class ProcessGroup:
    """Processes on one store, with clocks that the test sets."""

    def __init__(self, client):
        self.seconds = 1000.0
        self.began = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
        self.reporter = RecordingReporter()
        self.client = client
        self.processes = ProcessRegistry(self.store("tool"))

    def store(self, kind):
        return Store(self.client, clock=lambda: round(self.now.timestamp() * 1000), kind=kind)

    @property
    def now(self):
        return self.began + timedelta(seconds=self.seconds - 1000)

    def process(self, kind="worker"):
        store = self.store(kind)
        reporter = self.reporter if kind == "worker" else None
        return Heartbeat(ProcessRegistry(store), store.process_id, reporter, clock=lambda: self.seconds)

    def pass_time(self, seconds):
        self.seconds += seconds


@pytest.fixture
def group(store):
    return ProcessGroup(store)


# --- who is there ------------------------------------------------------------------------------


def test_each_heartbeat_identifies_its_process(group):
    worker, web = group.process(), group.process("web")
    group.pass_time(2)
    for each in (worker, web):
        each.send()
    shown = group.processes.all()
    assert [process.kind for process in shown] == ["web", "worker"]
    assert {process.pid for process in shown} == {os.getpid()}
    assert all(process.host and process.version for process in shown)
    assert [process.started_at for process in shown] == [group.began] * 2
    assert [process.seen_at for process in shown] == [group.now] * 2
    assert len({process.id for process in shown}) == 2


def test_the_latest_sweep_and_wake_up_are_in_the_stores_clock(group):
    worker = group.process()
    worker.send()
    (shown,) = group.processes.all()
    assert (shown.swept_at, shown.wake_up_at, shown.stalled_since) == (None, None, None)
    worker.swept()
    group.pass_time(1)
    with worker.consumer_health.taking():
        group.pass_time(3)
    worker.consumer_health.untaken()
    worker.send()
    (shown,) = group.processes.all()
    assert (shown.swept_at, shown.wake_up_at) == (group.began, group.began + timedelta(seconds=1))
    assert (shown.drains_by_wake_up, shown.drains_by_sweep) == (1, 1)


def test_a_process_without_heartbeats_is_removed(group, store):
    group.process().send()
    group.pass_time(LIVES_SECONDS)
    assert len(group.processes.all()) == 1
    group.pass_time(0.001)
    assert group.processes.all() == []
    # What is left of it goes as well: its record by itself, its name with the next heartbeat.
    assert 0 < store.pttl(store.keys("*process:*")[0]) <= LIVES_SECONDS * 1000
    group.process("web").send()
    assert store.zcard("{ringback}:processes") == 1


def test_drains_are_counted_over_all_workers_and_each_once(group, store):
    first, second = group.process(), group.process()
    for worker, wake_ups in ((first, 3), (second, 2)):
        for _ in range(wake_ups):
            with worker.consumer_health.taking():
                pass
        worker.consumer_health.untaken()
        worker.send()
        worker.send()
    counts = store.hgetall("{ringback}:counts")
    assert (counts["drains:wake_up"], counts["drains:sweep"]) == ("5", "2")


def test_a_full_store_accepts_heartbeats(group, store):
    worker = group.process()
    worker.send()
    store.config_set("maxmemory", "1")
    try:
        worker.send()
        assert len(group.processes.all()) == 1
    finally:
        store.config_set("maxmemory", "0")


# --- who hears ---------------------------------------------------------------------------------


SWEPT_EACH_SECONDS = 5.0


def stalled_on_purpose(group, worker, seconds=STALLED_SECONDS):
    for _ in range(STALLED_DRAINS):
        worker.consumer_health.untaken()
        group.pass_time(SWEPT_EACH_SECONDS)
    group.pass_time(seconds - STALLED_DRAINS * SWEPT_EACH_SECONDS)


def test_a_worker_whose_queues_the_sweep_drains_is_stalled_and_is_reported_once(group):
    worker = group.process()
    stalled_on_purpose(group, worker)
    for _ in range(3):
        worker.send()
        worker.consumer_health.untaken()
        group.pass_time(3)
    assert group.reporter.consumer_changes == [("stalled", round(STALLED_SECONDS))]
    worker.send()
    assert group.processes.all()[0].stalled_since == group.began


def test_a_stalled_worker_that_takes_a_wake_up_recovers_and_is_reported_once(group):
    worker = group.process()
    stalled_on_purpose(group, worker)
    worker.send()
    group.pass_time(10)
    with worker.consumer_health.taking():
        pass
    worker.send()
    worker.send()
    assert group.reporter.consumer_changes[1:] == [("recovered", round(STALLED_SECONDS) + 10)]
    assert group.processes.all()[0].stalled_since is None


def test_a_stalled_worker_is_reported_again_after_it_recovered(group):
    worker = group.process()
    for _ in range(2):
        stalled_on_purpose(group, worker)
        worker.send()
        with worker.consumer_health.taking():
            pass
        worker.send()
    assert [what for what, _ in group.reporter.consumer_changes] == [
        "stalled",
        "recovered",
        "stalled",
        "recovered",
    ]


def test_a_few_drains_of_the_sweep_in_a_short_time_are_no_stall(group):
    worker = group.process()
    stalled_on_purpose(group, worker, STALLED_SECONDS - 1)
    worker.send()
    assert group.reporter.consumer_changes == []


def test_drains_of_the_sweep_are_no_stall_where_others_take_the_wake_ups(group):
    """It is chance which worker takes the wake-up that a sweep published."""
    worker, other = group.process(), group.process()
    for _ in range(10):
        worker.consumer_health.untaken()
        group.pass_time(SWEPT_EACH_SECONDS)
        worker.send()
        with other.consumer_health.taking():
            pass
        other.send()
        worker.send()
    assert group.reporter.consumer_changes == []


def test_one_lost_wake_up_in_a_quiet_time_is_no_stall(group):
    worker = group.process()
    worker.consumer_health.untaken()
    group.pass_time(3600)
    worker.consumer_health.untaken()
    worker.send()
    assert group.reporter.consumer_changes == []


def test_a_worker_that_is_answering_a_wake_up_is_busy_not_stalled(group):
    worker = group.process()
    with worker.consumer_health.taking():
        stalled_on_purpose(group, worker)
        worker.send()
        assert group.reporter.consumer_changes == []


def test_a_worker_that_takes_no_wake_ups_while_others_take_many_is_stalled(group):
    stalled, good = group.process(), group.process()
    for _ in range(ELSEWHERE_WAKE_UPS * 2):
        with good.consumer_health.taking():
            pass
    good.send()
    stalled.send()
    group.pass_time(ELSEWHERE_SECONDS)
    for _ in range(ELSEWHERE_WAKE_UPS - 1):
        with good.consumer_health.taking():
            pass
    for each in (good, stalled):
        each.send()
    # What others took before it was there says nothing of it.
    assert group.reporter.consumer_changes == []
    with good.consumer_health.taking():
        pass
    for each in (good, stalled):
        each.send()
    assert group.reporter.consumer_changes == [("stalled", round(ELSEWHERE_SECONDS))]


def test_a_worker_that_has_just_begun_is_not_stalled(group):
    stalled, good = group.process(), group.process()
    stalled.send()
    for _ in range(ELSEWHERE_WAKE_UPS):
        with good.consumer_health.taking():
            pass
    group.pass_time(ELSEWHERE_SECONDS - 1)
    for each in (good, stalled):
        each.send()
    assert group.reporter.consumer_changes == []


def test_an_emptied_store_does_not_end_a_stall():
    now = [0.0]
    health = ConsumerHealth(lambda: now[0])
    health.evaluate(1000)
    now[0] = ELSEWHERE_SECONDS
    assert health.evaluate(1000 + ELSEWHERE_WAKE_UPS) == HealthChange(stalled=True, seconds=ELSEWHERE_SECONDS)
    assert health.evaluate(0) is None
    assert health.stalled_since == 0.0


def test_a_web_takes_no_wake_ups_and_is_not_stalled(group):
    web, worker = group.process("web"), group.process()
    web.send()
    for _ in range(ELSEWHERE_WAKE_UPS):
        with worker.consumer_health.taking():
            pass
    group.pass_time(ELSEWHERE_SECONDS)
    for each in (worker, web):
        each.send()
    assert [process.stalled_since for process in group.processes.all()] == [None, None]
