"""Guards of the token queues: one call at a time, the newest request wins, and no queue is forgotten."""

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
        "the daily count stays with a token that has a call in flight",
        "the count moves with another account that takes over the token, and the call in flight is not counted",
        _LUA.condition("move_day", "day"),
        "test_token_queue_tokens.py::test_a_call_in_flight_on_a_token_counts_though_another_account_comes_to_it",
    ),
    mutant(
        "a finish must carry the current fence",
        "a drain that lost its queue can still record how its call ended",
        _LUA.condition("Queue.finish", "fence"),
        "test_token_queue_claims.py::test_a_stale_fence_changes_nothing",
    ),
    mutant(
        "every acquire of a queue gets a higher fence",
        "a queue that is acquired again keeps its old fence",
        _LUA.statement("Queue.acquire", "fence", "next_revision"),
        "test_token_queue_claims.py::test_a_stale_fence_changes_nothing",
    ),
    mutant(
        "a repeated finish gets the first reply again",
        "a worker that lost the reply to its finish cannot obtain it",
        _LUA.condition("Queue.finish", "step", "-1"),
        "test_token_queue_claims.py::test_a_finish_whose_reply_was_lost_gives_the_same_claim_again",
    ),
    mutant(
        "a finish must name the next step and the recall in flight",
        "a finish of another step or another recall is accepted",
        _LUA.condition("Queue.finish", "step", "inflight"),
        "test_token_queue_claims.py::test_a_step_that_is_neither_the_next_nor_the_last_changes_nothing",
    ),
    mutant(
        "a repeated acquire gets the first reply again",
        "a worker that lost the reply to its acquire cannot obtain it",
        _LUA.condition("Queue.acquire", "owner"),
        "test_token_queue_claims.py::test_an_acquire_whose_reply_was_lost_gives_the_same_claim_again",
    ),
    mutant(
        "no acquire while the lease is held",
        "a second worker acquires a queue on which a call is running",
        _LUA.condition("Queue.acquire", "lease"),
        "test_token_queue_claims.py::test_a_second_drain_is_refused_while_the_lease_holds",
    ),
    mutant(
        "no claim during the quiet time",
        "a recall is claimed while wolkvox may still be processing the last call",
        _LUA.condition("Queue.blocked", "quiet"),
        "test_token_queue_claims.py::test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first",
    ),
    mutant(
        "quiet time after an unknown outcome",
        "a call without an answer starts no quiet time",
        _LUA.condition("Queue.apply", "quiet"),
        "test_drain.py::test_a_time_out_makes_the_queue_quiet_even_for_the_operator",
    ),
    mutant(
        "a resume does not end the quiet time",
        "the operator's resume ends the quiet time too",
        _LUA.statement("Queue.resume", "wait", to="{it} Queue.set(q, 'quiet', 0)"),
        "test_drain.py::test_a_time_out_makes_the_queue_quiet_even_for_the_operator",
    ),
    mutant(
        "no test call while a push is running",
        "a test call runs at the same time as a push",
        _LUA.condition("Queue.test_call_blocked", "lease"),
        "test_connection_probe.py::test_no_test_call_while_the_queue_pushes_or_is_quiet",
    ),
    mutant(
        "no test call during the quiet time",
        "a test call is made while wolkvox may still be processing the last call",
        _LUA.condition("Queue.test_call_blocked", "at"),
        "test_connection_probe.py::test_no_test_call_while_the_queue_pushes_or_is_quiet",
    ),
    mutant(
        "the end of a test call must carry its fence",
        "a test call that lost the queue releases the lease of another one",
        _LUA.condition("Queue.end_test_call", "fence"),
        "test_connection_probe.py::test_a_late_end_leaves_the_lease_of_another_test_call",
    ),
    mutant(
        "an account changes its token only when no call is running",
        "an account moves to its new token while a call may be running on the old one",
        _LUA.condition("rebind", "busy"),
        "test_token_queue_tokens.py::test_a_new_token_waits_for_the_call_on_the_old_one",
    ),
    mutant(
        "a store with a lower revision than a caller saw has lost data",
        "the loss is not detected, and claims continue at once",
        _LUA.condition("Epoch.compare", "revision", "found"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "the revision is compared even if the epoch matches",
        "a store of the same epoch counts as complete, although it lost changes",
        _LUA.condition("Epoch.check", "revision", to="true"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "a change of the store's server is detected",
        "callers of the previous server are not asked which revision they saw",
        _LUA.condition("Epoch.check", "server_now", to="true"),
        "test_epoch_new_server.py::test_a_new_server_hears_its_workers_first",
    ),
    mutant(
        "an empty store is a loss for a caller that knows an epoch",
        "an emptied store is accepted as the previous one",
        _LUA.result("Epoch.compare", "was emptied", to="''"),
        "test_epoch_loss.py::test_an_emptied_store_holds_the_queues",
    ),
    mutant(
        "a store with an unknown epoch has been exchanged",
        "another store is accepted as the previous one",
        _LUA.condition("Epoch.compare", "HEXISTS"),
        "test_epoch_loss.py::test_a_store_that_goes_back_twice_is_found_twice",
    ),
    mutant(
        "queues are held after a lost epoch",
        "claims are given at once, although calls that the store has no record of may be running",
        _LUA.condition("Queue.blocked", "held"),
        "test_epoch_loss.py::test_after_the_store_went_back_no_queue_gives_a_claim_before_the_longest_call_has_ended",
    ),
    mutant(
        "a new server waits until all workers have called",
        "claims are given before a worker can show that the store went back",
        _LUA.condition("Queue.blocked", "settling"),
        "test_epoch_new_server.py::test_a_new_server_hears_its_workers_first",
    ),
    mutant(
        "callers of the previous server are compared with the revision that the new server found",
        "changes made since the server started hide the loss",
        _LUA.value("Epoch.compare", "found", to="Epoch.revision"),
        "test_epoch_new_server.py::test_a_worker_that_comes_later_is_found_to_have_seen_more",
    ),
    mutant(
        "a new epoch begins far above the old revision",
        "a fence of the lost epoch can be issued again, and the late finish of a lost drain is accepted",
        _LUA.value("Epoch.begin_after_loss", "revision", "JUMP", to="Epoch.revision"),
        "test_epoch_loss.py::test_no_fence_of_the_lost_history_comes_again",
    ),
    mutant(
        "queues are held longer if a caller used a lost epoch longer",
        "the last calls of that caller may still be running when claims are given again",
        _LUA.condition("Epoch.catch_up", "ago"),
        "test_epoch_loss.py::test_one_that_went_on_with_the_lost_history_for_longer_holds_the_queues_for_longer",
    ),
    mutant(
        "a loss is reported again if the reply was lost",
        "the loss of data is never reported",
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
        "the epoch seen last is saved in a file",
        "an old copy that is restored while all processes are down is not detected",
        _EPOCH.statement("StoreEpoch.__init__", "_read"),
        "test_epoch_memory.py::test_a_file_remembers_while_everything_is_down",
    ),
    mutant(
        "the layout is compared in every command",
        "a process of an older version changes a store of another layout during an upgrade",
        _LUA.condition("Epoch.check", "LAYOUT"),
        "test_layout.py::test_a_running_process_of_an_older_version_changes_nothing_after_an_upgrade",
    ),
    mutant(
        "version 0.1.0 cannot use a store of this version",
        "its processes bind the accounts to queues of their own",
        _LUA.statement("Epoch.begin_layout", "STOPS_0_1_0"),
        "test_release_0_1_0.py::test_0_1_0_changes_nothing_in_a_store_of_this_version",
    ),
    mutant(
        "the queues of a restored store are paused",
        "recalls that wolkvox already has are sent again without the operator's consent",
        _BACKUP.call("restore_backup", "_pause_queues", to="None"),
        "test_backup.py::test_a_restored_store_has_every_record_and_its_queues_are_paused",
    ),
    mutant(
        "writes are paused during a backup",
        "an index of the backup can name a recall whose record is missing",
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
        "after the clock was set back, waits are shortened to their full length",
        "a queue is locked until the clock reaches the old time again",
        _LUA.condition("Queue.clamp", "most"),
        "test_token_queue_claims.py::test_a_store_clock_that_jumps_back_locks_no_queue",
    ),
    mutant(
        "the sweep includes queues that were planned before the clock was set back",
        "only queues with a due time in the past are examined",
        _LUA.value("sweep", "beyond", to="{}"),
        "test_token_queue_sweep.py::test_the_sweep_finds_a_queue_that_was_due_before_the_clock_jumped_back",
    ),
    mutant(
        "a wait given by a worker's clock is bounded",
        "a queue waits until the time that a worker gives, however far ahead it is",
        _LUA.result("Queue.bounded", to="at"),
        "test_token_queue_daily_limit.py::test_a_day_that_is_over_by_the_stores_clock_alone_makes_no_worker_ask_on_and_on",
    ),
    mutant(
        "the sweep of due queues",
        "a queue whose wake-up was lost is never drained",
        _SWEEPER.element("Sweeper.__init__", "_sweep_queues"),
        "test_worker.py::test_the_sweep_takes_up_work_by_itself",
    ),
    mutant(
        "the first repetitions of a wake-up come at equal intervals",
        "a queue waits twice as long after each worker that dies",
        _LUA.argument(
            "Queue.sweep_one", "Queue.set_due", 1, "GRACE", to="now + GRACE * 2 ^ (publications - 1)"
        ),
        "test_token_queue_sweep.py::test_a_queue_whose_takers_die_one_after_the_other_is_looked_at_again_as_soon",
    ),
    mutant(
        "each heartbeat checks whether the worker has stalled",
        "a worker that takes no wake-ups is not detected",
        _HEARTBEAT.condition("send", "_reporter", to="self._reporter is None"),
        "test_heartbeat.py::test_a_worker_whose_queues_the_sweep_drains_is_stalled_and_is_reported_once",
    ),
    mutant(
        "the sweep drains a queue whose wake-ups stay untaken",
        "its wake-up is only published again and again, and the queue is not drained",
        _SWEEPER.condition("_sweep_queues", "times"),
        "test_worker.py::test_where_a_wake_up_stays_untaken_the_sweep_drains_the_queue_itself",
    ),
    mutant(
        "an exception in one step does not end the sweep",
        "a bug in one step ends the thread of the sweep",
        _SWEEPER.caught("_run_step", "Exception"),
        "test_worker.py::test_a_fault_of_one_step_does_not_end_the_sweep",
    ),
    mutant(
        "the sweep repeats an untaken wake-up",
        "a wake-up that was published once counts as taken",
        _LUA.call("Queue.sweep_one", "Queue.set_due", "GRACE", to="redis.call('ZREM', P .. 'due', q.id)"),
        "test_token_queue_sweep.py::test_the_sweep_finds_a_queue_whose_wake_up_was_lost",
    ),
    mutant(
        "a new recall wakes a due queue that has no wake-up",
        "the queue is not drained until the next sweep",
        _LUA.condition("will_be_drained", "now", to="true"),
        "test_token_queue_wake_ups.py::test_what_arrives_when_a_queues_time_has_come_and_nobody_has_rung_yet_rings",
    ),
    mutant(
        "a queue that lost its last recall leaves the due index",
        "the sweep goes on examining an empty queue",
        _LUA.condition("wake_ups", "less"),
        "test_token_queue_wake_ups.py::test_one_that_expired_on_arrival_and_overtakes_the_last_one_queued_leaves_nothing_to_look_at",
    ),
    mutant(
        "the recall of a dead worker is recovered",
        "a recall that was claimed when the lease expired is lost",
        _LUA.call("Queue.acquire", "Queue.recover", to="Queue.set(q, 'inflight', '')"),
        "test_token_queue_claims.py::test_a_dead_workers_recall_goes_first_after_the_lease",
    ),
    mutant(
        "a recall is set aside after three dead workers",
        "a recall that kills its workers is tried for ever",
        _LUA.condition("Queue.recover", "CRASHES", to="true"),
        "test_token_queue_set_aside.py::test_a_recall_under_which_workers_die_is_set_aside_and_at_last_dead",
    ),
    mutant(
        "recalls of a removed account leave a shared queue",
        "they stay in the queue of the accounts that still use the token",
        _LUA.condition("unbind_account", "used"),
        "test_token_queue_accounts.py::test_a_token_that_is_being_changed_is_not_stopped_because_another_account_left",
    ),
    mutant(
        "finish, release and cancel work on a full store",
        "their first write is rejected for lack of memory",
        _LUA.statement("allow_on_full_store", "DEL"),
        "test_token_queue_full_store.py::test_a_full_store_refuses_new_work_and_still_finishes_releases_and_cancels",
    ),
    mutant(
        "supersede on admission: an older request arrives later",
        "the older recall is queued beside the newer one",
        _LUA.condition("Admit.recall", "version"),
        "test_token_queue_supersede.py::test_an_older_request_that_arrives_later_is_superseded_at_once",
    ),
    mutant(
        "supersede on admission: a newer request arrives",
        "the older recall stays queued",
        _LUA.call("Admit.recall", "Admit.end_queued", to="tostring(nil)"),
        "test_token_queue_supersede.py::test_a_newer_request_supersedes_the_queued_one",
    ),
    mutant(
        "supersede on retry",
        "a dead recall is tried again although a newer request exists",
        _LUA.condition("retry_recall", "superseded"),
        "test_token_queue_retries.py::test_a_retry_of_one_that_is_no_longer_the_newest_is_refused",
    ),
    mutant(
        "supersede when a recall returns to the queue",
        "a recall whose call failed is queued again although a newer request exists",
        _LUA.condition("Queue.put_back", "state"),
        "test_token_queue_supersede.py::test_a_push_that_is_to_be_repeated_is_dropped_when_a_newer_request_came",
    ),
    mutant(
        "a cancel applies only to older requests",
        "an older cancel withdraws a newer request",
        _LUA.condition("Admit.cancel", "version"),
        "test_token_queue_cancels.py::test_an_older_cancel_leaves_a_newer_request_alone",
    ),
    mutant(
        "a cancel that comes too late is recorded",
        "a cancel of a recall that wolkvox already has is not reported as too late",
        _LUA.condition("Admit.cancel", "may_be_in_wolkvox", to="true"),
        "test_token_queue_cancels.py::test_a_cancel_event_too_late_is_recorded",
    ),
    mutant(
        "a recall that is repeated goes first",
        "another recall can overtake it after a fault",
        _LUA.statement("PushResult.again", "first"),
        "test_token_queue_claims.py::test_after_an_unknown_outcome_the_queue_is_quiet_then_the_same_recall_goes_first",
    ),
    mutant(
        "when two queues are merged, the newer request of a customer wins",
        "the request of the queue that is moved always wins",
        _LUA.condition("newer", "version"),
        "test_token_queue_tokens.py::test_when_two_tokens_become_one_the_newest_request_of_a_customer_wins",
    ),
    mutant(
        "no claim from a paused queue",
        "a paused queue gives claims",
        _LUA.condition("Queue.blocked", "paused"),
        "test_token_queue_pauses.py::test_pause_lets_nothing_go_and_resume_rings",
    ),
    mutant(
        "no claim from a stopped queue",
        "a stopped queue gives claims",
        _LUA.condition("Queue.blocked", "stopped"),
        "test_drain.py::test_a_token_that_is_refused_stops_the_queue_and_burns_nothing",
    ),
    mutant(
        "no claim during a backoff",
        "a queue gives claims before its wait is over",
        _LUA.condition("Queue.blocked", "wait"),
        "test_token_queue_claims.py::test_a_recall_that_was_not_sent_waits_only_for_the_backoff",
    ),
    mutant(
        "the daily limit",
        "calls beyond the limit of the day are made",
        _LUA.condition("Queue.blocked", "pushed"),
        "test_token_queue_daily_limit.py::test_the_daily_limit_holds_until_the_day_ends",
    ),
    mutant(
        "a worker whose clock is a day behind cannot restart the daily count",
        "the count of the previous day starts again at 0",
        _LUA.condition(
            "Queue.count_day",
            "LONGEST",
            "day",
            to="terms.day == day and Queue.num(q, 'day_ends') <= terms.day_ends + LONGEST",
        ),
        "test_token_queue_daily_limit.py::test_a_worker_whose_clock_is_behind_does_not_begin_the_count_of_yesterday_anew",
    ),
    mutant(
        "a call that may have been made counts towards the daily limit",
        "the call of a dead worker is not counted",
        _LUA.statement("Queue.recover", "pushed"),
        "test_token_queue_daily_limit.py::test_a_push_under_which_a_worker_died_counts_as_a_call_of_the_day",
    ),
    mutant(
        "a failed probe clears the strikes of both recalls",
        "a recall that was set aside keeps its strikes, although the queue is at fault",
        _LUA.condition("PushResult.again", "probing"),
        "test_token_queue_set_aside.py::test_a_probe_that_fails_too_acquits_both",
    ),
    mutant(
        "one step of a purge is bounded",
        "one step deletes all old records, whatever their number",
        _LUA.argument("purge", "redis.call", 6, to="1000000"),
        "test_deliveries.py::test_no_more_goes_in_one_step_than_was_allowed",
    ),
)
