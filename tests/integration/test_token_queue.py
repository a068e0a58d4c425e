"""The queue's protocol, on a real store, with the time handed in."""

from __future__ import annotations

from datetime import timedelta

import pytest

from integration.domain.errors import ConflictError, StoreAwayError
from integration.domain.recall import CancelRequest, Filter, State
from integration.mapping.planner import CancelWanted, Expired
from integration.store.token_queue import Claim, NoClaim, Outcome, queue_id, queue_state
from support.store_process import ACCEPTED, NOON, TERMS, ClockedProcess, recall_request, terms_of_day


def again(**more):
    return Outcome(kind="again", reason="no answer", wait_ms=1000, **more)


class QueueProcess(ClockedProcess):
    """Two accounts with a queue each."""

    def __init__(self, client):
        super().__init__(client)
        self.bind(bogota="L1", lima="L2")

    def cancel_event(self, customer="c1", *, campaign="10", account="bogota", version=None):
        request = CancelRequest(
            account=account,
            campaign_id=campaign,
            customer_id=customer,
            version=version or self.now,
            source="forms",
        )
        return self.admit(CancelWanted(event=self.event(), request=request))

    def due(self):
        return self.client.zscore(self.store.key("due"), "L1")

    def queue(self, queue="L1"):
        fields = self.client.hgetall(self.store.key(f"queue:{queue}"))
        return queue_state(fields, now_ms=self.ms(), today=TERMS.day)


def woken(admitted):
    return tuple(wake_up.queue for wake_up in admitted.wake_ups)


@pytest.fixture
def world(store):
    return QueueProcess(store)


def test_an_admitted_recall_is_claimed_and_accepted(world):
    admitted = world.ask()
    assert woken(admitted) == ("L1",)
    claim = world.acquire()
    assert isinstance(claim, Claim)
    assert claim.recall_id == admitted.answer.recalls[0]
    assert world.state(claim.recall_id) is State.PUSHING
    assert world.finish(claim).kind == "released"
    assert world.state(claim.recall_id) is State.ACCEPTED
    assert world.due() is None


def test_the_wake_up_is_rung_once_while_it_is_on_its_way(world):
    assert woken(world.ask("c1")) == ("L1",)
    assert woken(world.ask("c2")) == ()


def test_what_arrives_when_a_queues_time_has_come_and_nobody_has_rung_yet_rings(world):
    world.ask("c1")
    world.finish(world.acquire(), again(), more=False)
    assert woken(world.ask("c2")) == (), "the queue waits for a second"
    world.pass_time(1.5)
    assert woken(world.ask("c3")) == ("L1",)
    assert woken(world.ask("c4")) == ()


def test_a_wake_up_that_the_sweep_has_to_look_after_is_not_rung_by_what_arrives(world):
    world.ask("c1")
    world.pass_time(5)
    assert woken(world.ask("c2")) == ()
    assert world.sweep() != []


def test_one_that_expired_on_arrival_and_overtakes_the_last_one_queued_leaves_nothing_to_look_at(world):
    world.ask("c1")
    newer = recall_request(due=NOON, version=NOON + timedelta(seconds=1))
    assert woken(world.admit(Expired(event=world.event(), request=newer, reason="too late"))) == ()
    assert world.due() is None


def test_no_wake_up_while_a_drain_is_under_way(world):
    world.ask("c1")
    world.acquire()
    assert woken(world.ask("c2")) == ()


def test_the_earliest_date_goes_first_then_arrival(world):
    late = world.ask_id("c1", due_minutes=600)
    early = world.ask_id("c2", due_minutes=60)
    early_too = world.ask_id("c3", due_minutes=60)
    claim = world.acquire()
    order = [claim.recall_id]
    while isinstance(claim := world.finish(claim, more=True), Claim):
        order.append(claim.recall_id)
    assert order == [early, early_too, late]
    assert claim == NoClaim("empty")


def test_a_second_drain_is_refused_while_the_lease_holds(world):
    world.ask("c1")
    world.ask("c2")
    world.acquire()
    assert world.acquire().kind == "busy"
    world.pass_time(66.9)
    assert world.acquire().kind == "busy"


def test_a_dead_workers_recall_goes_first_after_the_lease(world):
    first = world.ask_id("c1", due_minutes=60)
    world.acquire()
    world.ask("c2", due_minutes=1)
    world.pass_time(67)
    claim = world.acquire()
    assert claim.recall_id == first
    assert claim.crashes == 1
    assert world.recalls.get(first).attempts[0].outcome == "worker lost"


def test_a_stale_fence_changes_nothing(world):
    world.ask("c1")
    stale = world.acquire()
    world.pass_time(67)
    fresh = world.acquire()
    assert world.finish(stale).kind == "lost"
    assert world.state(fresh.recall_id) is State.PUSHING
    assert world.finish(fresh).kind == "released"


def test_a_late_finish_of_the_same_fence_counts_when_nobody_took_over(world):
    world.ask("c1")
    claim = world.acquire()
    world.pass_time(500)
    assert world.finish(claim).kind == "released"
    assert world.state(claim.recall_id) is State.ACCEPTED


def test_a_finish_whose_reply_was_lost_gives_the_same_claim_again(world):
    world.ask("c1")
    world.ask("c2")
    claim = world.acquire()
    second = world.finish(claim, more=True, step=1)
    assert world.finish(claim, more=True, step=1) == second
    assert world.state(second.recall_id) is State.PUSHING
    assert world.client.hget(world.store.key("queue:L1"), "pushed") == "1"


def test_an_acquire_whose_reply_was_lost_gives_the_same_claim_again(world):
    world.ask("c1")
    one = world.queues.acquire("L1", "nonce", TERMS)[0]
    assert world.queues.acquire("L1", "nonce", TERMS)[0] == one


def test_only_the_first_claim_of_a_drain_is_asked_for_again_by_acquiring(world):
    world.ask("c1")
    world.ask("c2")
    claim = world.queues.acquire("L1", "nonce", TERMS)[0]
    world.finish(claim, more=True)
    assert world.queues.acquire("L1", "nonce", TERMS)[0].kind == "busy"


