"""Guards of the dashboard, of jobs and of what watches the workers."""

from __future__ import annotations

from .mutant import mutant

_SCRIPT = "workers/lua/*.lua"
_DASHBOARD = "integration/dashboard/"

GUARDS = (
    mutant(
        "requests that another site forges",
        "a page elsewhere pauses an account in the operator's name",
        "test_dashboard.py::test_a_form_that_is_not_ours_does_nothing",
        file=_DASHBOARD + "blueprint.py",
        before="        csrf.protect()\n",
    ),
    mutant(
        "a person's role",
        "a viewer may do what an operator may",
        "test_dashboard.py::test_a_role_that_is_not_enough_is_told_which_would_be",
        file=_DASHBOARD + "blueprint.py",
        before="    if not g.person.role.allows(least):\n",
        after="    if False:\n",
    ),
    mutant(
        "only as many proxies are believed as there are",
        "anybody says under which address they try to sign in",
        "test_signin.py::test_a_forged_forwarding_does_not_make_a_new_address",
        file=_DASHBOARD + "origin.py",
        before="    if settings.proxies and len(seen) >= settings.proxies:\n        return seen[-settings.proxies][:64]\n",
        after="    if seen:\n        return seen[0][:64]\n",
    ),
    mutant(
        "after signing in, only to our own pages",
        "a link to the sign-in page leads elsewhere",
        "test_signin.py::test_nobody_is_led_away_from_here",
        file=_DASHBOARD + "origin.py",
        before='    if parts.scheme or parts.netloc or "\\\\" in text or not is_ours(parts.path):\n        return "/"\n',
    ),
    mutant(
        "a failed try keeps no unknown name",
        "a password in the wrong field is kept in the audit log",
        "test_signin.py::test_signing_in_failing_and_signing_out_are_in_the_audit_log",
        file=_DASHBOARD + "signin.py",
        before="known = name if name in desk.config.users else NOBODY_KNOWN",
        after="known = name",
    ),
    mutant(
        "no page in a frame of others",
        "another site shows the dashboard under its own buttons",
        "test_dashboard.py::test_no_page_is_shown_in_a_frame_of_others",
        file=_DASHBOARD + "headers.py",
        before="; frame-ancestors 'none'",
    ),
    mutant(
        "the cookie is out of scripts' reach",
        "a script reads who is signed in",
        "test_signin.py::test_the_cookie_is_for_this_site_alone_and_no_script_reads_it",
        file=_DASHBOARD + "blueprint.py",
        before="SESSION_COOKIE_HTTPONLY=True",
        after="SESSION_COOKIE_HTTPONLY=False",
    ),
    mutant(
        "one worker per job",
        "two go on with the same job at once",
        "test_jobs.py::test_a_worker_that_dies_leaves_a_job_to_the_next_and_nothing_is_done_twice",
        file=_SCRIPT,
        before="  if j[2] ~= owner and lease > now and lease <= now + Job.LEASE then return 0 end\n",
    ),
    mutant(
        "a job's step happens once",
        "a step that is asked for again acts again",
        "test_jobs.py::test_a_step_whose_reply_was_lost_is_not_taken_again",
        file=_SCRIPT,
        before="j.owner ~= owner or j.cursor ~= from then return 'lost'",
        after="j.owner ~= owner then return 'lost'",
    ),
    mutant(
        "a worker that takes no doorbells is reported",
        "its turns are taken by the sweep, and nobody is told",
        "test_pulse.py::test_a_worker_whose_turns_the_sweep_takes_is_deaf_and_it_is_told_once",
        file="workers/pulse.py",
        before="            self._tell(heard, self._watcher)\n",
        after="            pass\n",
    ),
    mutant(
        "a worker that answers a long turn is not deaf",
        "it is reported while it works",
        "test_pulse.py::test_a_worker_that_is_answering_a_doorbell_is_busy_not_deaf",
        file="workers/hearing.py",
        before="        if self._answering:\n            return None\n",
    ),
)
