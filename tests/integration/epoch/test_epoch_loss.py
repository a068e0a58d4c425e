"""A store that went back, was emptied or exchanged is found, reported once, and costs a quiet time."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration.store.scripting.protocol import EpochLoss
from integration.store.token_queue import Claim
from support.store_process import LEASE, NOON, Member, until


def test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended(history, worker):
    worker.ask("c1")
    worker.ask("c2", "lima")
    copy = history.copy()
    lost = worker.acquire()
    assert isinstance(lost, Claim)
    history.put_back(copy)
    for queue in ("L1", "L2"):
        refused = worker.acquire(queue)
        assert refused.kind == "wait"
        assert until(refused) == NOON + timedelta(seconds=LEASE)
    history.pass_time(LEASE - 0.001)
    assert worker.acquire().kind == "wait"
    history.pass_time(0.001)
    assert worker.acquire().recall_id == lost.recall_id


def test_it_holds_for_workers_that_noticed_nothing_too(history, worker):
    worker.ask("c1")
    copy = history.copy()
    worker.acquire()
    history.put_back(copy)
    worker.sweep()
    fresh, tool = Member(history), Member(history, "tool")
    for each in (fresh, tool):
        assert each.acquire().kind == "wait"
        assert each.losses == []


@pytest.mark.parametrize("knows", ["a web", "a worker that only sweeps"])
def test_whoever_saw_more_finds_out_whatever_it_asks(history, worker, knows):
    worker.ask("c1")
    other = Member(history, "web" if knows == "a web" else "worker")
    copy = history.copy()
    worker.acquire()
    other.sweep()
    history.put_back(copy)
    if knows == "a web":
        other.ask("c9")
    else:
        other.sweep()
    assert [loss.how for loss in other.losses] == ["went back"]
    assert Member(history).acquire().kind == "wait"


def test_it_is_reported_once_with_what_is_missing(history, worker):
    others = [Member(history) for _ in range(3)]
    copy = history.copy()
    for n in range(4):
        worker.ask(f"c{n}")
    for each in others:
        each.sweep()
    history.put_back(copy)
    for each in (worker, *others, worker, *others):
        each.sweep()
    assert worker.losses == [EpochLoss(how="went back", missing=4)]
    assert [each.losses for each in others] == [[], [], []]
    assert history.client.hget("{ringback}:counts", "epochs:went back") == "1"


def test_the_report_is_given_again_where_the_reply_was_lost(history, worker):
    copy = history.copy()
    worker.ask("c1")
    history.put_back(copy)
    protocol = worker.store._protocol
    replies, protocol.replies = protocol.replies, lambda reply: reply[-1]
    worker.sweep()
    protocol.replies = replies
    Member(history).sweep()
    worker.sweep()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back"]


def test_it_costs_one_quiet_time_however_many_find_out(history, worker):
    late = Member(history)
    worker.ask("c1")
    copy = history.copy()
    worker.acquire()
    late.sweep()
    history.put_back(copy)
    worker.sweep()
    history.pass_time(60)
    late.sweep()
    history.pass_time(LEASE - 60)
    assert isinstance(worker.acquire(), Claim)


def test_one_that_went_on_with_the_lost_history_for_longer_holds_the_queues_for_longer(history, worker):
    """As in a failover whose old primary still answers some."""
    behind = Member(history)
    worker.ask("c1")
    copy = history.copy()
    worker.acquire()
    behind.sweep()
    old = history.copy()
    history.put_back(copy)
    worker.sweep()
    new = history.copy()
    history.pass_time(30)
    history.put_back(old)
    behind.sweep()
    history.put_back(new)
    history.pass_time(1)
    behind.sweep()
    history.pass_time(LEASE - 2)
    assert worker.acquire().kind == "wait"
    history.pass_time(1)
    assert isinstance(worker.acquire(), Claim)
    assert behind.losses == []


def test_no_fence_of_the_lost_history_comes_again(history, worker):
    worker.ask("c1")
    copy = history.copy()
    lost = worker.acquire()
    history.put_back(copy)
    history.pass_time(1)
    worker.sweep()
    history.pass_time(LEASE)
    again = worker.acquire()
    assert (again.recall_id, again.fence) != (lost.recall_id, lost.fence)
    # The lost turn's word comes late, of the very recall that is being pushed now.
    assert again.recall_id == lost.recall_id
    assert worker.finish(lost).kind == "lost"
    assert worker.finish(again).kind == "released"


def test_a_drain_that_the_copy_knows_may_finish_and_claims_nothing_more(history, worker):
    worker.ask("c1")
    worker.ask("c2")
    claim = worker.acquire()
    copy = history.copy()
    other = Member(history)
    other.ask("c3")
    history.put_back(copy)
    other.sweep()
    assert worker.finish(claim, more=True).kind == "wait"
    assert worker.recalls.get(claim.recall_id).state == "accepted"


def test_a_store_that_goes_back_twice_is_found_twice(history, worker):
    worker.ask("c1")
    first = history.copy()
    worker.ask("c2")
    for copy in (first, None):
        if copy is None:
            worker.ask("c4")
        history.put_back(first)
        worker.sweep()
        history.pass_time(1)
    assert [loss.how for loss in worker.losses] == ["went back", "was exchanged"]
    assert worker.acquire().kind == "wait"


def test_a_copy_from_a_lost_history_is_found_though_it_has_counted_further(history, worker):
    copy = history.copy()
    worker.ask("c1")
    history.put_back(copy)
    other = Member(history)
    stale = history.copy()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back"]
    history.put_back(stale)
    other.sweep()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back", "was exchanged"]


def lost_again_before_all_have_heard(history, worker):
    """A copy is put back twice. The web knows the history that began with the first loss, the worker does not.

    Each has seen something that the store does not hold when the copy is put back for the second time.
    """
    web = Member(history, "web")
    worker.ask("c1")
    copy = history.copy()
    web.ask("c2")
    history.put_back(copy)
    web.ask("c3")
    heard_by_the_web = history.copy()
    # The old copy again, for a moment: the worker, which noticed nothing, goes on with it.
    history.put_back(copy)
    lost = worker.acquire()
    assert isinstance(lost, Claim)
    history.put_back(heard_by_the_web)
    web.sweep()
    assert [loss.how for loss in web.losses] == ["went back"]
    assert worker.losses == []
    history.put_back(copy)
    return web, lost


def test_who_knew_different_histories_of_what_is_lost_reports_each_of_them(history, worker):
    """The store cannot tell that one is the continuation of another, so neither may go unreported."""
    web, _ = lost_again_before_all_have_heard(history, worker)
    worker.sweep()
    assert worker.losses == [EpochLoss(how="went back", missing=1)]
    web.sweep()
    assert web.losses[1:] == [EpochLoss(how="was exchanged", missing=None)]
    assert history.client.hget("{ringback}:counts", "epochs:was exchanged") == "1"


def test_who_knew_the_history_that_the_copy_goes_on_with_hears_that_it_is_lost(history, worker):
    web, _ = lost_again_before_all_have_heard(history, worker)
    web.sweep()
    worker.sweep()
    assert [loss.how for loss in web.losses] == ["went back", "was exchanged"]
    assert worker.losses == []


@pytest.mark.parametrize("first", ["worker", "web"])
def test_queues_are_held_from_the_latest_loss_that_is_found(history, worker, first):
    web, lost = lost_again_before_all_have_heard(history, worker)
    for member in (worker, web) if first == "worker" else (web, worker):
        history.pass_time(10)
        member.sweep()
        assert worker.acquire().kind == Member(history).acquire().kind == "wait"
    # Who is the second to speak knows another lost history only if the first did not name it.
    history.pass_time(LEASE - (10 if first == "web" else 0) - 0.001)
    assert worker.acquire().kind == "wait"
    history.pass_time(0.001)
    assert worker.acquire().recall_id == lost.recall_id


@pytest.mark.parametrize("first", ["worker", "web"])
def test_after_each_has_spoken_twice_all_go_by_one_history(history, worker, first):
    web, _ = lost_again_before_all_have_heard(history, worker)
    members = (worker, web) if first == "worker" else (web, worker)
    for member in members:
        member.sweep()
    told = [list(member.losses) for member in members]
    for member in (*members, *members):
        member.sweep()
    assert [member.losses for member in members] == told
    there = history.client.hget("{ringback}:store", "epoch")
    assert {member.epoch.name for member in members} == {there}


def test_who_was_away_for_several_losses_finds_them_told(history, worker):
    away = Member(history)
    worker.ask("c1")
    away.sweep()
    for n in range(2):
        copy = history.copy()
        worker.ask(f"d{n}")
        history.put_back(copy)
        worker.sweep()
    away.sweep()
    assert [loss.how for loss in worker.losses] == ["went back", "went back"]
    assert away.losses == []
    assert away.epoch.name == worker.epoch.name


# --- emptied, exchanged ------------------------------------------------------------------------


def test_an_emptied_store_holds_the_queues(history, worker):
    worker.ask("c1")
    worker.acquire()
    history.client.flushall()
    worker.queues.bind({"bogota": "L9"})
    worker.ask("c2")
    assert worker.acquire("L9").kind == "wait"
    assert worker.losses == [EpochLoss(how="was emptied", missing=None)]
    history.pass_time(LEASE)
    assert isinstance(worker.acquire("L9"), Claim)


def test_another_store_holds_the_queues(history, worker):
    worker.ask("c1")
    mine = worker.epoch
    history.client.flushall()
    other = Member(history)
    other.queues.bind({"bogota": "L1"})
    other.ask("c1")
    worker.sweep()
    assert worker.losses == [EpochLoss(how="was exchanged", missing=None)]
    assert other.acquire().kind == "wait"
    assert mine.name == other.epoch.name


def test_a_new_store_holds_nobody(history, worker):
    worker.ask("c1")
    assert isinstance(worker.acquire(), Claim)