def test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first(world):
    first = world.ask_id("c1", due_minutes=60)
    claim = world.acquire()
    world.finish(claim, again(quiet=True, sent_ms=20_000, convicts=True))
    world.ask("c2", due_minutes=1)
    assert world.queue().state == "waiting"
    world.pass_time(41.9)
    waiting = world.acquire()
    assert (waiting.kind, waiting.reason) == ("wait", "quiet")
    world.pass_time(0.1)
    assert world.acquire().recall_id == first


def test_a_recall_that_was_not_sent_waits_only_for_the_backoff(world):
    world.ask("c1")
    world.finish(world.acquire(), again())
    world.pass_time(0.9)
    assert world.acquire().kind == "wait"
    world.pass_time(0.2)
    assert isinstance(world.acquire(), Claim)


def test_resume_never_cuts_a_quiet_time_or_a_lease_short(world):
    world.ask("c1")
    claim = world.acquire()
    world.queues.resume("L1")
    assert world.acquire().kind == "busy"
    world.finish(claim, again(quiet=True, sent_ms=0))
    world.queues.resume("L1")
    assert world.acquire().reason == "quiet"


def test_a_newer_request_supersedes_the_queued_one(world):
    old = world.ask_id("c1", version=NOON)
    new = world.ask_id("c1", version=NOON + timedelta(seconds=1))
    assert world.state(old) is State.SUPERSEDED
    assert new in world.recalls.get(old).reason
    assert world.acquire().recall_id == new


def test_an_older_request_that_arrives_later_is_superseded_at_once(world):
    new = world.ask_id("c1", version=NOON)
    old = world.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert world.state(old) is State.SUPERSEDED
    assert world.state(new) is State.QUEUED


def test_at_equal_times_the_later_one_wins(world):
    old = world.ask_id("c1", version=NOON)
    new = world.ask_id("c1", version=NOON)
    assert (world.state(old), world.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_other_campaigns_and_customers_are_other_wishes(world):
    ids = [
        world.ask_id("c1", campaign="1"),
        world.ask_id("c1", campaign="2"),
        world.ask_id("c2", campaign="1"),
    ]
    assert {world.state(i) for i in ids} == {State.QUEUED}


def test_a_push_that_is_to_be_repeated_is_dropped_when_a_newer_request_came(world):
    old = world.ask_id("c1")
    claim = world.acquire()
    new = world.ask_id("c1")
    assert world.state(old) is State.PUSHING
    world.finish(claim, again())
    assert world.state(old) is State.SUPERSEDED
    world.pass_time(2)
    assert world.acquire().recall_id == new


def test_a_dead_workers_recall_is_dropped_when_a_newer_request_came(world):
    old = world.ask_id("c1")
    world.acquire()
    new = world.ask_id("c1")
    world.pass_time(67)
    assert world.acquire().recall_id == new
    assert world.state(old) is State.SUPERSEDED


def test_a_retry_of_one_that_is_no_longer_the_newest_is_refused(world):
    old = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="ended", state="dead", reason="refused"))
    world.ask("c1")
    with pytest.raises(ConflictError) as caught:
        world.recalls.retry(old, "again")
    assert caught.value.state == "dead"
    assert world.state(old) is State.DEAD


def test_a_dead_recall_is_retried(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="ended", state="dead", reason="refused", passed=True))
    assert [wake_up.queue for wake_up in world.recalls.retry(recall, "again")] == ["L1"]
    assert world.acquire().recall_id == recall
    assert [change.state for change in world.recalls.get(recall).history] == ["queued", "dead", "queued"]


def test_only_a_queued_recall_can_be_cancelled(world):
    recall = world.ask_id("c1")
    claim = world.acquire()
    with pytest.raises(ConflictError) as caught:
        world.recalls.cancel(recall, "by hand")
    assert caught.value.state == "pushing"
    world.finish(claim, again())
    world.recalls.cancel(recall, "by hand")
    world.pass_time(2)
    assert world.acquire() == NoClaim("empty")
    assert world.state(recall) is State.CANCELLED


def test_a_cancel_event_takes_back_what_is_queued(world):
    recall = world.ask_id("c1")
    answer = world.cancel_event("c1").answer
    assert answer.cancelled == (recall,)
    assert world.state(recall) is State.CANCELLED
    assert world.due() is None
    assert world.acquire() == NoClaim("empty")


def test_a_cancel_by_hand_leaves_an_empty_queue_in_no_index(world):
    world.recalls.cancel(world.ask_id("c1"), "by hand")
    assert world.due() is None


def test_a_cancel_event_for_what_wolkvox_never_took_is_not_too_late(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="ended", state="dead", reason="refused"))
    assert world.cancel_event("c1").answer.too_late == ()
    assert len(world.recalls.get(recall).history) == 2


def test_a_drain_that_leaves_work_behind_publishes_a_wake_up(world):
    world.ask("c1")
    world.ask("c2")
    claim = world.acquire()
    assert world.queues.finish("L1", claim, 1, ACCEPTED, more=False, terms=TERMS).wake_up.queue == "L1"


def test_a_cancel_event_too_late_is_recorded(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire())
    assert world.cancel_event("c1").answer.too_late == (recall,)
    found = world.recalls.get(recall)
    assert found.state is State.ACCEPTED
    assert "too late" in found.history[-1].reason


def test_a_cancel_during_the_push_stops_the_repeat(world):
    recall = world.ask_id("c1")
    claim = world.acquire()
    assert world.cancel_event("c1").answer.too_late == (recall,)
    world.finish(claim, again())
    assert world.state(recall) is State.CANCELLED


def test_an_older_request_does_not_outlive_a_newer_cancel(world):
    world.cancel_event("c1", version=NOON)
    recall = world.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert world.state(recall) is State.CANCELLED


def test_an_older_cancel_leaves_a_newer_request_alone(world):
    recall = world.ask_id("c1", version=NOON)
    world.cancel_event("c1", version=NOON - timedelta(seconds=1))
    assert world.state(recall) is State.QUEUED


def test_an_event_seen_before_contributes_its_old_id_and_changes_nothing(world):
    first = world.ask("c1", key="same")
    second = world.ask("c2", key="same")
    assert second.answer == first.answer
    assert second.again
    assert world.client.zcard(world.store.key("in:queued")) == 1


def test_pause_lets_nothing_go_and_resume_rings(world):
    world.ask("c1")
    world.queues.pause("L1", "maintenance")
    assert world.acquire() == NoClaim("paused", "maintenance")
    assert world.queue().state == "paused"
    assert world.due() is None
    assert world.queues.resume("L1").queue == "L1"
    assert isinstance(world.acquire(), Claim)


