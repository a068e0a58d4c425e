"""A server that is new to the data waits until its workers have said what they saw."""

from __future__ import annotations

from integration.store.client import EpochLoss
from integration.store.token_queue import Claim, NoClaim
from support.store_process import Member, working


def new_server(world):
    """As after a restart or a failover: data and processes know of another server than this one."""
    world.client.hset("{ringback}:meta", "server", "before")
    for member in world.members:
        member.epoch._server = "before"


def after_a_call(world, worker):
    """Return another worker; both are known to the store, `worker` has made a call, and one recall waits."""
    other = Member(world)
    working(worker, other)
    worker.ask("c1")
    worker.finish(worker.acquire())
    worker.ask("c2")
    return other


def test_a_new_server_hears_its_workers_first(world, worker):
    other = after_a_call(world, worker)
    new_server(world)
    assert worker.acquire() == NoClaim("wait", "the store has just been started", world.ms() + 300)
    worker.sweep()
    assert worker.acquire().kind == "wait"
    other.sweep()
    assert isinstance(worker.acquire(), Claim)


def test_a_worker_that_saw_more_is_heard_before_another_one_claims(world, worker):
    """The lag of a replica is short: others soon count further than what was seen of the lost history."""
    ahead = after_a_call(world, worker)
    copy = world.copy()
    lost = ahead.acquire()
    assert isinstance(lost, Claim)
    world.put_back(copy)
    new_server(world)
    # The other worker saw nothing of that claim, and would have the same recall pushed again.
    assert worker.acquire().kind == "wait"
    ahead.sweep()
    world.pass_time(2.5)
    assert worker.acquire().kind == "wait"
    assert [loss.missing for loss in ahead.losses] == [1]


def test_a_worker_that_comes_later_is_found_to_have_seen_more(world, worker):
    """However far the new server has counted since: what it found at first is what counts."""
    ahead = Member(world)
    worker.ask("c1")
    copy = world.copy()
    ahead.ask("c2")
    world.put_back(copy)
    new_server(world)
    for n in range(5):
        worker.ask(f"d{n}")
    world.pass_time(60)
    ahead.sweep()
    assert ahead.losses == [EpochLoss(how="went back", missing=1)]


def test_who_saw_no_more_than_the_new_server_found_proves_no_loss(world, worker):
    other = Member(world)
    worker.ask("c1")
    other.sweep()
    new_server(world)
    for n, each in enumerate((worker, other, worker, other)):
        each.ask(f"d{n}")
    assert worker.losses == other.losses == []


def test_a_worker_that_does_not_come_back_is_waited_for_two_seconds(world, worker):
    dead = Member(world)
    for each in (worker, dead):
        each.send()
    worker.ask("c1")
    worker.acquire("L2")
    new_server(world)
    worker.acquire()
    world.pass_time(1.999)
    assert worker.acquire().kind == "wait"
    world.pass_time(0.001)
    assert isinstance(worker.acquire(), Claim)


def test_a_queue_goes_on_by_itself_when_the_workers_have_been_heard(world, worker):
    other = Member(world)
    other.send()
    worker.ask("c1")
    new_server(world)
    assert worker.acquire().kind == "wait"
    other.sweep()
    world.pass_time(0.5)
    assert [queue for queue, _ in worker.sweep()] == ["L1"]
    assert isinstance(worker.acquire(), Claim)
