"""Guards of the dashboard, of jobs and of what watches the workers."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_DASHBOARD_BLUEPRINT = Code("integration/dashboard/blueprint.py")
_DASHBOARD_HEADERS = Code("integration/dashboard/headers.py")
_DASHBOARD_ORIGIN = Code("integration/dashboard/addresses.py")
_DASHBOARD_SIGNIN = Code("integration/dashboard/auth/signin.py")
_HEALTH = Code("integration/services/consumer_health.py")
_LUA = Code("integration/store/lua/*.lua")
_HEARTBEAT = Code("integration/services/heartbeat.py")

_SUPERVISOR = Code("integration/local/supervisor.py")
_HEALTH_CHECK = Code("integration/local/health_check.py")
_EMBEDDED_STORE = Code("integration/local/embedded_store.py")
_SWEEPER = Code("workers/sweeper.py")
_TASKS = Code("workers/tasks.py")
_LIVENESS = Code("integration/telemetry/liveness.py")

GUARDS = (
    mutant(
        "requests that another site forges",
        "a page elsewhere pauses an account in the operator's name",
        _DASHBOARD_BLUEPRINT.statement("ready", "protect"),
        "test_dashboard.py::test_a_form_that_is_not_ours_does_nothing",
    ),
    mutant(
        "a person's role",
        "a viewer may do what an operator may",
        _DASHBOARD_BLUEPRINT.condition("_require", "allows"),
        "test_dashboard.py::test_a_role_that_is_not_enough_is_told_which_would_be",
    ),
    mutant(
        "only as many proxies are believed as there are",
        "anybody says under which address they try to sign in",
        _DASHBOARD_ORIGIN.statement("client_address", "len", to="if seen:\n        return seen[0][:64]"),
        "test_signin_refused.py::test_a_forged_forwarding_does_not_make_a_new_address",
    ),
    mutant(
        "after signing in, only to our own pages",
        "a link to the sign-in page leads elsewhere",
        _DASHBOARD_ORIGIN.statement("local_address", "is_ours"),
        "test_signin.py::test_nobody_is_led_away_from_here",
    ),
    mutant(
        "a failed try keeps no unknown name",
        "a password in the wrong field is kept in the audit log",
        _DASHBOARD_SIGNIN.value("_note_failure", "known", to="name"),
        "test_signin_sessions.py::test_signing_in_failing_and_signing_out_are_in_the_audit_log",
    ),
    mutant(
        "no page in a frame of others",
        "another site shows the dashboard under its own buttons",
        _DASHBOARD_HEADERS.value("", "CONTENT_POLICY", to='{it}.replace("frame-ancestors", "x-none")'),
        "test_dashboard.py::test_no_page_is_shown_in_a_frame_of_others",
    ),
    mutant(
        "the cookie is out of scripts' reach",
        "a script reads who is signed in",
        _DASHBOARD_BLUEPRINT.argument(
            "_configure", "app.config.update", "SESSION_COOKIE_HTTPONLY", to="False"
        ),
        "test_signin.py::test_the_cookie_is_for_this_site_alone_and_no_script_reads_it",
    ),
    mutant(
        "one worker per job",
        "two go on with the same job at once",
        _LUA.condition("Job.take", "owner", "LEASE"),
        "test_bulk_jobs.py::test_another_worker_continues_the_job_of_a_dead_one_without_repeating",
    ),
    mutant(
        "a job's step happens once",
        "a step that is asked for again acts again",
        _LUA.condition("Job.step", "cursor"),
        "test_bulk_jobs.py::test_a_step_whose_reply_was_lost_is_not_taken_again",
    ),
    mutant(
        "a worker that takes no wake-ups is reported",
        "the sweep drains its queues, and nobody is told",
        _HEARTBEAT.call("send", "self._report", to="None"),
        "test_heartbeat.py::test_a_worker_whose_queues_the_sweep_drains_is_stalled_and_is_reported_once",
    ),
    mutant(
        "a worker that answers a long drain is not stalled",
        "it is reported while it works",
        _HEALTH.condition("evaluate", "active", to="True"),
        "test_heartbeat.py::test_a_worker_that_is_answering_a_wake_up_is_busy_not_stalled",
    ),
    mutant(
        "a process that does not respond is replaced",
        "a worker that is stopped stays so until somebody looks",
        _SUPERVISOR.condition("_look_at", "has_stalled"),
        "test_supervisor.py::test_a_service_whose_ticks_stand_still_is_stopped_and_started_again",
    ),
    mutant(
        "a stopped store is asked for an answer",
        "it counts as one that responds",
        _EMBEDDED_STORE.statement("ticks", "recv", to="self._ticks += 1"),
        "test_stalled_processes.py::test_a_stopped_store_counts_no_tick",
    ),
    mutant(
        "a container's process that does not respond is killed",
        "Docker shows it as unhealthy and leaves it",
        _HEALTH_CHECK.statement("check_ticks", "SIGKILL"),
        "test_stalled_processes.py::test_the_health_check_of_a_container_kills_a_process_that_is_stopped",
    ),
    mutant(
        "a worker whose sweep stands still counts no tick",
        "its queues wait although the process lives",
        _TASKS.condition("count_tick", "has_stalled", to="True"),
        "test_stalled_processes.py::test_a_worker_whose_sweep_begins_no_step_for_a_minute_counts_no_tick",
    ),
    mutant(
        "a worker that ends has not stalled",
        "it is killed during its last call",
        _SWEEPER.condition("has_stalled", "_stopping", to="True"),
        "test_stalled_processes.py::test_a_worker_whose_sweep_begins_no_step_for_a_minute_counts_no_tick",
    ),
    mutant(
        "a process has longer for its start",
        "one that opens its connections is killed again and again",
        _LIVENESS.value("look", "limit", to="self.stalled_looks"),
        "test_liveness.py::test_a_process_has_longer_for_its_start",
    ),
)
