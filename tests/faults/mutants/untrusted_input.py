"""Guards against untrusted input: templates, log lines, URLs and parameters of the dashboard."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_ANSWER_HEADERS = Code("integration/web/security_headers.py")
_API_REQUESTS = Code("integration/api/requests.py")
_ASGI = Code("integration/asgi.py")
_FILTERS = Code("integration/mapping/expressions/filters.py")
_SERVER = Code("integration/server.py")
_LOGGING = Code("integration/telemetry/logging.py")
_DASHBOARD_LANGUAGE = Code("integration/dashboard/language.py")
_DASHBOARD_PARKED = Code("integration/dashboard/views/parked.py")
_LOGS = Code("integration/telemetry/logging.py")
_PROBLEMS = Code("integration/web/problems.py")
_CHILD = Code("integration/local/child_process.py")
_DATE_TEXTS = Code("integration/domain/dates/texts.py")
_TEMPLATES_DATA = Code("integration/mapping/expressions/data.py")
_WOLKVOX = Code("integration/clients/wolkvox_protocol.py")

GUARDS = (
    mutant(
        "length limit for texts that are parsed as dates",
        "a mebibyte of blanks blocks the process for an hour",
        _DATE_TEXTS.condition("date_text", "_LONGEST_TEXT"),
        "test_dates.py::test_a_text_longer_than_any_date_is_not_even_looked_at",
    ),
    mutant(
        "length limit for lists in templates",
        "a filter on two long lists runs almost without end",
        _TEMPLATES_DATA.condition("require_short", "MAX_LIST"),
        "test_fuzz_templates.py::test_lists_do_not_grow_and_are_not_gone_over_for_each_other_without_end",
    ),
    mutant(
        "size limit for the contents of lists that a template creates",
        "nested lists grow to gigabytes",
        _TEMPLATES_DATA.body("_weight", "return 1"),
        "test_fuzz_templates.py::test_lists_do_not_grow_and_are_not_gone_over_for_each_other_without_end",
    ),
    mutant(
        "handling of deeply nested wolkvox responses",
        "the response gets no verdict, and the drain ends with an exception",
        _WOLKVOX.caught("_text"),
        "test_wolkvox_protocol.py::test_a_deeply_nested_answer_has_a_verdict",
    ),
    mutant(
        "a `strftime` format must not contain widths",
        "`%20000000d` produces twenty megabytes of text",
        _FILTERS.condition("_strftime", "_DIRECTIVES"),
        "test_expressions_sandbox.py::test_a_strftime_format_with_a_width_or_too_long_is_unmappable",
    ),
    mutant(
        "the length of a joined text is checked before it is created",
        "a join of ten thousand items with a long separator uses all memory",
        _FILTERS.condition("_join", "MAX_TEXT"),
        "test_expressions_sandbox.py::test_a_bomb_takes_no_memory",
    ),
    mutant(
        "URLs with more than one spelling are rejected",
        "a proxy rule is bypassed with `//` or `%6d`",
        _ASGI.condition("_require_one_reading", "has_second_spelling"),
        "test_asgi.py::test_what_can_be_read_in_two_ways_reaches_nobody",
    ),
    mutant(
        "paths with `//` are not redirected",
        "a path with `//` redirects to the host in the request's `Host` header",
        _PROBLEMS.statement("install", "merge_slashes"),
        "test_api_errors.py::test_no_address_is_answered_by_a_redirect",
    ),
    mutant(
        "security headers on every response",
        "a browser can frame and cache the response and guess its content type",
        _ANSWER_HEADERS.statement("complete", "headers"),
        "test_api_errors.py::test_every_answer_carries_the_headers_that_keep_a_browser_from_using_it",
    ),
    mutant(
        "size limit for incomplete request heads",
        "8192 connections can use 3 GiB",
        _SERVER.argument("", "HTTP1Settings", "max_buffer_size", to="417792"),
        "test_deploy.py::test_heads_that_never_end_cannot_fill_the_memory",
    ),
    mutant(
        "limit for the validation errors in a response",
        "a body with a mebibyte of unknown names gets a response of ten mebibytes",
        _API_REQUESTS.argument("bad_fields", "ProblemError", "errors", to="errors"),
        "test_api_errors.py::test_a_body_full_of_faults_is_answered_with_the_first_hundred",
    ),
    mutant(
        "bidirectional control characters in log lines are escaped",
        "a sender can reverse the displayed text of a log line",
        _LOGS.value("", "_CONTROL", to='re.compile(r"[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029]")'),
        "test_logging.py::test_no_line_can_steer_a_terminal_or_reverse_its_text",
    ),
    mutant(
        "lines relayed by `ringback up` are escaped",
        "text from a sender can send control sequences to the terminal",
        _LOGGING.argument(
            "readable",
            "' '.join",
            0,
            to='(f"{key}={value}" for key, value in event.items() if key != "logger")',
        ),
        "test_cli.py::test_a_line_of_a_child_cannot_steer_the_terminal_or_forge_another",
    ),
    mutant(
        "umask of the embedded store",
        "other users can read the files if they can open the folder",
        _CHILD.argument("spawn", "subprocess.Popen", "umask", to="-1"),
        "test_embedded_store.py::test_what_the_server_writes_is_for_this_user_alone_also_without_its_folder",
    ),
    mutant(
        "the language switch redirects within the dashboard",
        "it redirects to the host in the request's `Host` header",
        _DASHBOARD_LANGUAGE.argument("switched", "redirect", 0, to='f"//{request.host}{same_page}"'),
        "test_dashboard_language.py::test_the_switch_takes_no_parameter_as_an_order_and_leads_nowhere_else",
    ),
    mutant(
        "a remap continues only from the cursor of its previous step",
        "a remap with a made-up cursor is not recorded in the audit log",
        _DASHBOARD_PARKED.condition("", "_GOING_ON"),
        "test_dashboard_deliveries.py::test_a_step_that_nobody_was_sent_to_is_an_act_of_its_own_or_refused",
    ),
)
