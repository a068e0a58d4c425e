"""Guards of a drain: what is pushed when, what an answer means, what follows from it."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_BACKOFF = Code("integration/clients/backoff.py")
_LUA = Code("integration/store/lua/*.lua")
_RETRY = Code("workers/retry.py")
_SCHEDULE = Code("integration/domain/schedule/rules.py")
_OPENINGS = Code("integration/domain/schedule/openings.py")
_DRAIN = Code("workers/drain.py")
_WOLKVOX = Code("integration/clients/wolkvox_protocol.py")

GUARDS = (
    mutant(
        "the time of a claim counts from before it is asked for",
        "after the first recall of a drain it counts from the turn's begin",
        _DRAIN.statement("_finish", "_claimed_at"),
        "test_drain.py::test_the_time_of_each_claim_counts_from_just_before_it_was_asked_for",
    ),
    mutant(
        "a lost reply of the store is asked for again",
        "the turn gives up, and its recall is left unsent until the lease is over",
        _DRAIN.condition("_repeat", "boottime", to="True"),
        "test_drain.py::test_a_reply_of_the_store_that_was_lost_is_asked_for_again",
    ),
    mutant(
        "calling hours and lead time again on push",
        "a recall that waited is sent with the date that it was admitted with",
        _DRAIN.value("_push", "date", to="wanted"),
        "test_drain.py::test_a_date_that_passed_while_it_waited_becomes_as_soon_as_may_be",
    ),
    mutant(
        "late = drop",
        "a date that passed while the recall waited is moved instead",
        _DRAIN.argument("_push", "reschedule", 0, to='account.model_copy(update={"late": "asap"})'),
        "test_drain.py::test_a_date_that_passed_while_it_waited_expires_where_late_is_drop",
    ),
    mutant(
        "dry-run",
        "an account that is only to be tried calls wolkvox",
        _DRAIN.condition("_push", "dry-run"),
        "test_drain.py::test_a_dry_run_does_everything_but_the_call",
    ),
    mutant(
        "a drain is bounded in time",
        "a slow queue holds its thread for ten of its calls, and others wait",
        _DRAIN.condition("_goes_on", "DRAIN_SECONDS", to="self._pushed < DRAIN_CALLS"),
        "test_drain.py::test_a_drain_of_a_slow_queue_ends_after_so_long_where_another_waits",
    ),
    mutant(
        "a drain is bounded in calls",
        "a queue holds its thread for as many calls as fit into its time",
        _DRAIN.condition("_goes_on", "DRAIN_CALLS", to="seconds < DRAIN_SECONDS"),
        "test_drain.py::test_a_drain_ends_after_so_many_calls_where_another_queue_waits",
    ),
    mutant(
        "a drain gives way to a look-up",
        "look-ups wait until a queue is empty",
        _LUA.result("others_wait", to="false"),
        "test_drain.py::test_a_drain_ends_where_a_look_up_waits",
    ),
    mutant(
        "a drain of a queue that is alone ends",
        "it holds its thread for ever, and look-ups wait",
        _DRAIN.condition("_goes_on", "ALONE_SECONDS", to="self._tools.stopping()"),
        "test_drain.py::test_while_no_other_waits_a_drain_goes_on_for_longer_and_not_for_ever",
    ),
    mutant(
        "a wake-up is worth one drain",
        "copies of wake-ups add up, and some queues are drained more often than others",
        _LUA.condition("Queue.acquire", "wake_up", "wake_up_at"),
        "test_token_queue_wake_ups.py::test_a_wake_up_is_worth_one_drain_however_often_it_is_published",
    ),
    mutant(
        "wake-ups wait while all threads are busy",
        "those that wait are published again and again, and fill the broker",
        _LUA.condition("sweep", "room", "may_wait"),
        "test_token_queue_wake_ups.py::test_where_the_sweep_has_no_room_an_untaken_wake_up_keeps_its_place",
    ),
    mutant(
        "a lost wake-up is found while all threads are busy",
        "its queue waits until a thread is idle",
        _LUA.condition("may_wait", "OUT_OF_ORDER", to="true"),
        "test_token_queue_wake_ups.py::test_a_wake_up_that_a_later_one_has_overtaken_was_lost_and_comes_without_room",
    ),
    mutant(
        "on shutdown a drain ends",
        "it goes on to the next recall",
        _DRAIN.condition("_goes_on", "stopping", to="False"),
        "test_drain.py::test_on_shutdown_a_drain_ends_after_the_call_in_flight",
    ),
    mutant(
        "an account that this worker does not know",
        "its recalls are pushed by another account's rules",
        _DRAIN.argument("_push", "self._accounts.get", 0, to="{it}, self._account"),
        "test_drain.py::test_an_account_this_worker_does_not_know_yet_is_left_for_another",
    ),
    mutant(
        "calling hours",
        "a callback is put outside of them",
        _SCHEDULE.value("apply", "opening", to="date_"),
        "test_schedule.py::test_a_date_outside_the_hours_moves_to_the_next_opening",
    ),
    mutant(
        "holidays",
        "a callback is put on one",
        _OPENINGS.condition("_windows", "closed_days"),
        "test_dates.py::test_a_date_alone_on_a_closed_day_is_the_next_opening",
    ),
    mutant(
        "a naive date never leaves",
        "wolkvox gets a date whose zone nobody knows",
        _WOLKVOX.condition("build_call", "utcoffset"),
        "test_wolkvox_protocol.py::test_a_date_without_a_zone_is_refused",
    ),
    mutant(
        "202 with an error is not accepted",
        "it is taken for a success",
        _WOLKVOX.condition("_meaning", "_is_error", to="True"),
        "test_wolkvox_protocol.py::test_code_202_beside_an_error_is_not_accepted",
    ),
    mutant(
        "202 in the body alone is not accepted",
        "an answer of another HTTP status is taken for a success",
        _WOLKVOX.condition("_meaning", "299", to="True"),
        "test_wolkvox_protocol.py::test_code_202_without_a_2xx_is_not_accepted",
    ),
    mutant(
        "a gateway's answer begins a quiet time",
        "504 says that wolkvox has ended",
        _WOLKVOX.result("is_gateway", to="False"),
        "test_wolkvox_protocol.py::test_an_error_of_a_gateway_needs_quiet_time",
    ),
    mutant(
        "no complete answer begins a quiet time",
        "a call that broke off says that wolkvox has ended",
        _WOLKVOX.argument("broken_off", "Verdict", "quiet", to="False"),
        "test_wolkvox_protocol.py::test_an_incomplete_call_is_unknown_quiet_and_counts_against_the_recall",
    ),
    mutant(
        "403 and 429 never count against the recall a recall",
        "a recall is dead because the token was in use",
        _WOLKVOX.argument("decipher_response", "Verdict", "counts_against_recall", to="True"),
        "test_wolkvox_protocol.py::test_a_403_or_429_never_counts_against_the_recall",
    ),
    mutant(
        "what is not JSON refuses no recall",
        "a proxy's page with 404 kills the recall",
        _WOLKVOX.condition("_meaning", "_UNREADABLE"),
        "test_wolkvox_protocol.py::test_an_answer_that_is_not_json_refuses_no_recall_and_stops_no_queue",
    ),
    mutant(
        "Retry-After is honoured",
        "a queue waits no longer than it would by itself",
        _RETRY.call("_at_least", "max", to="{0}"),
        "test_retry.py::test_retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_wait",
    ),
    mutant(
        "Retry-After is bounded",
        "a queue waits for a week because one answer said so",
        _RETRY.call("_at_least", "min", to="{0}"),
        "test_retry.py::test_retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_wait",
    ),
    mutant(
        "five refusals with the same words stop the queue",
        "a wrong mapping burns the whole queue",
        _RETRY.condition("_after_refusal", "SAME_WORDS_LIMIT"),
        "test_retry.py::test_five_refusals_in_a_row_with_the_same_words_stop_the_queue_and_not_four",
    ),
    mutant(
        "poison is set aside",
        "one recall that always fails holds its queue for ever",
        _RETRY.condition("_fault", "STRIKES_LIMIT", to="True"),
        "test_retry.py::test_three_faults_that_may_be_its_own_set_a_recall_aside",
    ),
    mutant(
        "poison is dead only after others passed, twice",
        "three faults of the queue kill a recall",
        _RETRY.condition("_fault", "ROUNDS_LIMIT"),
        "test_retry.py::test_three_faults_that_may_be_its_own_set_a_recall_aside",
    ),
    mutant(
        "jitter",
        "all queues come back in the same moment",
        _RETRY.value("_fault_seconds", "jitter", to="0.25"),
        "test_retry.py::test_faults_wait_about_a_second_doubling_to_five_minutes",
    ),
    mutant(
        "a wait is bounded",
        "it doubles without end",
        _BACKOFF.call("backoff_seconds", "min", "doublings", to="{0}"),
        "test_retry.py::test_faults_wait_about_a_second_doubling_to_five_minutes",
    ),
    mutant(
        "one probe after the quota's reset, then one an hour",
        "a queue whose quota is used up asks only once a day",
        _RETRY.result("_next_probe", "quota_refusals", to="reset"),
        "test_retry.py::test_a_used_up_quota_waits_for_the_reset_then_looks_hourly",
    ),
)
