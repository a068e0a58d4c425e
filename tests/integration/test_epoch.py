"""The store's history: what went back, was emptied or exchanged costs a quiet time; a plain restart does not.

Here on one server, with the store's keys put back as they were; with whole folders, restarts and a replica
in test_store_changes.py.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.store.client import EpochLoss
from integration.store.epoch import StoreEpoch
from integration.store.token_queue import HELD, Claim, NoClaim, Outcome, held_until, queue_state
from support.store_process import LEASE, NOON, Member, StoreHistory, working


@pytest.fixture
def world(valkey, store):
    # DUMP gives bytes that are no text.
    with valkey.client(encoding_errors="surrogateescape") as client:
        yield StoreHistory(client)


@pytest.fixture
def worker(world):
    worker = Member(world)
    worker.queues.bind({"bogota": "L1", "lima": "L2"})
    return worker


def until(claim):
    return datetime.fromtimestamp(claim.until_ms / 1000, UTC)


# --- as it should be ---------------------------------------------------------------------------


def test_a_store_that_only_goes_on_holds_nobody(world, worker):
    other = Member(world)
    for n in range(3):
        worker.ask(f"c{n}")
        for each in (worker, other):
            claim = each.acquire()
            assert isinstance(claim, Claim) or claim.kind == "empty"
            if isinstance(claim, Claim):
                each.finish(claim)
    assert worker.losses == other.losses == []


def test_looking_costs_no_write(world, worker):
    worker.ask()
    claim = worker.acquire()
    before = world.contents()
    worker.sweep()
    Member(world).sweep()
    assert world.contents() == before
    assert isinstance(claim, Claim)


@pytest.mark.parametrize("change", ["ask", "acquire", "finish", "cancel", "retry", "pause", "resume"])
def test_every_change_is_counted(world, worker, change):
    first, second = worker.ask_id("c1"), worker.ask_id("c2")
    if change != "cancel":
        claim = worker.acquire()
    if change == "retry":
        worker.finish(claim, Outcome(kind="ended", state="dead", reason="refused"))
    before = worker.epoch.seen().revision
    acts = {
        "ask": lambda: worker.ask("c3"),
        "acquire": lambda: worker.acquire("L2"),
        "finish": lambda: worker.finish(claim),
        "cancel": lambda: worker.recalls.cancel(first, "by hand"),
        "retry": lambda: worker.recalls.retry(claim.recall_id, "by hand"),
        "pause": lambda: worker.queues.pause("L2", "for the test"),
        "resume": lambda: worker.queues.resume("L2"),
    }
    acts[change]()
    assert worker.epoch.seen().revision == before + 1
    assert second


# --- gone back -----------------------------------------------------------------------------------


def test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended(world, worker):
    worker.ask("c1")
    worker.ask("c2", "lima")
    copy = world.copy()
    lost = worker.acquire()
    assert isinstance(lost, Claim)
    world.put_back(copy)
    for queue in ("L1", "L2"):
        refused = worker.acquire(queue)
        assert refused.kind == "wait"
        assert until(refused) == NOON + timedelta(seconds=LEASE)
    world.pass_time(LEASE - 0.001)
    assert worker.acquire().kind == "wait"
    world.pass_time(0.001)
    assert worker.acquire().recall_id == lost.recall_id


def test_it_holds_for_workers_that_noticed_nothing_too(world, worker):
    worker.ask("c1")
    copy = world.copy()
    worker.acquire()
    world.put_back(copy)
    worker.sweep()
    fresh, tool = Member(world), Member(world, "tool")
    for each in (fresh, tool):
        assert each.acquire().kind == "wait"
        assert each.losses == []


@pytest.mark.parametrize("knows", ["a web", "a worker that only sweeps"])
def test_whoever_saw_more_finds_out_whatever_it_asks(world, worker, knows):
    worker.ask("c1")
    other = Member(world, "web" if knows == "a web" else "worker")
    copy = world.copy()
    worker.acquire()
    other.sweep()
    world.put_back(copy)
    if knows == "a web":
        other.ask("c9")
    else:
        other.sweep()
    assert [loss.how for loss in other.losses] == ["went back"]
    assert Member(world).acquire().kind == "wait"


def test_it_is_reported_once_with_what_is_missing(world, worker):
    others = [Member(world) for _ in range(3)]
    copy = world.copy()
    for n in range(4):
        worker.ask(f"c{n}")
    for each in others:
        each.sweep()
    world.put_back(copy)
    for each in (worker, *others, worker, *others):
        each.sweep()
    assert worker.losses == [EpochLoss(how="went back", missing=4)]
    assert [each.losses for each in others] == [[], [], []]
    assert world.client.hget("{ringback}:counts", "epochs:went back") == "1"


def test_the_report_is_given_again_where_the_reply_was_lost(world, worker):
    copy = world.copy()
    worker.ask("c1")
    world.put_back(copy)
    batcher = worker.store._batcher
    read, batcher._read = batcher._read, lambda reply: reply[-1]
    worker.sweep()
    batcher._read = read
    Member(world).sweep()
    worker.sweep()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back"]


def test_it_costs_one_quiet_time_however_many_find_out(world, worker):
    late = Member(world)
    worker.ask("c1")
    copy = world.copy()
    worker.acquire()
    late.sweep()
    world.put_back(copy)
    worker.sweep()
    world.pass_time(60)
    late.sweep()
    world.pass_time(LEASE - 60)
    assert isinstance(worker.acquire(), Claim)


def test_one_that_went_on_with_the_lost_history_for_longer_holds_the_queues_for_longer(world, worker):
    """As in a failover whose old primary still answers some."""
    behind = Member(world)
    worker.ask("c1")
    copy = world.copy()
    worker.acquire()
    behind.sweep()
    old = world.copy()
    world.put_back(copy)
    worker.sweep()
    new = world.copy()
    world.pass_time(30)
    world.put_back(old)
    behind.sweep()
    world.put_back(new)
    world.pass_time(1)
    behind.sweep()
    world.pass_time(LEASE - 2)
    assert worker.acquire().kind == "wait"
    world.pass_time(1)
    assert isinstance(worker.acquire(), Claim)
    assert behind.losses == []


def test_no_fence_of_the_lost_history_comes_again(world, worker):
    worker.ask("c1")
    copy = world.copy()
    lost = worker.acquire()
    world.put_back(copy)
    world.pass_time(1)
    worker.sweep()
    world.pass_time(LEASE)
    again = worker.acquire()
    assert (again.recall_id, again.fence) != (lost.recall_id, lost.fence)
    # The lost turn's word comes late, of the very recall that is being pushed now.
    assert again.recall_id == lost.recall_id
    assert worker.finish(lost).kind == "lost"
    assert worker.finish(again).kind == "released"


def test_a_drain_that_the_copy_knows_may_finish_and_claims_nothing_more(world, worker):
    worker.ask("c1")
    worker.ask("c2")
    claim = worker.acquire()
    copy = world.copy()
    other = Member(world)
    other.ask("c3")
    world.put_back(copy)
    other.sweep()
    assert worker.finish(claim, more=True).kind == "wait"
    assert worker.recalls.get(claim.recall_id).state == "accepted"


def test_a_store_that_goes_back_twice_is_found_twice(world, worker):
    worker.ask("c1")
    first = world.copy()
    worker.ask("c2")
    for copy in (first, None):
        if copy is None:
            worker.ask("c4")
        world.put_back(first)
        worker.sweep()
        world.pass_time(1)
    assert [loss.how for loss in worker.losses] == ["went back", "was exchanged"]
    assert worker.acquire().kind == "wait"


def test_a_copy_from_a_lost_history_is_found_though_it_has_counted_further(world, worker):
    copy = world.copy()
    worker.ask("c1")
    world.put_back(copy)
    other = Member(world)
    stale = world.copy()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back"]
    world.put_back(stale)
    other.sweep()
    worker.sweep()
    assert [loss.how for loss in worker.losses] == ["went back", "was exchanged"]


def lost_again_before_all_have_heard(world, worker):
    """A copy is put back twice. The web knows the history that began with the first loss, the worker does not.

    Each has seen something that the store does not hold when the copy is put back for the second time.
    """
    web = Member(world, "web")
    worker.ask("c1")
    copy = world.copy()
    web.ask("c2")
    world.put_back(copy)
    web.ask("c3")
    heard_by_the_web = world.copy()
    # The old copy again, for a moment: the worker, which noticed nothing, goes on with it.
    world.put_back(copy)
    lost = worker.acquire()
    assert isinstance(lost, Claim)
    world.put_back(heard_by_the_web)
    web.sweep()
    assert [loss.how for loss in web.losses] == ["went back"]
    assert worker.losses == []
    world.put_back(copy)
    return web, lost


def test_who_knew_different_histories_of_what_is_lost_reports_each_of_them(world, worker):
    """The store cannot tell that one is the continuation of another, so neither may go unreported."""
    web, _ = lost_again_before_all_have_heard(world, worker)
    worker.sweep()
    assert worker.losses == [EpochLoss(how="went back", missing=1)]
    web.sweep()
    assert web.losses[1:] == [EpochLoss(how="was exchanged", missing=None)]
    assert world.client.hget("{ringback}:counts", "epochs:was exchanged") == "1"


def test_who_knew_the_history_that_the_copy_goes_on_with_hears_that_it_is_lost(world, worker):
    web, _ = lost_again_before_all_have_heard(world, worker)
    web.sweep()
    worker.sweep()
    assert [loss.how for loss in web.losses] == ["went back", "was exchanged"]
    assert worker.losses == []


@pytest.mark.parametrize("first", ["worker", "web"])
def test_queues_are_held_from_the_latest_loss_that_is_found(world, worker, first):
    web, lost = lost_again_before_all_have_heard(world, worker)
    for member in (worker, web) if first == "worker" else (web, worker):
        world.pass_time(10)
        member.sweep()
        assert worker.acquire().kind == Member(world).acquire().kind == "wait"
    # Who is the second to speak knows another lost history only if the first did not name it.
    world.pass_time(LEASE - (10 if first == "web" else 0) - 0.001)
    assert worker.acquire().kind == "wait"
    world.pass_time(0.001)
    assert worker.acquire().recall_id == lost.recall_id


@pytest.mark.parametrize("first", ["worker", "web"])
def test_after_each_has_spoken_twice_all_go_by_one_history(world, worker, first):
    web, _ = lost_again_before_all_have_heard(world, worker)
    members = (worker, web) if first == "worker" else (web, worker)
    for member in members:
        member.sweep()
    told = [list(member.losses) for member in members]
    for member in (*members, *members):
        member.sweep()
    assert [member.losses for member in members] == told
    there = world.client.hget("{ringback}:meta", "epoch")
    assert {member.epoch.name for member in members} == {there}


def test_who_was_away_for_several_losses_finds_them_told(world, worker):
    away = Member(world)
    worker.ask("c1")
    away.sweep()
    for n in range(2):
        copy = world.copy()
        worker.ask(f"d{n}")
        world.put_back(copy)
        worker.sweep()
    away.sweep()
    assert [loss.how for loss in worker.losses] == ["went back", "went back"]
    assert away.losses == []
    assert away.epoch.name == worker.epoch.name


# --- emptied, exchanged ------------------------------------------------------------------------


def test_an_emptied_store_holds_the_queues(world, worker):
    worker.ask("c1")
    worker.acquire()
    world.client.flushall()
    worker.queues.bind({"bogota": "L9"})
    worker.ask("c2")
    assert worker.acquire("L9").kind == "wait"
    assert worker.losses == [EpochLoss(how="was emptied", missing=None)]
    world.pass_time(LEASE)
    assert isinstance(worker.acquire("L9"), Claim)


def test_another_store_holds_the_queues(world, worker):
    worker.ask("c1")
    mine = worker.epoch
    world.client.flushall()
    other = Member(world)
    other.queues.bind({"bogota": "L1"})
    other.ask("c1")
    worker.sweep()
    assert worker.losses == [EpochLoss(how="was exchanged", missing=None)]
    assert other.acquire().kind == "wait"
    assert mine.name == other.epoch.name


def test_a_new_store_holds_nobody(world, worker):
    worker.ask("c1")
    assert isinstance(worker.acquire(), Claim)


# --- what operators see --------------------------------------------------------------------------


def test_a_held_queue_says_why_and_until_when():
    now_ms = round(NOON.timestamp() * 1000)
    held_ms = held_until(str(now_ms), LEASE)
    state = queue_state({}, now_ms=now_ms + 1, today=None, held_ms=held_ms)
    assert (state.state, state.reason, state.until) == ("waiting", HELD, NOON + timedelta(seconds=LEASE))
    assert queue_state({}, now_ms=held_ms, today=None, held_ms=held_ms).state == "idle"
    later = {"wait": str(held_ms + 1), "wait_reason": "503"}
    assert queue_state(later, now_ms=now_ms, today=None, held_ms=held_ms).reason == "503"
    assert queue_state({"paused": "p"}, now_ms=now_ms, today=None, held_ms=held_ms).state == "paused"


def test_resume_does_not_cut_it_short(world, worker):
    worker.ask("c1")
    world.client.flushall()
    worker.queues.bind({"bogota": "L1"})
    worker.ask("c1")
    worker.queues.resume("L1")
    assert worker.acquire().kind == "wait"


def test_a_held_queue_is_rung_for_when_it_is_over(world, worker):
    worker.ask("c1")
    copy = world.copy()
    worker.ask("c2")
    world.put_back(copy)
    worker.sweep()
    worker.acquire()
    for _ in range(3):
        world.pass_time(20)
        assert worker.sweep() == []
    world.pass_time(7.1)
    assert [queue for queue, _ in worker.sweep()] == ["L1"]


def test_a_clock_that_goes_back_does_not_hold_the_queues_for_ever(world, worker):
    worker.ask("c1")
    copy = world.copy()
    worker.ask("c2")
    world.put_back(copy)
    worker.sweep()
    world.now -= timedelta(days=1)
    worker.sweep()
    world.pass_time(LEASE)
    assert isinstance(worker.acquire(), Claim)


def test_a_full_store_that_went_back_holds_its_queues_too(world, worker):
    worker.ask("c1")
    copy = world.copy()
    worker.acquire()
    world.put_back(copy)
    world.client.config_set("maxmemory", "1")
    try:
        assert worker.acquire().kind == "wait"
    finally:
        world.client.config_set("maxmemory", "0")
    assert [loss.how for loss in worker.losses] == ["went back"]


# --- a server that is new to the data -------------------------------------------------------------


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


# --- what a process remembers ----------------------------------------------------------------------


def test_a_file_remembers_while_everything_is_down(tmp_path, world):
    path = tmp_path / "seen"
    before = Member(world, path=path)
    before.queues.bind({"bogota": "L1"})
    before.ask("c1")
    before.epoch.keep()
    copy = world.copy()
    before.acquire()
    before.sweep()
    before.epoch.keep()
    world.put_back(copy)
    after = Member(world, path=path)
    assert after.acquire().kind == "wait"
    assert [loss.how for loss in after.losses] == ["went back"]


def test_a_file_of_the_same_history_costs_nothing(tmp_path, world):
    path = tmp_path / "seen"
    before = Member(world, path=path)
    before.queues.bind({"bogota": "L1"})
    before.ask("c1")
    before.epoch.keep()
    after = Member(world, path=path)
    assert isinstance(after.acquire(), Claim)


@pytest.mark.parametrize("text", ["", "nonsense", "abc 12x", "a-b 12", "\x00\xff"])
def test_a_file_that_cannot_be_read_is_no_memory(tmp_path, text):
    (tmp_path / "seen").write_bytes(text.encode())
    assert StoreEpoch(tmp_path / "seen").name == ""


def test_workers_that_share_a_file_keep_the_highest(tmp_path):
    first, second = (StoreEpoch(tmp_path / "seen") for _ in range(2))
    first.note("h1", 9, "s1")
    second.note("h1", 7, "s1")
    first.keep()
    second.keep()
    assert StoreEpoch(tmp_path / "seen").seen().revision == 9
    second.note("h2", 3, "s1")
    second.keep()
    assert StoreEpoch(tmp_path / "seen").name == "h2"


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path):
    epoch = StoreEpoch(tmp_path / "no folder" / "seen")
    epoch.note("h1", 9, "s1")
    epoch.keep()
    assert epoch.name == "h1"