def test_a_pause_with_an_end_is_over_by_itself(world):
    world.ask("c1")
    ends = world.now + timedelta(minutes=10)
    world.queues.pause("L1", "lunch", ends)
    assert world.acquire().kind == "paused"
    assert (world.queue().state, world.queue().reason, world.queue().until) == ("paused", "lunch", ends)
    world.pass_time(601)
    # Nobody has touched the queue, and it stands as if it had been resumed.
    assert world.queue().state == "idle"
    assert [queue for queue, _ in world.sweep()] == ["L1"]
    assert isinstance(world.acquire(), Claim)


def test_a_queue_whose_pause_ends_is_looked_at_when_it_does(world):
    world.ask("c1")
    world.queues.pause("L1", "lunch", world.now + timedelta(seconds=20))
    assert world.sweep() == []
    assert world.due() is not None
    world.pass_time(21)
    assert [queue for queue, _ in world.sweep()] == ["L1"]


def test_what_arrives_after_a_pause_ended_rings_at_once(world):
    world.queues.pause("L1", "lunch", world.now + timedelta(seconds=20))
    assert woken(world.ask("c1")) == ()
    world.pass_time(21)
    assert woken(world.ask("c2")) == ("L1",)


def test_a_pause_without_an_end_takes_the_place_of_one_with_and_the_other_way_round(world):
    world.ask("c1")
    world.queues.pause("L1", "lunch", world.now + timedelta(seconds=20))
    world.queues.pause("L1", "for good")
    world.pass_time(3600)
    assert (world.queue().state, world.queue().until) == ("paused", None)
    world.queues.pause("L1", "lunch", world.now + timedelta(seconds=20))
    world.queues.resume("L1")
    assert isinstance(world.acquire(), Claim)


def test_a_clock_that_goes_back_makes_no_pause_longer_than_it_was_to_be(world):
    world.ask("c1")
    world.queues.pause("L1", "lunch", world.now + timedelta(minutes=10))
    world.pass_time(-24 * 3600)
    world.acquire()
    world.pass_time(601)
    assert isinstance(world.acquire(), Claim)


def test_the_end_of_a_pause_goes_along_to_a_new_token(world):
    ends = world.now + timedelta(minutes=10)
    world.queues.pause("L1", "lunch", ends)
    world.bind(bogota="L9", lima="L2")
    assert (world.queue("L9").state, world.queue("L9").until) == ("paused", ends)


def test_a_stopped_queue_keeps_its_recall_until_resume(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="401", stop="the token is refused"))
    assert (world.queue().state, world.queue().reason) == ("stopped", "the token is refused")
    assert world.acquire().kind == "stopped"
    assert world.state(recall) is State.QUEUED
    world.queues.pause("L1", "x")
    assert world.queue().state == "stopped"
    world.queues.resume("L1")
    assert world.acquire().recall_id == recall


def test_the_daily_limit_holds_until_the_day_ends(world):
    terms = terms_of_day("2026-03-02", limit=2)
    for n in range(3):
        world.ask(f"c{n}")
    claim = world.acquire(terms=terms)
    claim = world.finish(claim, more=True, terms=terms)
    stopped = world.finish(claim, more=True, terms=terms)
    assert (stopped.kind, stopped.reason) == ("wait", "the daily limit is used up")
    world.pass_time(12 * 3600)
    tomorrow = terms_of_day("2026-03-03", limit=2)
    assert isinstance(world.acquire(terms=tomorrow), Claim)


def test_the_sweep_finds_a_queue_whose_wake_up_was_lost(world):
    world.ask("c1")
    assert world.sweep() == []
    world.pass_time(1.5)
    assert world.sweep() == [("L1", 2)]
    assert world.sweep() == []
    world.pass_time(1.4)
    assert world.sweep() == []
    world.pass_time(0.1)
    assert world.sweep() == [("L1", 3)]


def test_a_queue_whose_takers_die_one_after_the_other_is_looked_at_again_as_soon(world):
    world.ask()
    for _ in range(3):
        world.pass_time(1.5)
        assert [queue for queue, _ in world.sweep()] == ["L1"]


def test_a_queue_that_nobody_ever_takes_is_looked_at_ever_less(world):
    world.ask()
    looks = 0
    for _ in range(400):
        world.pass_time(0.5)
        looks += len(world.sweep())
    assert 8 <= looks <= 12


def test_the_sweep_finds_a_queue_whose_wait_is_over(world):
    world.ask("c1")
    world.finish(world.acquire(), again())
    assert world.sweep() == []
    world.pass_time(1)
    assert world.sweep() == [("L1", 1)]


def test_the_sweep_leaves_a_queue_alone_during_its_quiet_time(world):
    world.ask("c1")
    world.finish(world.acquire(), again(quiet=True, sent_ms=0))
    for _ in range(2):
        world.pass_time(30)
        assert world.sweep() == []
    world.pass_time(2)
    assert world.sweep() == [("L1", 1)]


def test_the_sweep_finds_a_queue_whose_worker_died(world):
    world.ask("c1")
    world.acquire()
    world.pass_time(67)
    assert world.sweep() == [("L1", 1)]


def test_a_queue_at_rest_is_in_no_index(world):
    world.ask("c1")
    world.finish(world.acquire())
    world.pass_time(1000)
    assert world.sweep() == []


def test_a_store_clock_that_jumps_back_locks_no_queue(world):
    world.ask("c1")
    world.finish(world.acquire(), again(quiet=True, sent_ms=0))
    world.now -= timedelta(days=2)
    assert world.acquire().kind == "wait"
    world.pass_time(62)
    assert isinstance(world.acquire(), Claim)


def fail_until_aside(world, claim):
    for _ in range(2):
        world.finish(claim, again(convicts=True))
        world.pass_time(2)
        claim = world.acquire()
    world.finish(claim, Outcome(kind="aside", reason="again and again", wait_ms=1000))
    world.pass_time(2)


