"""A server that is new to the data waits until its workers have said what they saw."""

from __future__ import annotations

from integration.store.scripting.protocol import EpochLoss
from integration.store.token_queue import Claim, NoClaim
from support.store_process import Member, working


def new_server(history):
    """As after a restart or a failover: data and processes know of another server than this one."""
    history.client.hset("{ringback}:store", "server", "before")
    for member in history.members:
        member.epoch._server = "before"


def after_a_call(history, worker):
    """Return another worker; both are known to the store, `worker` has made a call, and one recall waits."""
    other = Member(history)
    working(worker, other)
    worker.ask("c1")
    worker.finish(worker.acquire())
    worker.ask("c2")
    return other


def test_a_new_server_hears_its_workers_first(history, worker):
    other = after_a_call(history, worker)
    new_server(history)
    assert worker.acquire() == NoClaim("wait", "the store has just been started", history.ms() + 300)
    worker.sweep()
    assert worker.acquire().kind == "wait"
    other.sweep()
    assert isinstance(worker.acquire(), Claim)


def test_a_worker_that_saw_more_is_heard_before_another_one_claims(history, worker):
    """The lag of a replica is short: others soon count further than what was seen of the lost history."""
    ahead = after_a_call(history, worker)
    copy = history.copy()
    lost = ahead.acquire()
    assert isinstance(lost, Claim)
    history.put_back(copy)
    new_server(history)
    # The other worker saw nothing of that claim, and would have the same recall pushed again.
    assert worker.acquire().kind == "wait"
    ahead.sweep()
    history.pass_time(2.5)
    assert worker.acquire().kind == "wait"
    assert [loss.missing for loss in ahead.losses] == [1]


def test_a_worker_that_comes_later_is_found_to_have_seen_more(history, worker):
    """However far the new server has counted since: what it found at first is what counts."""
    ahead = Member(history)
    worker.ask("c1")
    copy = history.copy()
    ahead.ask("c2")
    history.put_back(copy)
    new_server(history)
    for n in range(5):
        worker.ask(f"d{n}")
    history.pass_time(60)
    ahead.sweep()
    assert ahead.losses == [EpochLoss(how="went back", missing=1)]


def test_who_saw_no_more_than_the_new_server_found_proves_no_loss(history, worker):
    other = Member(history)
    worker.ask("c1")
    other.sweep()
    new_server(history)
    for n, each in enumerate((worker, other, worker, other)):
        each.ask(f"d{n}")
    assert worker.losses == other.losses == []


def test_a_worker_that_does_not_come_back_is_waited_for_two_seconds(history, worker):
    dead = Member(history)
    for each in (worker, dead):
        each.send()
    worker.ask("c1")
    worker.acquire("L2")
    new_server(history)
    worker.acquire()
    history.pass_time(1.999)
    assert worker.acquire().kind == "wait"
    history.pass_time(0.001)
    assert isinstance(worker.acquire(), Claim)


def test_a_queue_goes_on_by_itself_when_the_workers_have_been_heard(history, worker):
    other = Member(history)
    other.send()
    worker.ask("c1")
    new_server(history)
    assert worker.acquire().kind == "wait"
    other.sweep()
    history.pass_time(0.5)
    assert [queue for queue, _ in worker.sweep()] == ["L1"]
    assert isinstance(worker.acquire(), Claim)
