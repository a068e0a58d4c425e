"""Guards of a drain: when a recall is pushed, how an answer of wolkvox is read, and when a push is retried."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_BACKOFF = Code("integration/clients/backoff.py")
_LUA = Code("integration/store/lua/*.lua")
_RETRY = Code("workers/retry.py")
_SCHEDULE = Code("integration/domain/schedule/rules.py")
_OPENINGS = Code("integration/domain/schedule/openings.py")
_DATES = Code("integration/domain/dates/*.py")
_DRAIN = Code("workers/drain.py")
_WOLKVOX = Code("integration/clients/wolkvox_protocol.py")

GUARDS = (
    mutant(
        "the time of a claim is taken just before it is requested",
        "later claims of a drain are timed from the start of the drain",
        _DRAIN.statement("_finish", "_claimed_at"),
        "test_drain.py::test_the_time_of_each_claim_counts_from_just_before_it_was_asked_for",
    ),
    mutant(
        "a command is repeated if the store's reply was lost",
        "the drain ends, and its recall is not sent until the lease has expired",
        _DRAIN.condition("_repeat", "boottime", to="True"),
        "test_drain.py::test_a_reply_of_the_store_that_was_lost_is_asked_for_again",
    ),
    mutant(
        "calling hours and lead time are applied again on push",
        "a recall that waited is sent with the date computed on admission",
        _DRAIN.value("_push", "date", to="wanted"),
        "test_drain.py::test_a_date_that_passed_while_it_waited_becomes_as_soon_as_may_be",
    ),
    mutant(
        '`late = "drop"` drops a recall whose date has passed',
        "the date is moved instead",
        _DRAIN.argument("_push", "reschedule", 0, to='account.model_copy(update={"late": "asap"})'),
        "test_drain.py::test_a_date_that_passed_while_it_waited_expires_where_late_is_drop",
    ),
    mutant(
        "no call in dry-run mode",
        "an account in dry-run mode calls wolkvox",
        _DRAIN.condition("_push", "dry-run"),
        "test_drain.py::test_a_dry_run_does_everything_but_the_call",
    ),
    mutant(
        "a drain has a time limit while other queues wait",
        "a slow queue keeps its thread until the limit of calls is reached, and other queues wait",
        _DRAIN.condition("_goes_on", "DRAIN_SECONDS", to="self._pushed < DRAIN_CALLS"),
        "test_drain.py::test_a_drain_of_a_slow_queue_ends_after_so_long_where_another_waits",
    ),
    mutant(
        "a drain has a limit of calls while other queues wait",
        "a fast queue keeps its thread until the time limit, however many calls it makes",
        _DRAIN.condition("_goes_on", "DRAIN_CALLS", to="seconds < DRAIN_SECONDS"),
        "test_drain.py::test_a_drain_ends_after_so_many_calls_where_another_queue_waits",
    ),
    mutant(
        "a drain past its limits ends if a look-up or another queue waits",
        "they wait until the queue is empty",
        _LUA.result("others_wait", to="false"),
        "test_drain.py::test_a_drain_ends_where_a_look_up_waits",
    ),
    mutant(
        "a drain has a time limit even if no other queue waits",
        "a drain keeps its thread for ever, and look-ups wait",
        _DRAIN.condition("_goes_on", "ALONE_SECONDS", to="self._tools.stopping()"),
        "test_drain.py::test_while_no_other_waits_a_drain_goes_on_for_longer_and_not_for_ever",
    ),
    mutant(
        "a wake-up starts at most one drain",
        "duplicates of wake-ups start further drains, and some queues are drained more often than others",
        _LUA.condition("Queue.acquire", "wake_up", "wake_up_at"),
        "test_token_queue_wake_ups.py::test_a_wake_up_is_worth_one_drain_however_often_it_is_published",
    ),
    mutant(
        "untaken wake-ups are not repeated while all threads are busy",
        "waiting wake-ups are published again and again, and fill the broker",
        _LUA.condition("sweep", "room", "may_wait"),
        "test_token_queue_wake_ups.py::test_where_the_sweep_has_no_room_an_untaken_wake_up_keeps_its_place",
    ),
    mutant(
        "a lost wake-up is repeated even while all threads are busy",
        "its queue waits until a thread is idle",
        _LUA.condition("may_wait", "OUT_OF_ORDER", to="true"),
        "test_token_queue_wake_ups.py::test_a_wake_up_that_a_later_one_has_overtaken_was_lost_and_comes_without_room",
    ),
    mutant(
        "a drain ends on shutdown",
        "the drain continues with the next recall",
        _DRAIN.condition("_goes_on", "stopping", to="False"),
        "test_drain.py::test_on_shutdown_a_drain_ends_after_the_call_in_flight",
    ),
    mutant(
        "a recall of an account that is unknown to the worker is not pushed",
        "it is pushed by the rules of another account",
        _DRAIN.argument("_push", "self._accounts.get", 0, to="{it}, self._account"),
        "test_drain.py::test_an_account_this_worker_does_not_know_yet_is_left_for_another",
    ),
    mutant(
        "calling hours",
        "a callback is scheduled outside of them",
        _SCHEDULE.value("reschedule", "opening", to="date_"),
        "test_schedule.py::test_a_date_outside_the_hours_moves_to_the_next_opening",
    ),
    mutant(
        "holidays",
        "a callback is scheduled on a holiday",
        _OPENINGS.condition("_windows", "closed_days"),
        "test_dates.py::test_a_date_alone_on_a_closed_day_is_the_next_opening",
    ),
    mutant(
        "a date that can also be a period is parked",
        "the end of a period is read as an offset",
        _DATES.condition("_iso", "_is_period"),
        "test_dates.py::test_other_forms_are_unmappable_and_never_guessed",
    ),
    mutant(
        "a date with an offset that no time zone has is parked",
        "it is moved by up to a day",
        _DATES.condition("in_range", "_FIRST_OFFSET"),
        "test_dates.py::test_other_forms_are_unmappable_and_never_guessed",
    ),
    mutant(
        "a date without a time zone is never sent",
        "wolkvox gets a date whose time zone is unknown",
        _WOLKVOX.condition("build_call", "utcoffset"),
        "test_wolkvox_protocol.py::test_a_date_without_a_zone_is_refused",
    ),
    mutant(
        "an answer with code 202 and an error is not a success",
        "the recall counts as accepted",
        _WOLKVOX.condition("_meaning", "_is_error", to="True"),
        "test_wolkvox_protocol.py::test_code_202_beside_an_error_is_not_accepted",
    ),
    mutant(
        "code 202 in the body needs a 2xx status",
        "an answer with another HTTP status counts as a success",
        _WOLKVOX.condition("_meaning", "299", to="True"),
        "test_wolkvox_protocol.py::test_code_202_without_a_2xx_is_not_accepted",
    ),
    mutant(
        "an error answer of a gateway starts a quiet time",
        "a 504 is taken as proof that wolkvox has finished the call",
        _WOLKVOX.result("is_gateway", to="False"),
        "test_wolkvox_protocol.py::test_an_error_of_a_gateway_needs_quiet_time",
    ),
    mutant(
        "an incomplete answer starts a quiet time",
        "a call that broke off is taken as proof that wolkvox has finished it",
        _WOLKVOX.argument("broken_off", "Verdict", "quiet", to="False"),
        "test_wolkvox_protocol.py::test_an_incomplete_call_is_unknown_quiet_and_counts_against_the_recall",
    ),
    mutant(
        "403 and 429 never count against the recall",
        "a recall becomes dead because the token was in use",
        _WOLKVOX.argument("decipher_response", "Verdict", "counts_against_recall", to="True"),
        "test_wolkvox_protocol.py::test_a_403_or_429_never_counts_against_the_recall",
    ),
    mutant(
        "an answer that is not JSON never makes a recall dead",
        "a 404 page of a proxy makes the recall dead",
        _WOLKVOX.condition("_meaning", "_UNREADABLE"),
        "test_wolkvox_protocol.py::test_an_answer_that_is_not_json_refuses_no_recall_and_stops_no_queue",
    ),
    mutant(
        "`Retry-After` lengthens the wait",
        "a queue ignores a longer wait that wolkvox requests",
        _RETRY.call("_at_least", "max", to="{0}"),
        "test_retry.py::test_retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_wait",
    ),
    mutant(
        "`Retry-After` has an upper limit",
        "a queue waits for a week because one answer requests it",
        _RETRY.call("_at_least", "min", to="{0}"),
        "test_retry.py::test_retry_after_is_honoured_up_to_an_hour_and_never_shortens_a_wait",
    ),
    mutant(
        "five refusals in a row with the same message stop the queue",
        "a wrong mapping makes every recall of the queue dead",
        _RETRY.condition("_after_refusal", "SAME_WORDS_LIMIT"),
        "test_retry.py::test_five_refusals_in_a_row_with_the_same_words_stop_the_queue_and_not_four",
    ),
    mutant(
        "a recall is set aside after repeated faults",
        "one recall that always fails blocks its queue for ever",
        _RETRY.condition("_fault", "STRIKES_LIMIT", to="True"),
        "test_retry.py::test_three_faults_that_may_be_its_own_set_a_recall_aside",
    ),
    mutant(
        "a recall becomes dead by faults only after other recalls succeeded, twice",
        "three faults of the queue make a recall dead",
        _RETRY.condition("_fault", "ROUNDS_LIMIT"),
        "test_retry.py::test_three_faults_that_may_be_its_own_set_a_recall_aside",
    ),
    mutant(
        "jitter of the backoff",
        "all queues retry at the same moment",
        _RETRY.value("_fault_seconds", "jitter", to="0.25"),
        "test_retry.py::test_faults_wait_about_a_second_doubling_to_five_minutes",
    ),
    mutant(
        "the backoff has an upper limit",
        "the wait doubles without end",
        _BACKOFF.call("backoff_seconds", "min", "doublings", to="{0}"),
        "test_retry.py::test_faults_wait_about_a_second_doubling_to_five_minutes",
    ),
    mutant(
        "a used-up quota is probed after its reset, then hourly",
        "a queue with a used-up quota is probed only once a day",
        _RETRY.result("_next_probe", "quota_refusals", to="reset"),
        "test_retry.py::test_a_used_up_quota_waits_for_the_reset_then_looks_hourly",
    ),
)
