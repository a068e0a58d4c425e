"""Guards of the intake: what was acknowledged is there, once, and all of it."""

from __future__ import annotations

from .mutant import mutant

_SCRIPT = "workers/lua/*.lua"
_LEDGER = "workers/ledger.py"
_INTAKE = "integration/intake.py"
_STORE_CHECK = "integration/store_check.py"

ONCE = (
    mutant(
        "dedup of events",
        "an event that was taken before is taken again",
        "test_receiver.py::test_an_event_repeated_in_another_delivery_contributes_its_old_id",
        file=_SCRIPT,
        before="  if taken_before(e, done, delivery) then return end\n",
    ),
    mutant(
        "the old answer to the delivery of one event",
        "a delivery that was taken before is answered anew",
        "test_ledger.py::test_what_was_looked_up_takes_the_place_of_what_waited",
        file=_SCRIPT,
        before="if one and one.answer and",
        after="if false and",
    ),
    mutant(
        "the answer to one event that is still parked",
        "after a change of the configuration it is not looked at anew",
        "test_ledger.py::test_a_parked_event_sent_again_alone_is_answered_as_before_only_under_its_configuration",
        file=_SCRIPT,
        before="(one.what ~= 'parked' or one.digest == delivery.digest)",
        after="true",
    ),
    mutant(
        "the answer goes with what was looked up",
        "a delivery whose event was looked up meanwhile is answered anew",
        "test_ledger.py::test_what_was_looked_up_takes_the_place_of_what_waited",
        file=_SCRIPT,
        before="      e.answer = from.lookup and (seen(e.k) or {}).answer\n",
    ),
    mutant(
        "the old answer to a whole delivery",
        "a delivery that was taken before is answered anew",
        "test_ledger.py::test_a_delivery_sent_again_gets_its_first_answer",
        file=_SCRIPT,
        before="local old = delivery.key ~= '' and redis.call('GET', P .. 'answer:' .. delivery.key)",
        after="local old = false",
    ),
    mutant(
        "Idempotency-Key for another body",
        "it gives the first recall instead of a clash",
        "test_api.py::test_the_same_key_with_another_body_is_refused_and_stores_nothing",
        file=_SCRIPT,
        before="    if old and old.fingerprint ~= e.fingerprint then return true end\n",
    ),
    mutant(
        "numbers of a shared run",
        "deliveries that are admitted in one run get the same numbers",
        "test_together.py::test_small_deliveries_of_the_same_moment_share_a_run_of_the_script",
        file=_SCRIPT,
        before="  numbers.last, numbers.left = numbers.last + many, numbers.left - many\n",
    ),
    mutant(
        "a parked event is looked at anew",
        "sent again after the configuration was mended, it stays parked",
        "test_receiver.py::test_a_parked_event_sent_again_after_the_configuration_changed_is_looked_at_anew",
        file=_SCRIPT,
        before="if old.what == 'parked' and old.digest ~= delivery.digest then",
        after="if false then",
    ),
    mutant(
        "the body's hash counts for ten minutes only",
        "the same words tomorrow are taken for a repetition",
        "test_ledger.py::test_an_event_without_a_key_is_remembered_for_ten_minutes",
        file=_LEDGER,
        before="            seconds = min(seconds, BODY_HASH_SECONDS)\n",
        after="            seconds = float(seconds)\n",
    ),
    mutant(
        "dedup is per source",
        "two sources that use the same key share it",
        "test_ledger.py::test_one_key_from_two_sources_is_two_events",
        file=_LEDGER,
        before='digest_of(delivery.source, "key", event.dedup_key)',
        after='digest_of("key", event.dedup_key)',
    ),
    mutant(
        "a looked-up event is put in its place once",
        "two workers that looked it up make two of it",
        "test_ledger.py::test_a_lookup_is_resolved_once",
        file=_SCRIPT,
        before="  if from.lookup and redis.call('EXISTS', P .. 'lookup:' .. from.lookup) == 0 then return {'gone', '', {}, ''} end\n",
    ),
    mutant(
        "a remapped event is put in its place once",
        "two remaps at once make two of it",
        "test_ledger.py::test_an_event_is_resolved_once",
        file=_SCRIPT,
        before="  if from.parked and redis.call('EXISTS', P .. 'parked:' .. from.parked) == 0 then return {'gone', '', {}, ''} end\n",
    ),
    mutant(
        "a lookup is leased",
        "every worker looks up the same contacts at once",
        "test_lookup.py::test_a_lookup_whose_worker_died_comes_back_by_itself",
        file=_SCRIPT,
        before="Lookups.due(source, id, now + lease_ms)",
        after="Lookups.due(source, id, now)",
    ),
    mutant(
        "a lookup that fails waits",
        "it is tried again at once",
        "test_lookup.py::test_a_lookup_that_fails_waits_and_loses_nothing",
        file="workers/lookup.py",
        before="                self._desk.ledger.postpone_lookup(kept.id, wait, away.reason)\n",
        after="                self._desk.ledger.postpone_lookup(kept.id, wait * 0, away.reason)\n",
    ),
    mutant(
        "a clock that runs ahead does not win for ever",
        "a wish of next year beats all of this year's",
        "test_plan.py::test_a_version_is_never_later_than_arrival_and_five_minutes",
        file="integration/plan.py",
        before="return min(happened, arrival + CLOCKS_MAY_DIFFER).astimezone(UTC)",
        after="return happened.astimezone(UTC)",
    ),
)

