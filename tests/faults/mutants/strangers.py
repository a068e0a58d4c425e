"""Guards against what strangers may cost or steer: templates, log lines, addresses, the dashboard's parameters."""

from __future__ import annotations

from .mutant import mutant

_DATA = "integration/templates/data.py"
_LOGS = "integration/logs.py"
_UP = "integration/commands/up.py"
_ENDLESS = "test_fuzz_templates.py::test_lists_do_not_grow_and_are_not_gone_over_for_each_other_without_end"
_STEERING = "test_logs.py::test_no_line_can_steer_a_terminal_or_turn_its_text_around"

GUARDS = (
    mutant(
        "the longest text that is read as a date",
        "a mebibyte of blanks holds the process for an hour",
        "test_schedule.py::test_a_text_longer_than_any_date_is_not_even_looked_at",
        file="integration/schedule.py",
        before="        if len(text) > _LONGEST_TEXT:\n",
        after="        if False:\n",
    ),
    mutant(
        "the longest list that a template works on",
        "two lists are gone over for each other without end",
        _ENDLESS,
        file=_DATA,
        before="        if isinstance(value, list | tuple) and len(value) > MAX_LIST:\n",
        after="        if False:\n",
    ),
    mutant(
        "what a list that a template makes may hold",
        "inner lists grow to gigabytes",
        _ENDLESS,
        file=_DATA,
        before="    return sum(map(_weight, item)) if isinstance(item, list | tuple) else 1\n",
        after="    return 1\n",
    ),
    mutant(
        "an answer of wolkvox nested too deep",
        "it makes no verdict, and the turn dies of it",
        "test_wolkvox.py::test_an_answer_nested_deeper_than_can_be_written_makes_a_verdict",
        file="integration/wolkvox.py",
        before="    except orjson.JSONEncodeError:",
        after="    except ZeroDivisionError:",
    ),
    mutant(
        "an address has one spelling",
        "a rule of the proxy is walked around by // or %6d",
        "test_asgi.py::test_what_can_be_read_in_two_ways_reaches_nobody",
        file="integration/asgi.py",
        before="    if has_second_spelling(_raw_path(scope)):\n",
        after="    if False:\n",
    ),
    mutant(
        "no redirect by the Host of a request",
        "an address with // leads to whatever host is named",
        "test_api.py::test_no_address_is_answered_by_a_redirect",
        file="integration/problems.py",
        before="    app.url_map.merge_slashes = False\n",
    ),
    mutant(
        "headers of every answer",
        "a browser may frame it, keep it and guess its type",
        "test_api.py::test_every_answer_carries_the_headers_that_keep_a_browser_from_using_it",
        file="integration/answer_headers.py",
        before="        headers.add(name, value)\n",
        after="        pass\n",
    ),
    mutant(
        "what a head may hold before it is complete",
        "8192 connections hold 3 GiB",
        "test_deploy.py::test_heads_that_never_end_cannot_fill_the_memory",
        file=_UP,
        before='        *("--http1-buffer-size", "32768"),\n',
    ),
    mutant(
        "faults that are told of one request",
        "a mebibyte of unknown names is answered with ten",
        "test_api.py::test_a_body_full_of_faults_is_answered_with_the_first_hundred",
        file="integration/api/requests.py",
        before="errors=told[:MOST_FAULTS]",
        after="errors=told",
    ),
    mutant(
        "signs that turn text around, in log lines",
        "a stranger's text reads otherwise than it is",
        _STEERING,
        file=_LOGS,
        before=r"\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
        after=r"\u2028\u2029]",
    ),
    mutant(
        "lines that ringback up relays",
        "a stranger's text steers the terminal",
        "test_cli.py::test_a_line_of_a_child_cannot_steer_the_terminal_or_forge_another",
        file=_UP,
        before="{key}={render.clean(value)}",
        after="{key}={value}",
    ),
    mutant(
        "the store's files are for one user",
        "they can be read once their folder is opened",
        "test_embedded.py::test_what_the_server_writes_is_for_this_user_alone_also_without_its_folder",
        file="integration/processes.py",
        before="umask=0o077 if private else -1",
        after="umask=-1",
    ),
    mutant(
        "the language switch stays here",
        "it leads to whatever host the request names",
        "test_dashboard_language.py::test_the_switch_takes_no_parameter_as_an_order_and_leads_nowhere_else",
        file="integration/dashboard/language.py",
        before="redirect(local_address(same_page), 303)",
        after='redirect(f"//{request.host}{same_page}", 303)',
    ),
    mutant(
        "going on is what the last step said",
        "mapping again stays out of the audit log",
        "test_dashboard_deliveries.py::test_a_step_that_nobody_was_sent_to_is_an_act_of_its_own_or_refused",
        file="integration/dashboard/parked.py",
        before="    if not cursor or session.get(_GOING_ON) != cursor:\n",
        after="    if not cursor:\n",
    ),
)