def test_a_recall_set_aside_lets_another_probe_and_is_then_tried_again(world):
    poison = world.ask_id("c1", due_minutes=1)
    other = world.ask_id("c2", due_minutes=2)
    world.ask("c3", due_minutes=3)
    fail_until_aside(world, world.acquire())
    probe = world.acquire()
    assert probe.recall_id == other
    tried_again = world.finish(probe, more=True)
    assert tried_again.recall_id == poison
    assert (tried_again.rounds, tried_again.strikes) == (1, 0)


def test_a_probe_that_fails_too_acquits_both(world):
    poison = world.ask_id("c1", due_minutes=1)
    other = world.ask_id("c2", due_minutes=2)
    fail_until_aside(world, world.acquire())
    probe = world.acquire()
    world.finish(probe, again(convicts=True))
    world.pass_time(2)
    claim = world.acquire()
    assert (claim.recall_id, claim.strikes) == (other, 0)
    claim = world.finish(claim, more=True)
    assert (claim.recall_id, claim.rounds) == (poison, 0)


def test_a_probe_that_is_to_be_set_aside_itself_acquits_both(world):
    poison = world.ask_id("c1", due_minutes=1)
    other = world.ask_id("c2", due_minutes=2)
    third = world.ask_id("c3", due_minutes=3)
    fail_until_aside(world, world.acquire())
    world.finish(world.acquire(), Outcome(kind="aside", reason="again and again", wait_ms=1000))
    world.pass_time(2)
    claim = world.acquire()
    order = [claim.recall_id]
    while isinstance(claim := world.finish(claim, more=True), Claim):
        assert claim.rounds == 0
        order.append(claim.recall_id)
    assert order == [other, poison, third]


def test_a_recall_set_aside_goes_on_when_there_is_nobody_else(world):
    poison = world.ask_id("c1")
    fail_until_aside(world, world.acquire())
    claim = world.acquire()
    assert (claim.recall_id, claim.rounds) == (poison, 0)


def test_a_recall_under_which_workers_die_is_set_aside_and_at_last_dead(world):
    poison = world.ask_id("c0", due_minutes=1)
    for n in range(1, 4):
        world.ask(f"c{n}", due_minutes=10 + n)
    for _ in range(2):
        for _ in range(3):
            assert world.acquire().recall_id == poison
            world.pass_time(67)
        probe = world.acquire()
        assert probe.recall_id != poison
        world.finish(probe)
    for _ in range(3):
        assert world.acquire().recall_id == poison
        world.pass_time(67)
    assert world.acquire().recall_id != poison
    assert world.state(poison) is State.DEAD


def test_a_new_token_takes_the_queue_along(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="401", stop="the token is refused", sent_ms=1))
    assert world.bind(bogota="L9", lima="L2") == 0
    assert world.acquire("L1") == NoClaim("empty")
    claim = world.acquire("L9")
    assert claim.recall_id == recall
    assert world.client.hget(world.store.key("queue:L9"), "pushed") == "1"
    newer = world.ask_id("c1")
    world.finish(claim, again(), queue="L9")
    assert (world.state(recall), world.state(newer)) == (State.SUPERSEDED, State.QUEUED)


def test_a_new_token_waits_for_the_call_on_the_old_one(world):
    world.ask("c1")
    claim = world.acquire()
    assert world.bind(bogota="L9", lima="L2") > 0
    assert world.queues.bound()["bogota"] == "L1"
    world.finish(claim, again(quiet=True, sent_ms=0))
    assert world.bind(bogota="L9", lima="L2") > 0
    world.pass_time(62)
    assert world.bind(bogota="L9", lima="L2") == 0
    assert isinstance(world.acquire("L9"), Claim)


def test_a_new_token_waits_no_longer_than_a_quiet_time_after_the_clock_jumped_back(world):
    world.ask("c1")
    world.finish(world.acquire(), again(quiet=True, sent_ms=0))
    world.now -= timedelta(days=2)
    assert world.bind(bogota="L9", lima="L2") == world.ms() + 62_000


def test_of_two_accounts_on_a_token_only_the_changed_one_moves(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    stays = world.ask_id("c1", account="cali")
    moves = world.ask_id("c2", account="bogota")
    world.bind(bogota="L9", lima="L2", cali="L1")
    assert world.acquire("L1").recall_id == stays
    assert world.acquire("L9").recall_id == moves


def test_an_account_that_leaves_the_configuration_leaves_a_stopped_queue_behind(world):
    recall = world.ask_id("c1")
    world.queues.bind({"lima": "L2"})
    assert world.queue().state == "stopped"
    assert world.acquire().kind == "stopped"
    world.bind(bogota="L1", lima="L2")
    assert world.acquire().recall_id == recall


def test_a_full_store_refuses_new_work_and_still_finishes_releases_and_cancels(world):
    waiting = world.ask_id("c2", due_minutes=90)
    world.ask("c1")
    claim = world.acquire()
    world.client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreAwayError):
            world.ask("c3")
        assert world.finish(claim).kind == "released"
        world.recalls.cancel(waiting, "by hand")
        assert world.client.zcard(world.store.key("in:queued")) == 0
    finally:
        world.client.config_set("maxmemory", "0")
    assert world.state(claim.recall_id) is State.ACCEPTED
    assert world.state(waiting) is State.CANCELLED


@pytest.fixture
def full(world):
    """Fills the store, and empties it again."""
    yield lambda: world.client.config_set("maxmemory", "1")
    world.client.config_set("maxmemory", "0")


def test_a_full_store_still_tells_a_second_drain_that_the_queue_is_busy(world, full):
    world.ask("c1")
    world.acquire()
    full()
    assert world.acquire().kind == "busy"


def test_a_full_store_can_still_be_paused_during_a_push(world, full):
    world.ask("c1")
    claim = world.acquire()
    full()
    world.queues.pause("L1", "maintenance")
    assert world.finish(claim, more=True).kind == "paused"


def test_a_full_store_tells_a_stale_drain_that_it_lost_the_queue(world, full):
    world.ask("c1")
    stale = world.acquire()
    world.pass_time(67)
    world.acquire()
    full()
    assert world.finish(stale).kind == "lost"


def test_a_full_store_is_still_swept(world, full):
    world.ask("c1")
    world.finish(world.acquire(), again())
    full()
    world.pass_time(1)
    assert world.sweep() == [("L1", 1)]


