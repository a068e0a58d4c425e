"""Guards of the intake: what was acknowledged is there, once, and all of it."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_APP = Code("integration/app.py")
_BATCHING = Code("integration/store/scripting/batching.py")
_BINDING = Code("integration/services/binding.py")
_EMBEDDED = Code("integration/local/embedded_store.py")
_INTAKE = Code("integration/webhooks/service.py")
_DELIVERIES = Code("integration/store/deliveries.py")
_HUBSPOT_LOOKUP = Code("integration/clients/lookups/hubspot.py")
_LOOKUP = Code("workers/lookups.py")
_LOOKUP_RESULTS = Code("integration/clients/lookups/results.py")
_LUA = Code("integration/store/lua/*.lua")
_PLAN = Code("integration/mapping/planner.py")
_STORE = Code("integration/store/client.py")
_WATCH = Code("integration/store/monitoring/durability_watch.py")
_STORE_CHECK = Code("integration/store/durability.py")

GUARDS = (
    mutant(
        "dedup of events",
        "an event that was taken before is taken again",
        _LUA.condition("admit_event", "admitted_before"),
        "test_receiver.py::test_an_event_repeated_in_another_delivery_contributes_its_old_id",
    ),
    mutant(
        "the old answer to the delivery of one event",
        "a delivery that was taken before is answered anew",
        _LUA.condition("earlier_answer", "known", "answer"),
        "test_deliveries.py::test_what_was_looked_up_takes_the_place_of_what_waited",
    ),
    mutant(
        "the answer goes with what was looked up",
        "a delivery whose event was looked up meanwhile is answered anew",
        _LUA.statement("resolve", "answer"),
        "test_deliveries.py::test_what_was_looked_up_takes_the_place_of_what_waited",
    ),
    mutant(
        "the old answer to a whole delivery",
        "a delivery that was taken before is answered anew",
        _LUA.value("earlier_answer", "old", to="false"),
        "test_deliveries.py::test_a_delivery_sent_again_gets_its_first_answer",
    ),
    mutant(
        "Idempotency-Key for another body",
        "it gives the first recall instead of a clash",
        _LUA.condition("clash", "old", "fingerprint"),
        "test_api_idempotency.py::test_the_same_key_with_another_body_is_refused_and_stores_nothing",
    ),
    mutant(
        "numbers of a shared run",
        "deliveries that are admitted in one run get the same numbers",
        _LUA.statement("reserve_numbers", "many", "last"),
        "test_batching.py::test_small_deliveries_of_the_same_moment_share_a_run_of_the_script",
    ),
    mutant(
        "a parked event is looked at anew",
        "sent again after the configuration was mended, it stays parked",
        _LUA.condition("duplicate_of", "parked"),
        "test_deliveries.py::test_a_parked_event_sent_again_alone_is_answered_as_before_only_under_its_configuration",
    ),
    mutant(
        "a body without an id is a duplicate only while it is the newest request",
        "after another request of the customer, the first one sent again is ignored",
        _LUA.condition("duplicate_of", "by_body"),
        "test_duplicates_without_ids.py::test_a_b_a_ends_with_a",
    ),
    mutant(
        "the answer to several events without ids",
        "a delivery is answered as before although a newer request came in between",
        _LUA.condition("earlier_answer", "by_body", "ignored"),
        "test_duplicates_without_ids.py::test_of_a_delivery_only_the_events_with_newer_requests_since_are_new",
    ),
    mutant(
        "a computed date counts as the same for ten minutes only",
        "a form that says nothing of the date is a duplicate for a week",
        _LUA.result("equals_newest", "requested", to="true"),
        "test_duplicates_without_ids.py::test_a_date_that_the_template_computes_is_the_same_request_for_ten_minutes",
    ),
    mutant(
        "a repeated parked event counts from its latest arrival",
        "mapped later, it is older than a request that came before it",
        _LUA.condition("Admit.renew_parked", "by_body"),
        "test_duplicates_without_ids.py::test_a_parked_body_sent_again_is_one_event_that_counts_from_its_latest_arrival",
    ),
    mutant(
        "dedup is per source",
        "two sources that use the same key share it",
        _DELIVERIES.argument(
            "event_keys", "keys.append", 0, "dedup_key", to='digest_of("key", event.dedup_key)'
        ),
        "test_deliveries.py::test_one_key_from_two_sources_is_two_events",
    ),
    mutant(
        "a looked-up event is put in its place once",
        "two workers that looked it up make two of it",
        _LUA.condition("resolve", "lookup:"),
        "test_deliveries.py::test_a_lookup_is_resolved_once",
    ),
    mutant(
        "a remapped event is put in its place once",
        "two remaps at once make two of it",
        _LUA.condition("resolve", "ZSCORE"),
        "test_deliveries.py::test_an_event_is_resolved_once",
    ),
    mutant(
        "a lookup is leased",
        "every worker looks up the same contacts at once",
        _LUA.argument("take_lookups", "Lookups.due", 2, to="now"),
        "test_lookups.py::test_a_lookup_whose_worker_died_comes_back_by_itself",
    ),
    mutant(
        "a lookup that fails waits",
        "it is tried again at once",
        _LOOKUP.argument("_note", "self._services.lookup_status.failed", "wait_seconds", to="0.0"),
        "test_lookups.py::test_a_lookup_that_fails_waits_and_loses_nothing",
    ),
    mutant(
        "a record that stays unreadable is parked",
        "a deleted lead is asked for as long as the store lasts",
        _LOOKUP.condition("_admit", "MOST_TRIES", to="False"),
        "test_record_lookups.py::test_a_lead_that_meta_does_not_have_is_parked_after_a_day_of_tries",
    ),
    mutant(
        "a failure of the source is no try of a record",
        "events are parked by the first bad answer after a long outage",
        _LUA.statement("postpone_lookup", "tries"),
        "test_lookup_failures.py::test_failures_of_the_source_are_no_tries_of_a_record",
    ),
    mutant(
        "an object whose scope is missing is left alone",
        "each new deal asks HubSpot again, with a token that it refused",
        _HUBSPOT_LOOKUP.condition("require_unblocked", "blocked", "0", to="False"),
        "test_lookup_failures.py::test_an_object_whose_scope_is_missing_is_asked_for_once_in_five_minutes",
    ),
    mutant(
        "a missing scope holds no other object",
        "a token without the scope of deals stops the contacts for an hour",
        _LOOKUP_RESULTS.result("is_about_source", to="self is not FailureKind.UNREADABLE"),
        "test_lookup_failures.py::test_events_of_an_object_whose_scope_is_missing_wait_alone",
    ),
    mutant(
        "a source whose lookups fail is left alone",
        "each new event asks the CRM again, with a token that it refused",
        _LUA.condition("take_lookups", "held_until"),
        "test_lookup_failures.py::test_while_a_source_waits_no_event_of_it_is_looked_up",
    ),
    mutant(
        "new settings of a lookup end its wait",
        "a corrected token waits for an hour",
        _LUA.condition("take_lookups", "settings"),
        "test_lookup_failures.py::test_a_changed_token_is_tried_at_once",
    ),
    mutant(
        "a clock that runs ahead does not win for ever",
        "a wish of next year beats all of this year's",
        _PLAN.call("_version", "min", to="{0}"),
        "test_planner.py::test_a_version_is_never_later_than_arrival_and_five_minutes",
    ),
    mutant(
        "a full store refuses a delivery whole",
        "the first write of a resolve passes where later ones do not",
        _LUA.statement("Admit.refuse_when_full", "HINCRBY"),
        "test_deliveries.py::test_a_full_store_still_takes_and_postpones_lookups_and_resolves_none",
    ),
    mutant(
        "an account without a queue",
        "a recall is stored where no queue will push it",
        _LUA.condition("admit", "unbound"),
        "test_deliveries.py::test_of_a_delivery_for_an_unknown_account_nothing_is_stored",
    ),
    mutant(
        "503 while the store is away",
        "the sender is told that it sends too much",
        _INTAKE.argument("_reject", "_error_answer", 0, "503", to="429"),
        "test_receiver.py::test_with_the_store_away_the_sender_gets_503_with_retry_after",
    ),
    mutant(
        "nobody waits for a store that hangs",
        "the web waits for it for half a minute",
        _APP.value("", "STORE_ANSWER_SECONDS", to="30.0"),
        "test_receiver.py::test_a_store_that_hangs_is_answered_within_seconds",
    ),
    mutant(
        "who waited too long behind a store that hangs is told so",
        "they wait on for their own round trip",
        _BATCHING.value("_overdue", "overdue", to="[]"),
        "test_batching.py::test_who_waited_too_long_when_a_trip_fails_is_told_so_and_the_others_wait_on",
    ),
    mutant(
        "each delivery of a run stands for itself",
        "one that cannot be read takes all others of its moment along",
        _LUA.call("", "pcall", "run", to="true, {0}({1})"),
        "test_batching.py::test_a_fault_of_one_harms_none_in_its_run",
    ),
    mutant(
        "the store is asked once",
        "redis-py repeats a command that may have been done",
        _STORE.argument("connect", "Retry", 1, to="3"),
        "test_batching.py::test_the_store_is_asked_once_whatever_comes_of_it",
    ),
    mutant(
        "the settings are read again",
        "a store whose log was switched off while it runs goes on to be acknowledged",
        _WATCH.condition("look", "_is_due"),
        "test_durability_watch.py::test_a_setting_that_was_changed_is_found_within_a_minute",
    ),
    mutant(
        "a log that is switched on counts when it is written",
        "a delivery is acknowledged that the next restart of the server loses",
        _WATCH.value("assure", "_log_is_missing", to="not report.aof"),
        "test_durability_watch.py::test_a_log_that_is_switched_on_counts_when_it_is_written",
    ),
    mutant(
        "an unsafe store is acknowledged no more",
        "deliveries get 202 although the store may lose them",
        _WATCH.condition("require_safe", "_unsafe"),
        "test_durability_watch.py::test_a_setting_that_was_changed_is_found_within_a_minute",
    ),
    mutant(
        "the watch writes",
        "a store that is full or a replica counts as ready",
        _WATCH.call("look", "_write", to="None"),
        "test_durability_watch.py::test_a_full_store_is_found_by_a_write_and_accepts_again_when_there_is_room",
    ),
    mutant(
        "appendonly",
        "a store without a log is taken",
        _STORE_CHECK.element("_risks", "appendonly", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "appendfsync",
        "a store that does not sync is taken",
        _STORE_CHECK.element("_risks", "appendfsync", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "maxmemory-policy",
        "a store that evicts is taken",
        _STORE_CHECK.element("_risks", "maxmemory-policy", of="rows"),
        "test_durability.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
    ),
    mutant(
        "a replica",
        "a store that cannot be written to is taken",
        _STORE_CHECK.condition("_faults", "master"),
        "test_durability.py::test_a_replica_is_refused_even_when_loss_is_accepted",
    ),
    mutant(
        "the web looks at the store before it takes anything",
        "it admits into any store",
        _BINDING.statement("assure_store", "assure"),
        "test_services.py::test_a_store_that_forgets_is_bound_to_nothing",
    ),
    mutant(
        "one server on an embedded store's folder",
        "a second one starts there and ruins it",
        _EMBEDDED.argument("lock_folder", "fcntl.flock", 1, to="fcntl.LOCK_UN"),
        "test_embedded_store.py::test_a_second_server_on_the_folder_is_refused_and_the_first_is_named",
    ),
)