ALL_OR_NOTHING = (
    mutant(
        "a full store refuses a delivery whole",
        "the first write of a resolve passes where later ones do not",
        "test_ledger.py::test_a_full_store_still_takes_and_postpones_lookups_and_resolves_none",
        file=_SCRIPT,
        before="  redis.call('HINCRBY', P .. 'meta', 'seq', 0)\n",
    ),
    mutant(
        "an account without a lane",
        "a recall is stored where no lane will push it",
        "test_ledger.py::test_of_a_delivery_for_an_unknown_account_nothing_is_stored",
        file=_SCRIPT,
        before="return {'clash', '', {}, ''} end\n  if unbound(delivery.events) then return {'unbound', '', {}, ''} end\n",
        after="return {'clash', '', {}, ''} end\n",
    ),
    mutant(
        "503 while the store is away",
        "the sender is told that it sends too much",
        "test_receiver.py::test_with_the_store_away_the_sender_is_told_to_come_again",
        file=_INTAKE,
        before="return self._refuse(settings, delivery, began, 503, retry_after",
        after="return self._refuse(settings, delivery, began, 429, retry_after",
    ),
    mutant(
        "nobody waits for a store that hangs",
        "the web waits for it for half a minute",
        "test_receiver.py::test_a_store_that_hangs_costs_a_sender_seconds_and_never_half_a_minute",
        file="integration/app.py",
        before="STORE_ANSWER_SECONDS = 1.2",
        after="STORE_ANSWER_SECONDS = 30.0",
    ),
    mutant(
        "who waited too long behind a store that hangs is told so",
        "they wait on for their own round trip",
        "test_together.py::test_who_waited_too_long_is_told_with_those_whose_trip_failed",
        file="workers/together.py",
        before="if now - call.asked_at > PATIENCE_SECONDS:",
        after="if False:",
    ),
    mutant(
        "the bell in the store is taken down where the broker is elsewhere",
        "messages pile up in a queue that nobody reads",
        "test_bell.py::test_it_is_taken_down_when_the_broker_is_elsewhere_and_hung_again_in_a_store_that_was_emptied",
        file="workers/bell.py",
        before='            store.client.hdel(meta, "bell_queue", "bell")\n',
        after="            pass\n",
    ),
    mutant(
        "a caller rings where no bell hangs",
        "the lane sleeps until the sweep looks at it",
        "test_bell.py::test_where_none_hangs_the_caller_rings",
        file="workers/lua/bell.lua",
        before="  if not hung[1] then return false end\n",
        after="  if not hung[1] then return true end\n",
    ),
    mutant(
        "each delivery of a run stands for itself",
        "one that cannot be read takes all others of its moment along",
        "test_together.py::test_a_fault_of_one_harms_none_in_its_run",
        file="workers/lua/together.lua",
        before="  local done, reply = pcall(COMMANDS.admit, ...)\n",
        after="  local done, reply = true, COMMANDS.admit(...)\n",
    ),
    mutant(
        "the store is asked once",
        "redis-py repeats a command that may have been done",
        "test_together.py::test_the_store_is_asked_once_whatever_comes_of_it",
        file="workers/store.py",
        before="retry=Retry(NoBackoff(), 0)",
        after="retry=Retry(NoBackoff(), 3)",
    ),
)

A_STORE_THAT_KEEPS = (
    mutant(
        "appendonly",
        "a store without a log is taken",
        "test_store_check.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
        file=_STORE_CHECK,
        before='        ("appendonly", aof, "yes", "a restart forgets what was acknowledged"),\n',
    ),
    mutant(
        "appendfsync",
        "a store that does not sync is taken",
        "test_store_check.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
        file=_STORE_CHECK,
        before='        ("appendfsync", report.fsync, "always", "a power cut takes what was acknowledged last"),\n',
    ),
    mutant(
        "maxmemory-policy",
        "a store that evicts is taken",
        "test_store_check.py::test_a_server_that_may_forget_is_refused_unless_loss_is_accepted",
        file=_STORE_CHECK,
        before='        ("maxmemory-policy", report.eviction, "noeviction", "a full store throws recalls away"),\n',
    ),
    mutant(
        "a replica",
        "a store that cannot be written to is taken",
        "test_store_check.py::test_a_replica_is_refused_even_when_loss_is_accepted",
        file=_STORE_CHECK,
        before='if report.role not in {None, "master"}:',
        after="if False:",
    ),
    mutant(
        "the web looks at the store before it takes anything",
        "it admits into any store",
        "test_desk.py::test_a_store_that_forgets_is_bound_to_nothing",
        file="workers/desk.py",
        before="            self.store.guarded(lambda: assure(self.store.client, accept_loss=accept_loss))\n",
        after="            self.store.guarded(lambda: accept_loss)\n",
    ),
    mutant(
        "one server on an embedded store's folder",
        "a second one starts there and ruins it",
        "test_embedded.py::test_a_second_server_on_the_folder_is_refused_and_the_first_is_named",
        file="integration/embedded.py",
        before="            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        after="            fcntl.flock(file, fcntl.LOCK_UN)\n",
    ),
)

GUARDS = (*ONCE, *ALL_OR_NOTHING, *A_STORE_THAT_KEEPS)