def test_a_full_store_still_lets_a_worker_start(world, full):
    key = world.queues.id_key()
    world.ask("c1")
    full()
    assert world.queues.id_key() == key
    assert world.bind(bogota="L9", lima="L2") == 0
    assert isinstance(world.acquire("L9"), Claim)


def test_a_full_store_still_takes_a_new_account(world, full):
    full()
    assert world.bind(bogota="L1", lima="L2", cali="L3") == 0
    assert world.queues.bound()["cali"] == "L3"


def test_a_full_store_takes_nothing_from_an_operator_who_retries(world, full):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="ended", state="dead", reason="refused"))
    full()
    with pytest.raises(StoreAwayError):
        world.recalls.retry(recall, "again", date=NOON)
    assert world.state(recall) is State.DEAD


def test_the_sweep_finds_a_queue_that_was_due_before_the_clock_jumped_back(world):
    world.ask("c1")
    world.now -= timedelta(days=2)
    assert world.sweep() == [("L1", 2)]
    assert world.sweep() == []


def test_the_sweep_cuts_a_wait_to_its_length_after_the_clock_jumped_back(world):
    world.ask("c1")
    world.finish(world.acquire(), again(quiet=True, sent_ms=0))
    world.now -= timedelta(days=2)
    assert world.sweep() == []
    for _ in range(3):
        world.pass_time(31)
        if rung := world.sweep():
            break
    assert rung == [("L1", 1)]


