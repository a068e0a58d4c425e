"""Guards of the dashboard, of bulk jobs and of the supervision of workers."""

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
        "CSRF protection",
        "a page of another site can pause an account in the operator's session",
        _DASHBOARD_BLUEPRINT.statement("ready", "protect"),
        "test_dashboard.py::test_a_form_that_is_not_ours_does_nothing",
    ),
    mutant(
        "role check on dashboard pages",
        "a viewer can do what requires the role of an operator",
        _DASHBOARD_BLUEPRINT.condition("_require", "allows"),
        "test_dashboard.py::test_a_role_that_is_not_enough_is_told_which_would_be",
    ),
    mutant(
        "only the configured number of `X-Forwarded-For` entries is trusted",
        "a client can choose the IP address that its sign-in attempts are counted under",
        _DASHBOARD_ORIGIN.statement("client_address", "len", to="if seen:\n        return seen[0][:64]"),
        "test_signin_refused.py::test_a_forged_forwarding_does_not_make_a_new_address",
    ),
    mutant(
        "redirect after sign-in to paths of the dashboard only",
        "a link to the sign-in page can redirect to another site",
        _DASHBOARD_ORIGIN.statement("local_address", "is_ours"),
        "test_signin.py::test_nobody_is_led_away_from_here",
    ),
    mutant(
        "unknown user names of failed sign-ins are not logged",
        "a password typed into the name field is stored in the audit log",
        _DASHBOARD_SIGNIN.value("_note_failure", "known", to="name"),
        "test_signin_sessions.py::test_signing_in_failing_and_signing_out_are_in_the_audit_log",
    ),
    mutant(
        "`frame-ancestors` in the `Content-Security-Policy`",
        "another site can show the dashboard in a frame (clickjacking)",
        _DASHBOARD_HEADERS.value("", "CONTENT_POLICY", to='{it}.replace("frame-ancestors", "x-none")'),
        "test_dashboard.py::test_no_page_is_shown_in_a_frame_of_others",
    ),
    mutant(
        "`HttpOnly` on the session cookie",
        "a script can read the session cookie",
        _DASHBOARD_BLUEPRINT.argument(
            "_configure", "app.config.update", "SESSION_COOKIE_HTTPONLY", to="False"
        ),
        "test_signin.py::test_the_cookie_is_for_this_site_alone_and_no_script_reads_it",
    ),
    mutant(
        "lease on a bulk job",
        "two workers run the same job at the same time",
        _LUA.condition("Job.take", "owner", "LEASE"),
        "test_bulk_jobs.py::test_another_worker_continues_the_job_of_a_dead_one_without_repeating",
    ),
    mutant(
        "a job step is applied once",
        "a repeated step is applied a second time",
        _LUA.condition("Job.step", "cursor"),
        "test_bulk_jobs.py::test_a_step_whose_reply_was_lost_is_not_taken_again",
    ),
    mutant(
        "report of a worker that receives no wake-ups",
        "a worker whose queues are drained only by the sweep is not reported",
        _HEARTBEAT.call("send", "self._report", to="None"),
        "test_heartbeat.py::test_a_worker_whose_queues_the_sweep_drains_is_stalled_and_is_reported_once",
    ),
    mutant(
        "a worker that is busy with a drain is not reported as stalled",
        "a worker is reported as stalled during a long drain",
        _HEALTH.condition("evaluate", "active", to="True"),
        "test_heartbeat.py::test_a_worker_that_is_answering_a_wake_up_is_busy_not_stalled",
    ),
    mutant(
        "the supervisor restarts a process that does not respond",
        "a stopped worker stays stopped until an operator notices",
        _SUPERVISOR.condition("_look_at", "has_stalled"),
        "test_supervisor.py::test_a_service_whose_ticks_stand_still_is_stopped_and_started_again",
    ),
    mutant(
        "a tick of the embedded store requires a response to PING",
        "a stopped store is counted as responding",
        _EMBEDDED_STORE.statement("ticks", "recv", to="self._ticks += 1"),
        "test_stalled_processes.py::test_a_stopped_store_counts_no_tick",
    ),
    mutant(
        "the container health check kills a process that does not respond",
        "Docker reports the container as unhealthy and does not restart it",
        _HEALTH_CHECK.statement("check_ticks", "SIGKILL"),
        "test_stalled_processes.py::test_the_health_check_of_a_container_kills_a_process_that_is_stopped",
    ),
    mutant(
        "a worker whose sweep has stalled counts no ticks",
        "its queues are not drained, and the worker is not restarted",
        _TASKS.condition("count_tick", "has_stalled", to="True"),
        "test_stalled_processes.py::test_a_worker_whose_sweep_begins_no_step_for_a_minute_counts_no_tick",
    ),
    mutant(
        "a worker that is shutting down does not count as stalled",
        "it is killed during its last call",
        _SWEEPER.condition("has_stalled", "_stopping", to="True"),
        "test_stalled_processes.py::test_a_worker_whose_sweep_begins_no_step_for_a_minute_counts_no_tick",
    ),
    mutant(
        "longer time limit for the start of a process",
        "a process that is still opening its connections is killed repeatedly",
        _LIVENESS.value("look", "limit", to="self.stalled_looks"),
        "test_liveness.py::test_a_process_has_longer_for_its_start",
    ),
)
