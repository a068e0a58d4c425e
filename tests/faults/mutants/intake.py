"""Guards of the delivery intake: every acknowledged delivery is stored once and completely."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_ADMISSION = Code("integration/services/admission.py")
_APP = Code("integration/app.py")
_BATCHING = Code("integration/store/scripting/batching.py")
_BINDING = Code("integration/services/binding.py")
_EMBEDDED = Code("integration/local/embedded_store.py")
_INTAKE = Code("integration/webhooks/service.py")
_CLI = Code("integration/cli/context.py")
_DELIVERIES = Code("integration/store/deliveries.py")
_HUBSPOT_LOOKUP = Code("integration/clients/lookups/hubspot.py")
_LOOKUP = Code("workers/lookups.py")
_LOOKUP_RESULTS = Code("integration/clients/lookups/results.py")
_LUA = Code("integration/store/lua/*.lua")
_PLAN = Code("integration/mapping/planner.py")
_RECALLS = Code("integration/services/recalls.py")
_STORE = Code("integration/store/client.py")
_WATCH = Code("integration/store/monitoring/durability_watch.py")
_STORE_CHECK = Code("integration/store/durability.py")

GUARDS = (
    mutant(
        "deduplication of events by their key",
        "an event that was already admitted is admitted again",
        _LUA.condition("admit_event", "admitted_before"),
        "test_receiver.py::test_an_event_repeated_in_another_delivery_contributes_its_old_id",
    ),
    mutant(
        "the stored response for a repeated delivery of one event",
        "a repeated delivery gets a new response instead of the first one",
        _LUA.condition("earlier_answer", "known", "answer"),
        "test_deliveries.py::test_what_was_looked_up_takes_the_place_of_what_waited",
    ),
    mutant(
        "resolving a lookup keeps the stored response of its delivery",
        "after the lookup, a repeated delivery gets a new response instead of the first one",
        _LUA.statement("resolve", "answer"),
        "test_deliveries.py::test_what_was_looked_up_takes_the_place_of_what_waited",
    ),
    mutant(
        "the stored response for a repeated delivery of several events",
        "a repeated delivery gets a new response instead of the first one",
        _LUA.value("earlier_answer", "old", to="false"),
        "test_deliveries.py::test_a_delivery_sent_again_gets_its_first_answer",
    ),
    mutant(
        "an Idempotency-Key cannot be reused with another body",
        "the response contains the recall of the first request instead of an error",
        _LUA.condition("clash", "old", "fingerprint"),
        "test_api_idempotency.py::test_the_same_key_with_another_body_is_refused_and_stores_nothing",
    ),
    mutant(
        "each delivery in a script run gets its own numbers",
        "deliveries admitted in the same script run get the same numbers",
        _LUA.statement("reserve_numbers", "many", "last"),
        "test_batching.py::test_small_deliveries_of_the_same_moment_share_a_run_of_the_script",
    ),
    mutant(
        "a repeated parked event is mapped again after a configuration change",
        "it stays parked although the configuration was corrected",
        _LUA.condition("duplicate_of", "parked"),
        "test_deliveries.py::test_a_parked_event_sent_again_alone_is_answered_as_before_only_under_its_configuration",
    ),
    mutant(
        "an event without an id is a duplicate only if it equals the customer's newest request",
        "after another request of the customer, a repetition of the earlier one is ignored",
        _LUA.condition("duplicate_of", "by_body"),
        "test_duplicates_without_ids.py::test_a_b_a_ends_with_a",
    ),
    mutant(
        "the stored response is not used if an event without an id is new",
        "the delivery gets its first response although a newer request arrived in between",
        _LUA.condition("earlier_answer", "by_body", "ignored"),
        "test_duplicates_without_ids.py::test_of_a_delivery_only_the_events_with_newer_requests_since_are_new",
    ),
    mutant(
        "a body that is no longer mapped stays a duplicate of its recall",
        "a repetition that a damaged configuration parks makes a second recall later",
        _LUA.condition("find_duplicates", "is_newest"),
        "test_duplicates_without_ids.py::test_a_body_that_is_no_longer_mapped_is_a_duplicate_while_its_recall_is_the_newest",
    ),
    mutant(
        "requests with different computed dates are duplicates for ten minutes only",
        "a repeated form without a date is a duplicate for a week",
        _LUA.result("equals_newest", "requested", to="true"),
        "test_duplicates_without_ids.py::test_a_date_that_the_template_computes_is_the_same_request_for_ten_minutes",
    ),
    mutant(
        "a repeated parked event has the time of its latest arrival",
        "after a remap it is older than a request that arrived before its repetition",
        _LUA.condition("Admit.renew_parked", "by_body"),
        "test_duplicates_without_ids.py::test_a_parked_body_sent_again_is_one_event_that_counts_from_its_latest_arrival",
    ),
    mutant(
        "deduplication keys are separate for each source",
        "events of two sources with the same key are treated as duplicates",
        _DELIVERIES.argument(
            "event_keys", "keys.append", 0, "dedup_key", to='digest_of("key", event.dedup_key)'
        ),
        "test_deliveries.py::test_one_key_from_two_sources_is_two_events",
    ),
    mutant(
        "a lookup is resolved once",
        "two workers that resolve the same lookup admit its events twice",
        _LUA.condition("resolve", "lookup:"),
        "test_deliveries.py::test_a_lookup_is_resolved_once",
    ),
    mutant(
        "a parked event is resolved once",
        "two simultaneous remaps admit the same event twice",
        _LUA.condition("resolve", "ZSCORE"),
        "test_deliveries.py::test_an_event_is_resolved_once",
    ),
    mutant(
        "lease on a lookup",
        "all workers look up the same contacts at the same time",
        _LUA.argument("take_lookups", "Lookups.due", 2, to="now"),
        "test_lookups.py::test_a_lookup_whose_worker_died_comes_back_by_itself",
    ),
    mutant(
        "wait after a failed lookup",
        "a failed lookup is repeated immediately",
        _LOOKUP.argument("_note", "self._services.lookup_status.failed", "wait_seconds", to="0.0"),
        "test_lookups.py::test_a_lookup_that_fails_waits_and_loses_nothing",
    ),
    mutant(
        "an event is parked after too many failed lookups of its record",
        "a deleted lead is looked up without end",
        _LOOKUP.condition("_admit", "MOST_TRIES", to="False"),
        "test_record_lookups.py::test_a_lead_that_meta_does_not_have_is_parked_after_a_day_of_tries",
    ),
    mutant(
        "failures of the source do not count as attempts for a record",
        "after a long outage, the next unreadable response parks the events",
        _LUA.statement("postpone_lookup", "tries"),
        "test_lookup_failures.py::test_failures_of_the_source_are_no_tries_of_a_record",
    ),
    mutant(
        "pause for a HubSpot object type without the required scope",
        "each new deal causes another request with a token that HubSpot has rejected for deals",
        _HUBSPOT_LOOKUP.condition("require_unblocked", "blocked", "0", to="False"),
        "test_lookup_failures.py::test_an_object_whose_scope_is_missing_is_asked_for_once_in_five_minutes",
    ),
    mutant(
        "a missing scope pauses only the object type that requires it",
        "a token without the scope for deals also stops the lookups of contacts",
        _LOOKUP_RESULTS.result("is_about_source", to="self is not FailureKind.UNREADABLE"),
        "test_lookup_failures.py::test_events_of_an_object_whose_scope_is_missing_wait_alone",
    ),
    mutant(
        "pause for a source whose lookups fail",
        "each new event causes another request with credentials that the CRM has rejected",
        _LUA.condition("take_lookups", "held_until"),
        "test_lookup_failures.py::test_while_a_source_waits_no_event_of_it_is_looked_up",
    ),
    mutant(
        "a refused token is not tried again",
        "a token that the CRM has rejected is sent to it every few minutes",
        _LOOKUP_RESULTS.result("needs_change", to="False"),
        "test_lookup_failures.py::test_a_refused_token_is_not_tried_again",
    ),
    mutant(
        "changed lookup settings end the pause of a source",
        "a corrected token is not used until the pause is over",
        _LUA.condition("take_lookups", "settings"),
        "test_lookup_failures.py::test_a_changed_token_is_tried_at_once",
    ),
    mutant(
        "upper limit for the CRM's time of a request",
        "a request dated next year by mistake supersedes all requests of this year",
        _PLAN.call("_version", "min", to="{0}"),
        "test_planner.py::test_a_version_is_never_later_than_arrival_and_five_minutes",
    ),
    mutant(
        "a full store rejects a delivery before its first write",
        "a resolve is stored in part: its first write succeeds and later ones fail",
        _LUA.statement("Admit.refuse_when_full", "HINCRBY"),
        "test_deliveries.py::test_a_full_store_still_takes_and_postpones_lookups_and_resolves_none",
    ),
    mutant(
        "recalls of an account without a queue are rejected",
        "a recall is stored in no queue and is never pushed",
        _LUA.condition("admit", "unbound"),
        "test_deliveries.py::test_of_a_delivery_for_an_unknown_account_nothing_is_stored",
    ),
    mutant(
        "status 503 while the store is unreachable",
        "the sender gets 429, as if it had exceeded its rate limit",
        _INTAKE.argument("_reject", "_error_answer", 0, "503", to="429"),
        "test_receiver.py::test_with_the_store_away_the_sender_gets_503_with_retry_after",
    ),
    mutant(
        "time limit for responses of the store",
        "a web process waits half a minute for a store that does not respond",
        _APP.value("", "STORE_ANSWER_SECONDS", to="30.0"),
        "test_receiver.py::test_a_store_that_hangs_is_answered_within_seconds",
    ),
    mutant(
        "time limit for calls queued behind a store that does not respond",
        "queued calls wait past their limit for a round trip of their own",
        _BATCHING.value("_overdue", "overdue", to="[]"),
        "test_batching.py::test_who_waited_too_long_when_a_trip_fails_is_told_so_and_the_others_wait_on",
    ),
    mutant(
        "an error in one delivery does not affect others in the same script run",
        "one unreadable delivery makes all deliveries of its run fail",
        _LUA.call("", "pcall", "run", to="true, {0}({1})"),
        "test_batching.py::test_a_fault_of_one_harms_none_in_its_run",
    ),
    mutant(
        "script calls are not retried by redis-py",
        "redis-py repeats a command that may already have been executed",
        _STORE.argument("connect", "Retry", 1, to="3"),
        "test_batching.py::test_the_store_is_asked_once_whatever_comes_of_it",
    ),
    mutant(
        "the store's durability settings are checked repeatedly",
        "deliveries are acknowledged after the append-only file was switched off at run time",
        _WATCH.condition("look", "_is_due"),
        "test_durability_watch.py::test_a_setting_that_was_changed_is_found_within_a_minute",
    ),
    mutant(
        "a newly enabled append-only file counts only after it has been rewritten",
        "a delivery is acknowledged that the next restart of the server loses",
        _WATCH.value("assure", "_log_is_missing", to="not report.aof"),
        "test_durability_watch.py::test_a_log_that_is_switched_on_counts_when_it_is_written",
    ),
    mutant(
        "deliveries are rejected while the store is unsafe",
        "deliveries get 202 although the store may lose them",
        _WATCH.condition("require_safe", "_unsafe"),
        "test_durability_watch.py::test_a_setting_that_was_changed_is_found_within_a_minute",
    ),
    mutant(
        "cancellations are rejected while the store is unsafe",
        "a cancellation is acknowledged although the store may lose it",
        _RECALLS.statement("cancel", "require_safe"),
        "test_durability_watch.py::test_an_unsafe_store_takes_no_cancellation_retry_or_remap",
    ),
    mutant(
        "retries are rejected while the store is unsafe",
        "a retry is acknowledged although the store may lose it",
        _RECALLS.statement("retry", "require_safe"),
        "test_durability_watch.py::test_an_unsafe_store_takes_no_cancellation_retry_or_remap",
    ),
    mutant(
        "results of a remap are rejected while the store is unsafe",
        "the result of a remap replaces a stored event although the store may lose it",
        _ADMISSION.statement("resolve", "require_safe"),
        "test_durability_watch.py::test_an_unsafe_store_takes_no_cancellation_retry_or_remap",
    ),
    mutant(
        "commands that change recalls check the store first",
        "`ringback cancel` acknowledges what the store may lose",
        _CLI.statement("assure_store", "assure"),
        "test_cli_recalls.py::test_nothing_is_changed_in_a_store_that_may_lose_it",
    ),
    mutant(
        "the durability watch makes a test write",
        "a full store or a replica is reported as ready",
        _WATCH.call("look", "_write", to="None"),
        "test_durability_watch.py::test_a_full_store_is_found_by_a_write_and_accepts_again_when_there_is_room",
    ),
    mutant(
        "the store must have `appendonly yes`",
        "a store without an append-only file is accepted",
        _STORE_CHECK.element("_risks", "appendonly", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "the store must have `appendfsync always`",
        "a store that does not sync each write to disk is accepted",
        _STORE_CHECK.element("_risks", "appendfsync", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "the store must have `maxmemory-policy noeviction`",
        "a store that evicts keys is accepted",
        _STORE_CHECK.element("_risks", "maxmemory-policy", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "the store must be a primary, not a replica",
        "a read-only store is accepted",
        _STORE_CHECK.condition("_faults", "master"),
        "test_durability.py::test_a_replica_is_refused_even_when_loss_is_accepted",
    ),
    mutant(
        "web processes check the store's durability before the first delivery",
        "deliveries are admitted into a store that may lose them",
        _BINDING.statement("assure_store", "assure"),
        "test_services.py::test_a_store_that_forgets_is_bound_to_nothing",
    ),
    mutant(
        "lock on the embedded store's folder",
        "a second server starts in the same folder and corrupts the data",
        _EMBEDDED.argument("lock_folder", "fcntl.flock", 1, to="fcntl.LOCK_UN"),
        "test_embedded_store.py::test_a_second_server_on_the_folder_is_refused_and_the_first_is_named",
    ),
)