def test_the_sweep_looks_at_a_waiting_queue_now_and_then(world):
    world.ask("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="asked to", wait_ms=3_600_000))
    assert world.due() == world.ms() + 30_000
    world.pass_time(30)
    assert world.sweep() == []
    assert world.due() == world.ms() + 30_000
    world.pass_time(3571)
    assert world.sweep() == [("L1", 1)]


def test_a_step_that_is_neither_the_next_nor_the_last_changes_nothing(world):
    for n in range(3):
        world.ask(f"c{n}")
    first = world.acquire()
    second = world.finish(first, more=True, step=1)
    third = world.finish(second, more=True, step=2)
    before = world.client.hgetall(world.store.key("queue:L1"))
    assert world.finish(first, step=1).kind == "lost"
    assert world.finish(third, step=4).kind == "lost"
    assert world.client.hgetall(world.store.key("queue:L1")) == before


def test_an_outcome_for_another_recall_than_the_one_in_flight_changes_nothing(world):
    for n in range(2):
        world.ask(f"c{n}")
    first = world.acquire()
    second = world.finish(first, more=True, step=1)
    assert world.finish(first, step=2).kind == "lost"
    assert world.state(second.recall_id) is State.PUSHING


def push_until_the_limit(world, terms):
    claim = world.acquire(terms=terms)
    while isinstance(claim, Claim):
        claim = world.finish(claim, more=True, terms=terms)
    return claim


def test_a_worker_whose_clock_is_behind_does_not_begin_the_count_of_yesterday_anew(world):
    today, yesterday = terms_of_day("2026-03-02", limit=2), terms_of_day("2026-03-01", limit=2)
    for n in range(3):
        world.ask(f"c{n}")
    push_until_the_limit(world, today)
    world.queues.resume("L1")
    assert world.acquire(terms=yesterday).kind == "wait"
    world.queues.resume("L1")
    assert world.acquire(terms=today).kind == "wait"


def test_a_worker_whose_clock_was_days_ahead_does_not_use_up_the_days_to_come(world):
    for n in range(3):
        world.ask(f"c{n}")
    push_until_the_limit(world, terms_of_day("2027-01-01", limit=2))
    world.queues.resume("L1")
    assert isinstance(world.acquire(terms=terms_of_day("2026-03-02", limit=2)), Claim)


def test_a_day_that_is_over_by_the_stores_clock_alone_makes_no_worker_ask_on_and_on(world):
    over = terms_of_day("2026-03-02", limit=2, ends=NOON)
    for n in range(3):
        world.ask(f"c{n}")
    waiting = push_until_the_limit(world, over)
    assert waiting.until_ms == world.ms() + 1000
    assert world.acquire(terms=over).kind == "wait"


def test_a_wait_until_a_moment_that_is_over_already_lasts_a_second(world):
    world.ask("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="quota", wait_until=world.ms() - 1))
    world.pass_time(0.9)
    assert world.acquire().kind == "wait"
    world.pass_time(0.1)
    assert isinstance(world.acquire(), Claim)


def test_no_worker_can_make_a_queue_wait_for_longer_than_a_day_and_a_bit(world):
    world.ask("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="quota", wait_until=world.ms() + 10**11))
    world.pass_time(26 * 3600)
    assert isinstance(world.acquire(), Claim)


def test_a_push_under_which_a_worker_died_counts_as_a_call_of_the_day(world):
    terms = terms_of_day("2026-03-02", limit=1)
    world.ask("c1")
    world.acquire(terms=terms)
    world.pass_time(67)
    assert world.acquire(terms=terms).reason == "the daily limit is used up"


def test_a_call_that_was_not_sent_is_not_counted(world):
    world.ask("c1")
    world.finish(world.acquire(), again())
    assert world.queue().pushed_today == 0


def test_a_recall_set_aside_and_then_cancelled_leaves_nothing_behind(world):
    poison = world.ask_id("c1", due_minutes=1)
    world.ask("c2", due_minutes=2)
    fail_until_aside(world, world.acquire())
    probe = world.acquire()
    world.recalls.cancel(poison, "by hand")
    world.pass_time(1)
    world.deliveries.purge(before=world.now)
    world.finish(probe)
    assert not world.client.exists(world.store.key(f"recall:{poison}"))


def test_a_failed_probe_of_one_that_was_cancelled_leaves_nothing_behind(world):
    poison = world.ask_id("c1", due_minutes=1)
    world.ask("c2", due_minutes=2)
    fail_until_aside(world, world.acquire())
    probe = world.acquire()
    world.recalls.cancel(poison, "by hand")
    world.pass_time(1)
    world.deliveries.purge(before=world.now)
    world.finish(probe, again(convicts=True))
    assert not world.client.exists(world.store.key(f"recall:{poison}"))


def test_where_the_one_set_aside_was_cancelled_the_next_is_no_probe(world):
    poison = world.ask_id("c1", due_minutes=1)
    world.ask("c2", due_minutes=2)
    fail_until_aside(world, world.acquire())
    world.recalls.cancel(poison, "by hand")
    world.finish(world.acquire(), again(convicts=True))
    world.pass_time(2)
    assert world.acquire().strikes == 1


def test_a_retry_begins_with_a_clean_sheet(world):
    poison = world.ask_id("c0", due_minutes=1)
    world.ask("c1", due_minutes=2)
    fail_until_aside(world, world.acquire())
    claim = world.finish(world.acquire(), more=True)
    assert claim.rounds == 1
    world.finish(claim, Outcome(kind="ended", state="dead", reason="refused"))
    world.recalls.retry(poison, "again")
    claim = world.acquire()
    assert (claim.recall_id, claim.rounds, claim.strikes, claim.crashes) == (poison, 0, 0, 0)


def test_a_dead_recall_that_is_retried_waits_for_its_turn_like_the_others(world):
    poison = world.ask_id("c0", due_minutes=100)
    others = [world.ask_id(f"c{n}", due_minutes=200 + n) for n in range(1, 4)]
    for _ in range(2):
        for _ in range(3):
            world.acquire()
            world.pass_time(67)
        world.finish(world.acquire())
    for _ in range(3):
        world.acquire()
        world.pass_time(67)
    world.queues.pause("L1", "x")
    world.acquire()
    assert world.state(poison) is State.DEAD
    world.recalls.retry(poison, "again", date=NOON + timedelta(days=9))
    world.queues.resume("L1")
    assert world.acquire().recall_id == others[2]


def test_an_attempt_list_keeps_its_latest_hundred(world):
    recall = world.ask_id("c1")
    for n in range(103):
        told = f'{{"started_at":{n},"outcome":"wait"}}'
        world.finish(world.acquire(), Outcome(kind="again", reason="x", wait_ms=1, attempt=told))
        world.pass_time(1)
    attempts = world.recalls.get(recall).attempts
    assert len(attempts) == 100
    assert attempts[-1].started_at.timestamp() == pytest.approx(0.102)


def test_a_drain_on_a_token_that_was_changed_meanwhile_has_lost_its_queue(world):
    world.ask("c1")
    claim = world.queues.acquire("L1", "nonce", TERMS)[0]
    world.pass_time(67)
    world.bind(bogota="L9", lima="L2")
    assert world.queues.acquire("L1", "nonce", TERMS)[0].kind == "lost"
    assert world.finish(claim).kind == "lost"
    assert isinstance(world.acquire("L9"), Claim)


def test_a_drain_on_a_token_that_was_changed_cannot_finish_what_came_after(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    world.ask("c1")
    claim = world.acquire()
    second = world.finish(claim, again())
    assert second.kind == "released"
    world.bind(bogota="L9", lima="L2", cali="L1")
    assert world.finish(claim, again(), step=1).kind == "lost"


def test_a_new_token_does_not_resume_a_queue_that_an_operator_paused(world):
    world.bind(bogota="L1", lima="L2", cali="L3")
    world.queues.pause("L2", "maintenance")
    world.bind(bogota="L2", lima="L2", cali="L3")
    assert world.queue("L2").state == "paused"


def test_a_pause_goes_along_to_a_new_token(world):
    world.queues.pause("L1", "maintenance")
    world.bind(bogota="L9", lima="L2")
    assert world.queue("L9").state == "paused"


def test_a_stop_does_not_go_along_to_a_new_token(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="401", stop="the token is refused"))
    world.bind(bogota="L9", lima="L2")
    assert world.queue("L1").state == "idle"
    assert world.acquire("L9").recall_id == recall


def test_a_cancel_of_one_account_stays_when_the_other_of_a_token_changes(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    world.cancel_event("c1", version=NOON)
    world.bind(bogota="L1", lima="L2", cali="L9")
    older = world.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert world.state(older) is State.CANCELLED


def test_a_cancel_goes_along_to_a_new_token(world):
    world.cancel_event("c1", version=NOON)
    world.bind(bogota="L9", lima="L2")
    older = world.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert world.state(older) is State.CANCELLED


@pytest.mark.parametrize("shared", [False, True])
def test_the_trace_of_a_cancel_fades_after_the_token_changed(world, shared):
    world.bind(bogota="L1", lima="L2", **({"cali": "L1"} if shared else {}))
    world.cancel_event("c1")
    world.bind(bogota="L9", lima="L2", **({"cali": "L1"} if shared else {}))
    world.pass_time(10)
    world.deliveries.purge(before=world.now)
    assert not world.client.exists(world.store.key("queue:L1:newest"), world.store.key("queue:L9:newest"))
    assert not world.client.exists(world.store.key("fading"))


def test_the_trace_of_a_cancel_does_not_fade_before_its_time(world):
    world.cancel_event("c1", version=NOON)
    world.deliveries.purge(before=world.now - timedelta(seconds=1))
    older = world.ask_id("c1", version=NOON - timedelta(seconds=1))
    assert world.state(older) is State.CANCELLED


def test_a_cancel_of_one_account_outlives_the_trace_of_anothers(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    world.cancel_event("c1", version=NOON)
    world.pass_time(10)
    world.cancel_event("c1", version=NOON + timedelta(seconds=5), account="cali")
    world.deliveries.purge(before=world.now)
    older = world.ask_id("c1", version=NOON)
    assert world.state(older) is State.CANCELLED


def test_a_request_after_a_cancel_outlives_the_cancels_trace(world):
    world.cancel_event("c1")
    world.pass_time(1)
    recall = world.ask_id("c1")
    world.pass_time(1)
    world.deliveries.purge(before=world.now)
    older = world.ask_id("c1", version=NOON)
    assert (world.state(recall), world.state(older)) == (State.QUEUED, State.SUPERSEDED)


def two_tokens_become_one(world):
    world.bind(bogota="L1", lima="L1")


def test_when_two_tokens_become_one_the_newest_request_of_a_customer_wins(world):
    old = world.ask_id("c1", version=NOON, account="lima")
    new = world.ask_id("c1", version=NOON + timedelta(seconds=1))
    two_tokens_become_one(world)
    assert (world.state(old), world.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_when_two_tokens_become_one_the_newest_wins_also_when_it_is_the_one_that_moves(world):
    old = world.ask_id("c1", version=NOON)
    new = world.ask_id("c1", version=NOON + timedelta(seconds=1), account="lima")
    two_tokens_become_one(world)
    assert (world.state(old), world.state(new)) == (State.SUPERSEDED, State.QUEUED)


def test_when_two_tokens_become_one_a_newer_cancel_takes_the_older_request_back(world):
    world.cancel_event("c1", version=NOON + timedelta(seconds=1))
    old = world.ask_id("c1", version=NOON, account="lima")
    two_tokens_become_one(world)
    assert world.state(old) is State.CANCELLED


def test_the_calls_of_the_day_go_along_to_a_new_token(world):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        world.ask(f"c{n}")
    world.finish(world.acquire(terms=terms), terms=terms)
    world.bind(bogota="L9", lima="L2")
    assert world.acquire("L9", terms).reason == "the daily limit is used up"


def test_the_calls_of_the_day_that_a_token_has_made_itself_are_kept(world):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        world.ask(f"c{n}", account="lima")
    world.finish(world.acquire("L2", terms), queue="L2", terms=terms)
    world.bind(bogota="L2", lima="L2")
    assert world.acquire("L2", terms).reason == "the daily limit is used up"


def test_a_call_in_flight_on_a_token_counts_though_another_account_comes_to_it(world):
    terms = terms_of_day("2026-03-02", limit=1)
    for n in range(2):
        world.ask(f"c{n}", account="lima")
    world.acquire("L2", terms)
    world.bind(bogota="L2", lima="L2")
    world.pass_time(67)
    assert world.acquire("L2", terms).reason == "the daily limit is used up"


def test_the_sweep_finds_what_a_new_token_took_along(world):
    world.ask("c1")
    world.bind(bogota="L9", lima="L2")
    assert world.due() is None
    world.pass_time(1.5)
    assert [queue for queue, _ in world.sweep()] == ["L9"]


def test_a_token_that_is_being_changed_is_not_stopped_because_another_account_left(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    world.ask("c1")
    world.acquire()
    assert world.bind(bogota="L9", lima="L2") > 0
    assert world.queue().state == "busy"


def test_resume_of_a_queue_that_had_stopped_before_its_account_left_wakes_nobody(world):
    world.ask("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="401", stop="the token is refused"))
    world.queues.bind({"lima": "L2"})
    assert world.queues.resume("L1") is None
    assert world.acquire().kind == "stopped"
    assert "configuration" in world.queue().reason


def test_resume_does_not_wake_a_queue_that_no_account_uses(world):
    world.ask("c1")
    world.queues.bind({"lima": "L2"})
    assert world.queues.resume("L1") is None
    assert world.queue().state == "stopped"


def test_what_was_being_pushed_for_an_account_that_is_gone_waits_in_its_queue(world):
    recall = world.ask_id("c1")
    world.acquire()
    world.queues.bind({"lima": "L2"})
    world.pass_time(66)
    world.sweep()
    assert world.state(recall) is State.PUSHING
    world.pass_time(1)
    assert world.sweep() == []
    assert world.state(recall) is State.QUEUED
    assert world.due() is None


def test_an_account_that_comes_back_with_another_token_takes_its_queue_along(world):
    recall = world.ask_id("c1")
    world.queues.bind({"lima": "L2"})
    world.bind(bogota="L9", lima="L2")
    assert world.acquire("L9").recall_id == recall


def test_an_account_that_leaves_a_shared_token_stops_nobody(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    world.bind(bogota="L1", lima="L2")
    assert world.queue().state == "idle"


def test_a_queue_that_stopped_before_its_account_left_stays_stopped_for_its_reason(world):
    world.ask("c1")
    world.finish(world.acquire(), Outcome(kind="again", reason="401", stop="the token is refused"))
    world.queues.bind({"lima": "L2"})
    world.bind(bogota="L1", lima="L2")
    assert world.queue().reason == "the token is refused"


def test_a_page_is_newest_first_and_its_cursor_goes_on(world):
    ids = [world.ask_id(f"c{n}") for n in range(5)]
    page, cursor = world.recalls.page(Filter(), limit=3)
    rest, end = world.recalls.page(Filter(), limit=3, cursor=cursor)
    assert [recall.id for recall in page + rest] == ids[::-1]
    assert end is None


def test_filters_go_by_state_account_and_customer(world):
    a = world.ask_id("c1")
    b = world.ask_id("c1", account="lima")
    world.finish(world.acquire())
    ids = lambda **which: [r.id for r in world.recalls.page(Filter(**which), limit=10)[0]]  # noqa: E731
    assert ids(state=State.ACCEPTED) == [a]
    assert ids(accounts=frozenset({"lima"})) == [b]
    assert ids(customer_id="c1") == [b, a]
    assert ids(customer_id="c1", accounts=frozenset({"lima"}), state=State.QUEUED) == [b]


def test_purge_removes_only_what_ended_before(world):
    gone = world.ask_id("c1")
    world.finish(world.acquire())
    stays = world.ask_id("c2")
    world.pass_time(86400)
    assert world.deliveries.purge(before=world.now) == 1
    assert world.recalls.page(Filter(), limit=10)[0][0].id == stays
    assert not world.client.exists(world.store.key(f"recall:{gone}"))
    assert [found.id for found in world.recalls.every(Filter())] == [stays]
    indexes = [
        *world.client.scan_iter(world.store.key("find:*")),
        *world.client.scan_iter(world.store.key("in:*")),
    ]
    assert [
        recall for index in indexes for recall in world.client.zrange(index, 0, -1) if gone in recall
    ] == []


def test_one_that_ended_late_keeps_no_other_from_being_purged(world):
    late = world.ask_id("c1", due_minutes=600)
    early = world.ask_id("c2", due_minutes=1)
    world.finish(world.acquire())
    world.pass_time(100)
    world.finish(world.acquire())
    assert world.deliveries.purge(before=world.now, limit=1) == 1
    assert world.state(late) is State.ACCEPTED
    assert not world.client.exists(world.store.key(f"recall:{early}"))


def test_a_retried_recall_is_not_purged(world):
    recall = world.ask_id("c1")
    world.finish(world.acquire(), Outcome(kind="ended", state="dead", reason="refused"))
    world.recalls.retry(recall, "again")
    world.pass_time(1)
    assert world.deliveries.purge(before=world.now) == 0
    assert world.state(recall) is State.QUEUED


def test_purging_an_older_request_leaves_the_newest_of_its_customer_known(world):
    world.ask("c1", version=NOON)
    newest = world.ask_id("c1", version=NOON + timedelta(seconds=2))
    world.pass_time(1)
    assert world.deliveries.purge(before=world.now) == 1
    between = world.ask_id("c1", version=NOON + timedelta(seconds=1))
    assert (world.state(newest), world.state(between)) == (State.QUEUED, State.SUPERSEDED)


def test_what_a_recall_leaves_is_gone_when_it_is_purged(world):
    world.ask("c1")
    world.finish(world.acquire())
    world.pass_time(1)
    world.deliveries.purge(before=world.now)
    left = {key.removeprefix("{ringback}:") for key in world.client.keys("*")}
    # What remembers deliveries goes by itself.
    by_itself = ("seen:", "answer:", "arrivals:")
    assert {key for key in left if not key.startswith(by_itself)} == {
        "accounts",
        "counts",
        "meta",
        "queue:L1",
    }
    assert all(world.client.pttl(key) > 0 for key in world.client.keys("*arrivals:*"))


def test_a_queue_id_does_not_give_the_token_away():
    assert queue_id(b"k" * 32, "token") != queue_id(b"j" * 32, "token")
    assert "token" not in queue_id(b"k" * 32, "token")


@pytest.mark.parametrize("dies", [False, True])
def test_an_account_that_leaves_a_shared_token_stays_until_its_call_is_over(world, dies):
    world.bind(bogota="L1", lima="L2", cali="L1")
    left = world.ask_id("c1", account="cali", due_minutes=1)
    queued = world.ask_id("c2", account="cali", due_minutes=2)
    claim = world.acquire()
    assert world.bind(bogota="L1", lima="L2") == world.ms() + 67_000
    if not dies:
        world.finish(claim, again())
    world.pass_time(67)
    assert world.bind(bogota="L1", lima="L2") == 0
    assert world.acquire() == NoClaim("empty")
    for recall in (left, queued):
        world.recalls.cancel(recall, "by hand")
    assert world.bind(bogota="L1", lima="L2", cali="L1") == 0
    assert world.acquire() == NoClaim("empty")


def test_an_account_that_leaves_a_shared_token_does_not_hold_up_the_others(world):
    world.bind(bogota="L1", lima="L2", cali="L1")
    left = world.ask_id("c1", account="cali", due_minutes=1)
    stays = world.ask_id("c2", account="bogota", due_minutes=2)
    world.bind(bogota="L1", lima="L2")
    assert world.acquire("L1").recall_id == stays
    assert world.queue("gone-cali").state == "stopped"
    world.bind(bogota="L1", lima="L2", cali="L7")
    assert world.acquire("L7").recall_id == left


def test_a_claim_shows_no_telephone():
    claim = Claim(
        fence=1,
        recall_id="rc_1",
        account="bogota",
        campaign_id="10",
        customer_id="c1",
        telephone="3001112233",
        date=NOON.isoformat(),
        strikes=0,
        rounds=0,
        crashes=0,
        history="",
    )
    assert "3001112233" not in f"{claim} {claim!r}"


# --- wake-ups ---


def one(wake_ups):
    (wake_up,) = wake_ups
    return wake_up


def test_a_wake_up_is_worth_one_drain_however_often_it_is_published(world):
    wake_up = one(world.ask("c1").wake_ups)
    world.pass_time(1.6)
    copy, times = one(world.queues.sweep(1))
    assert (copy, times) == (wake_up, 2)
    world.ask("c2")
    told = world.queues.acquire("L1", "n1", TERMS, wake_up=wake_up)
    world.pass_time(1)
    told = world.queues.finish("L1", told.claim, 1, ACCEPTED, more=False, terms=TERMS)
    assert told.claim.kind == "released"
    assert world.queues.acquire("L1", "n2", TERMS, wake_up=copy) == (NoClaim("taken"), None)
    assert isinstance(world.queues.acquire("L1", "n3", TERMS, wake_up=told.wake_up).claim, Claim)


def test_who_asks_again_for_a_lost_claim_gets_it_though_its_wake_up_is_taken(world):
    wake_up = one(world.ask("c1").wake_ups)
    claim = world.queues.acquire("L1", "n1", TERMS, wake_up=wake_up).claim
    assert world.queues.acquire("L1", "n1", TERMS, wake_up=wake_up).claim == claim


def test_a_queue_that_was_paused_and_resumed_has_another_wake_up(world):
    old = one(world.ask().wake_ups)
    world.queues.pause("L1", "maintenance")
    world.pass_time(1)
    new = world.queues.resume("L1")
    assert world.queues.acquire("L1", "n1", TERMS, wake_up=old).claim == NoClaim("taken")
    assert isinstance(world.queues.acquire("L1", "n2", TERMS, wake_up=new).claim, Claim)


def test_where_the_sweep_has_no_room_an_untaken_wake_up_keeps_its_place(world):
    world.ask(account="lima")
    world.pass_time(1)
    world.ask()
    world.pass_time(1.6)
    for _ in range(10):
        assert world.sweep(0) == []
        world.pass_time(1)
    assert world.sweep(1) == [("L2", 2)]
    assert world.sweep(1) == [("L1", 2)]


def test_a_wake_up_that_a_later_one_has_overtaken_was_lost_and_comes_without_room(world):
    world.ask(account="lima")
    world.pass_time(14)
    early = one(world.ask().wake_ups)
    world.queues.acquire("L1", "n1", TERMS, wake_up=early)
    world.pass_time(2)
    assert world.sweep(0) == []
    world.bind(bogota="L1", lima="L2", cali="L3")
    late = one(world.ask(account="cali").wake_ups)
    world.queues.acquire("L3", "n2", TERMS, wake_up=late)
    assert world.sweep(0) == [("L2", 2)]


def test_queues_whose_time_has_come_are_not_hidden_by_untaken_wake_ups(world):
    world.bind(bogota="L1", lima="L2", cali="L3", quito="L4")
    for account in ("lima", "cali", "quito"):
        world.ask(account=account)
    world.ask()
    world.finish(world.acquire(), again())
    world.pass_time(5)
    found = world.queues.sweep(0, limit=2, batches=9)
    assert [(wake_up.queue, times) for wake_up, times in found] == [("L1", 1)]
