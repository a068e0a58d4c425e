"""Guards of the queue: one call at a time, the newest wins, nothing stands still."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_SWEEPER = Code("workers/sweeper.py")
_LUA = Code("integration/store/lua/*.lua")
_HEARTBEAT = Code("integration/services/heartbeat.py")
_BACKUP = Code("integration/store/backup.py")
_EPOCH = Code("integration/store/scripting/epoch.py")

GUARDS = (
    mutant(
        "the day of a token with a call in flight stays",
        "another account that comes to it takes its day along, and the call is not counted",
        _LUA.condition("move_day", "day"),
        "test_token_queue_tokens.py::test_a_call_in_flight_on_a_token_counts_though_another_account_comes_to_it",
    ),
    mutant(
        "fence on finish",
        "a drain that lost its queue may still tell how its call ended",
        _LUA.condition("Queue.finish", "fence"),
        "test_token_queue_claims.py::test_a_stale_fence_changes_nothing",
    ),
    mutant(
        "a fence that grows",
        "a queue that is taken again keeps its fence",
        _LUA.statement("Queue.acquire", "fence", "next_revision"),
        "test_token_queue_claims.py::test_a_stale_fence_changes_nothing",
    ),
    mutant(
        "the same step again",
        "a finish whose reply was lost is not answered with that reply",
        _LUA.condition("Queue.finish", "step", "-1"),
        "test_token_queue_claims.py::test_a_finish_whose_reply_was_lost_gives_the_same_claim_again",
    ),
    mutant(
        "step and recall on finish",
        "a finish of another step, or of another recall, counts",
        _LUA.condition("Queue.finish", "step", "inflight"),
        "test_token_queue_claims.py::test_a_step_that_is_neither_the_next_nor_the_last_changes_nothing",
    ),
    mutant(
        "the same acquire again",
        "an acquire whose reply was lost is not answered with that reply",
        _LUA.condition("Queue.acquire", "owner"),
        "test_token_queue_claims.py::test_an_acquire_whose_reply_was_lost_gives_the_same_claim_again",
    ),
    mutant(
        "lease on acquire",
        "a queue is given away while a call is running on it",
        _LUA.condition("Queue.acquire", "lease"),
        "test_token_queue_claims.py::test_a_second_drain_is_refused_while_the_lease_holds",
    ),
    mutant(
        "quiet time",
        "a queue gives a claim while wolkvox may still be working",
        _LUA.condition("Queue.blocked", "quiet"),
        "test_token_queue_claims.py::test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first",
    ),
    mutant(
        "quiet time after an unknown outcome",
        "a call without an answer begins none",
        _LUA.condition("Queue.apply", "quiet"),
        "test_drain.py::test_a_time_out_makes_the_queue_quiet_even_for_the_operator",
    ),
    mutant(
        "resume leaves the quiet time",
        "the operator's resume ends the quiet time too",
        _LUA.statement("Queue.resume", "wait", to="{it} Queue.set(q, 'quiet', 0)"),
        "test_drain.py::test_a_time_out_makes_the_queue_quiet_even_for_the_operator",
    ),
    mutant(
        "a test call waits for the call that runs",
        "it takes the queue from a push",
        _LUA.condition("Queue.test_call_blocked", "lease"),
        "test_connection_probe.py::test_no_test_call_while_the_queue_pushes_or_is_quiet",
    ),
    mutant(
        "a test call waits for the quiet time",
        "it is made while wolkvox may still be working",
        _LUA.condition("Queue.test_call_blocked", "at"),
        "test_connection_probe.py::test_no_test_call_while_the_queue_pushes_or_is_quiet",
    ),
    mutant(
        "fence of a test call",
        "one that lost the queue gives back what another holds",
        _LUA.condition("Queue.end_test_call", "fence"),
        "test_connection_probe.py::test_a_late_end_leaves_the_lease_of_another_test_call",
    ),
    mutant(
        "rebinding waits",
        "an account moves to its new token while a call may be running on the old one",
        _LUA.condition("rebind", "busy"),
        "test_token_queue_tokens.py::test_a_new_token_waits_for_the_call_on_the_old_one",
    ),
    mutant(
        "a history that went back",
        "a store that knows less than its workers saw is taken for whole",
        _LUA.condition("Epoch.compare", "revision", "found"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "what is known of the history is compared",
        "a store with the right name of its history is taken for whole",
        _LUA.condition("Epoch.check", "revision", to="true"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "a server that is new to the data is looked at",
        "who knew the history on another server is not asked what it saw",
        _LUA.condition("Epoch.check", "server_now", to="true"),
        "test_epoch_new_server.py::test_a_new_server_hears_its_workers_first",
    ),
    mutant(
        "a store that was emptied",
        "an empty store is taken for the one that was there",
        _LUA.result("Epoch.compare", "was emptied", to="''"),
        "test_epoch_loss.py::test_an_emptied_store_holds_the_queues",
    ),
    mutant(
        "a store that was exchanged",
        "another store is taken for the one that was there",
        _LUA.condition("Epoch.compare", "HEXISTS"),
        "test_epoch_loss.py::test_a_store_that_goes_back_twice_is_found_twice",
    ),
    mutant(
        "queues held after a lost history",
        "claims are given at once, while lost ones may be running",
        _LUA.condition("Queue.blocked", "held"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "a new server waits for its workers' word",
        "claims are given before anybody could say that the store went back",
        _LUA.condition("Queue.blocked", "settling"),
        "test_epoch_new_server.py::test_a_new_server_hears_its_workers_first",
    ),
    mutant(
        "what a new server found at first",
        "what it counted since hides what it lacks",
        _LUA.value("Epoch.compare", "found", to="Epoch.revision"),
        "test_epoch_new_server.py::test_a_worker_that_comes_later_is_found_to_have_seen_more",
    ),
    mutant(
        "no fence of a lost history comes again",
        "the late word of a lost drain is taken for that of a new one",
        _LUA.value("Epoch.begin_after_loss", "revision", "JUMP", to="Epoch.revision"),
        "test_epoch_loss.py::test_no_fence_of_the_lost_history_comes_again",
    ),
    mutant(
        "who went on with a lost history",
        "its latest calls are not waited for",
        _LUA.condition("Epoch.catch_up", "ago"),
        "test_epoch_loss.py::test_one_that_went_on_with_the_lost_history_for_longer_holds_the_queues_for_longer",
    ),
    mutant(
        "the report of a loss whose reply was lost",
        "nobody is told that the store lost something",
        _LUA.result("Epoch.catch_up", "reporter", to="''"),
        "test_epoch_loss.py::test_the_report_is_given_again_where_the_reply_was_lost",
    ),
    mutant(
        "one process reports a loss",
        "every process reports it",
        _LUA.condition("Epoch.catch_up", "who", to="true"),
        "test_epoch_loss.py::test_it_is_reported_once_with_what_is_missing",
    ),
    mutant(
        "what was seen is kept in a file",
        "an old copy that is put back while everything is down is not noticed",
        _EPOCH.statement("StoreEpoch.__init__", "_read"),
        "test_epoch_memory.py::test_a_file_remembers_while_everything_is_down",
    ),
    mutant(
        "the layout is compared in each run",
        "a process that still runs during an upgrade changes a store of another layout",
        _LUA.condition("Epoch.check", "LAYOUT"),
        "test_layout.py::test_a_running_process_of_an_older_version_changes_nothing_after_an_upgrade",
    ),
    mutant(
        "version 0.1.0 is stopped",
        "its processes bind the accounts of this version's store to queues of their own",
        _LUA.statement("Epoch.begin_layout", "STOPS_0_1_0"),
        "test_release_0_1_0.py::test_0_1_0_changes_nothing_in_a_store_of_this_version",
    ),
    mutant(
        "a restored store is paused",
        "recalls older than what wolkvox has are sent without an operator",
        _BACKUP.call("restore_backup", "_pause_queues", to="None"),
        "test_backup.py::test_a_restored_store_has_every_record_and_its_queues_are_paused",
    ),
    mutant(
        "a backup shows one moment",
        "a recall is in an index of the backup and has no record",
        _BACKUP.statement("_pause_writes", "execute_command"),
        "test_backup.py::test_a_backup_of_a_store_in_use_shows_one_moment",
    ),
    mutant(
        "a restore needs an empty store",
        "records of two stores are mixed",
        _BACKUP.call("restore_backup", "_require_empty", to="None"),
        "test_backup.py::test_a_store_that_is_not_empty_is_left_as_it_is",
    ),
    mutant(
        "clamp",
        "a clock that jumped back locks a queue until it is there again",
        _LUA.condition("Queue.clamp", "most"),
        "test_token_queue_claims.py::test_a_store_clock_that_jumps_back_locks_no_queue",
    ),
    mutant(
        "sweep of queues that were planned before a clock went back",
        "only queues whose time has come are looked at",
        _LUA.value("sweep", "beyond", to="{}"),
        "test_token_queue_sweep.py::test_the_sweep_finds_a_queue_that_was_due_before_the_clock_jumped_back",
    ),
    mutant(
        "a moment of a worker's clock is bounded",
        "a queue waits until the moment that a worker names, however far",
        _LUA.result("Queue.bounded", to="at"),
        "test_token_queue_daily_limit.py::test_a_day_that_is_over_by_the_stores_clock_alone_makes_no_worker_ask_on_and_on",
    ),
    mutant(
        "the sweep",
        "nobody looks for queues whose wake-up was lost",
        _SWEEPER.element("Sweeper.__init__", "_sweep_queues"),
        "test_worker.py::test_the_sweep_takes_up_work_by_itself",
    ),
    mutant(
        "the sweep looks again as soon",
        "workers that die one after the other keep a queue waiting ever longer",
        _LUA.argument(
            "Queue.sweep_one", "Queue.set_due", 1, "GRACE", to="now + GRACE * 2 ^ (publications - 1)"
        ),
        "test_token_queue_sweep.py::test_a_queue_whose_takers_die_one_after_the_other_is_looked_at_again_as_soon",
    ),
    mutant(
        "a worker that takes no wake-ups is noticed",
        "it is alive, takes nothing, and nobody is told",
        _HEARTBEAT.condition("send", "_reporter", to="self._reporter is None"),
        "test_heartbeat.py::test_a_worker_whose_queues_the_sweep_drains_is_stalled_and_is_reported_once",
    ),
    mutant(
        "the sweep drains by itself",
        "where wake-ups stay untaken, they are published again and again",
        _SWEEPER.condition("_sweep_queues", "times"),
        "test_worker.py::test_where_a_wake_up_stays_untaken_the_sweep_drains_the_queue_itself",
    ),
    mutant(
        "no fault ends the sweep",
        "a mistake of ours in one step ends the sweep's thread",
        _SWEEPER.caught("_run_step", "Exception"),
        "test_worker.py::test_a_fault_of_one_step_does_not_end_the_sweep",
    ),
    mutant(
        "a wake-up that is repeated",
        "the sweep takes a ring for answered",
        _LUA.call("Queue.sweep_one", "Queue.set_due", "GRACE", to="redis.call('ZREM', P .. 'due', q.id)"),
        "test_token_queue_sweep.py::test_the_sweep_finds_a_queue_whose_wake_up_was_lost",
    ),
    mutant(
        "what arrives rings where nobody has",
        "a queue whose time has come sleeps until the sweep",
        _LUA.condition("will_be_drained", "now", to="true"),
        "test_token_queue_wake_ups.py::test_what_arrives_when_a_queues_time_has_come_and_nobody_has_rung_yet_rings",
    ),
    mutant(
        "a queue that lost its work is looked at",
        "it stays among those that are due",
        _LUA.condition("wake_ups", "less"),
        "test_token_queue_wake_ups.py::test_one_that_expired_on_arrival_and_overtakes_the_last_one_queued_leaves_nothing_to_look_at",
    ),
    mutant(
        "a dead worker's recall comes back",
        "what was claimed when the lease ended is forgotten",
        _LUA.call("Queue.acquire", "Queue.recover", to="Queue.set(q, 'inflight', '')"),
        "test_token_queue_claims.py::test_a_dead_workers_recall_goes_first_after_the_lease",
    ),
    mutant(
        "three dead workers are enough",
        "a recall that kills its workers is tried for ever",
        _LUA.condition("Queue.recover", "CRASHES", to="true"),
        "test_token_queue_set_aside.py::test_a_recall_under_which_workers_die_is_set_aside_and_at_last_dead",
    ),
    mutant(
        "an account that leaves a shared token",
        "what it has queued stays in the queue of the others",
        _LUA.condition("unbind_account", "used"),
        "test_token_queue_accounts.py::test_a_token_that_is_being_changed_is_not_stopped_because_another_account_left",
    ),
    mutant(
        "a full store may finish",
        "the first write of a finish, release or cancel takes room",
        _LUA.statement("allow_on_full_store", "DEL"),
        "test_token_queue_full_store.py::test_a_full_store_refuses_new_work_and_still_finishes_releases_and_cancels",
    ),
    mutant(
        "supersede on admission: an older one comes later",
        "it is queued beside the newer one",
        _LUA.condition("Admit.recall", "version"),
        "test_token_queue_supersede.py::test_an_older_request_that_arrives_later_is_superseded_at_once",
    ),
    mutant(
        "supersede on admission: a newer one comes",
        "the older one stays queued",
        _LUA.call("Admit.recall", "Admit.end_queued", to="tostring(nil)"),
        "test_token_queue_supersede.py::test_a_newer_request_supersedes_the_queued_one",
    ),
    mutant(
        "supersede on retry",
        "a dead recall is tried again though a newer one is known",
        _LUA.condition("retry_recall", "superseded"),
        "test_token_queue_retries.py::test_a_retry_of_one_that_is_no_longer_the_newest_is_refused",
    ),
    mutant(
        "supersede on coming back",
        "a recall whose call failed goes back into the queue though a newer one is known",
        _LUA.condition("Queue.put_back", "state"),
        "test_token_queue_supersede.py::test_a_push_that_is_to_be_repeated_is_dropped_when_a_newer_request_came",
    ),
    mutant(
        "a cancel keeps off older requests",
        "an older cancel takes back a newer request",
        _LUA.condition("Admit.cancel", "version"),
        "test_token_queue_cancels.py::test_an_older_cancel_leaves_a_newer_request_alone",
    ),
    mutant(
        "a cancel that is too late is told",
        "what wolkvox already has is not reported as such",
        _LUA.condition("Admit.cancel", "accepted", "pushing", to="true"),
        "test_token_queue_cancels.py::test_a_cancel_event_too_late_is_recorded",
    ),
    mutant(
        "the same recall first",
        "after a fault another recall may overtake the one that met it",
        _LUA.statement("PushResult.again", "first"),
        "test_token_queue_claims.py::test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first",
    ),
    mutant(
        "of two queues that become one the newer request wins",
        "the pointer that comes in replaces the one that is there",
        _LUA.condition("newer", "version"),
        "test_token_queue_tokens.py::test_when_two_tokens_become_one_the_newest_request_of_a_customer_wins",
    ),
    mutant(
        "pause",
        "a paused queue gives claims",
        _LUA.condition("Queue.blocked", "paused"),
        "test_token_queue_pauses.py::test_pause_lets_nothing_go_and_resume_rings",
    ),
    mutant(
        "stop",
        "a stopped queue gives claims",
        _LUA.condition("Queue.blocked", "stopped"),
        "test_drain.py::test_a_token_that_is_refused_stops_the_queue_and_burns_nothing",
    ),
    mutant(
        "backoff",
        "a queue that has to wait gives claims",
        _LUA.condition("Queue.blocked", "wait"),
        "test_token_queue_claims.py::test_a_recall_that_was_not_sent_waits_only_for_the_backoff",
    ),
    mutant(
        "daily limit",
        "calls beyond the day's limit are made",
        _LUA.condition("Queue.blocked", "pushed"),
        "test_token_queue_daily_limit.py::test_the_daily_limit_holds_until_the_day_ends",
    ),
    mutant(
        "a worker that is a day behind",
        "it begins the count of the day anew",
        _LUA.condition(
            "Queue.count_day",
            "LONGEST",
            "day",
            to="terms.day == day and Queue.num(q, 'day_ends') <= terms.day_ends + LONGEST",
        ),
        "test_token_queue_daily_limit.py::test_a_worker_whose_clock_is_behind_does_not_begin_the_count_of_yesterday_anew",
    ),
    mutant(
        "a call that may have been made is counted",
        "a dead worker's call costs nothing of the day",
        _LUA.statement("Queue.recover", "pushed"),
        "test_token_queue_daily_limit.py::test_a_push_under_which_a_worker_died_counts_as_a_call_of_the_day",
    ),
    mutant(
        "a probe that fails acquits",
        "a recall set aside keeps its strikes though the queue is at fault",
        _LUA.condition("PushResult.again", "probing"),
        "test_token_queue_set_aside.py::test_a_probe_that_fails_too_acquits_both",
    ),
    mutant(
        "purge is bounded",
        "everything old goes in one step, however much it is",
        _LUA.argument("purge", "redis.call", 6, to="1000000"),
        "test_deliveries.py::test_no_more_goes_in_one_step_than_was_allowed",
    ),
)
