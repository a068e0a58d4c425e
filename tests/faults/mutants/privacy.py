"""Guards that keep secrets and customer data out of logs, Sentry reports, store keys and wake-ups."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_WAKE_UP = Code("integration/services/wakeup.py")
_QUEUE = Code("integration/store/token_queue.py")
_LOGS = Code("integration/telemetry/logging.py")
_REDACTION = Code("integration/telemetry/redaction.py")
_REPORTING = Code("integration/telemetry/sentry.py")
_FILTER = Code("integration/telemetry/sentry_filter.py")
_CELERY = Code("integration/celery_app.py")
_WOLKVOX = Code("integration/clients/wolkvox_protocol.py")

GUARDS = (
    mutant(
        "masking of log lines",
        "log lines are written unmasked",
        _LOGS.element("_processors", "_mask"),
        "test_logging.py::test_a_telephone_in_an_exception_comes_out_neither_in_its_message_nor_in_the_traceback",
    ),
    mutant(
        "masking of configured secrets",
        "a configured token in a text is logged",
        _REDACTION.statement("_mask", "_secrets"),
        "test_redaction.py::test_a_configured_secret_anywhere_in_a_lines_facts_never_comes_out",
    ),
    mutant(
        "masking of telephone numbers",
        "a telephone number in a text is logged",
        _REDACTION.call("_mask", "_NUMBERS.sub", to="{1}"),
        "test_redaction.py::test_a_telephone_anywhere_in_a_lines_facts_never_comes_out",
    ),
    mutant(
        "masking of values by the name of their key",
        "values of keys like `token` or `customer` are logged",
        _REDACTION.condition("_mask_under", "PRIVATE"),
        "test_logging.py::test_nothing_is_shown_under_a_key_that_sounds_secret",
    ),
    mutant(
        "masking of credentials in texts",
        "`Authorization: Bearer …` in a text is logged",
        _REDACTION.statement("_mask", "replacement", to="pattern.sub(replacement, text)"),
        "test_redaction.py::test_secrets_in_texts_are_masked_where_their_name_stands_beside_them",
    ),
    mutant(
        "escaping of control characters in log lines",
        "a line break in received text starts a new log line",
        _LOGS.call("_escape_controls", "pattern.sub", to="{1}"),
        "test_logging.py::test_a_line_for_people_is_key_value_on_one_line_whatever_strangers_sent",
    ),
    mutant(
        "arguments of a log line that cannot be formatted are omitted",
        "the arguments are logged unmasked",
        _LOGS.value("LibraryLines.emit", "notice", to='f"{record.msg} {record.args}"'),
        "test_logging.py::test_a_line_that_cannot_be_formatted_is_reported_without_its_arguments",
    ),
    mutant(
        "filter for Sentry events",
        "events are sent unfiltered",
        _REPORTING.argument(
            "start_sentry", "sentry_sdk.init", "before_send", to="lambda event, _hint: event"
        ),
        "test_sentry_filter.py::test_nothing_planted_in_any_field_leaves_through_the_sdk",
    ),
    mutant(
        "filter for Sentry transactions",
        "transactions are sent unfiltered",
        _REPORTING.argument(
            "start_sentry", "sentry_sdk.init", "before_send_transaction", to="lambda event, _hint: event"
        ),
        "test_sentry_filter.py::test_nothing_planted_in_any_field_leaves_through_the_sdk",
    ),
    mutant(
        "filter for Sentry breadcrumbs",
        "Redis commands in breadcrumbs are sent with keys that contain a customer's id",
        _FILTER.result("_crumb", to="value"),
        "test_sentry_filter.py::test_a_breadcrumb_is_harmless_when_it_leaves_with_an_event",
    ),
    mutant(
        "masking of quoted values in exception messages sent to Sentry",
        "messages of foreign exceptions are sent with the values that they quote",
        _FILTER.argument("_exception_value", "_text", 0, "_QUOTED", to='error.get("value")'),
        "test_sentry_filter.py::test_what_a_strangers_error_quotes_does_not_leave",
    ),
    mutant(
        "local variables are not sent to Sentry",
        "stack frames are sent with their local variables",
        _REPORTING.argument("start_sentry", "sentry_sdk.init", "include_local_variables", to="True"),
        "test_sentry_start.py::test_the_sdk_is_told_to_collect_nothing_personal",
    ),
    mutant(
        "rate limit for Sentry reports",
        "ten thousand dead recalls cause ten thousand reports",
        _REPORTING.result("passes", to="True"),
        "test_sentry_reports.py::test_a_flood_of_one_kind_is_cut_and_hides_no_other",
    ),
    mutant(
        "trace headers of senders are ignored",
        "a sender can decide which requests are traced",
        _REPORTING.call(
            "call",
            "sentry_sdk.start_transaction",
            to="sentry_sdk.start_transaction(sentry_sdk.continue_trace({"
            "name[5:].lower().replace('_', '-'): environ[name] for name in environ if name.startswith('HTTP_')}), "
            'custom_sampling_context={"wsgi_environ": environ})',
        ),
        "test_sentry_traces.py::test_a_senders_trace_headers_decide_nothing_and_travel_nowhere",
    ),
    mutant(
        "a queue id is a keyed hash of the token",
        "the token is part of keys in the store and of each wake-up",
        _QUEUE.result("queue_id", to="token"),
        "test_token_queue_claims.py::test_a_queue_id_does_not_give_the_token_away",
    ),
    mutant(
        "a wake-up contains only a queue id and a number",
        "customer data is stored in the broker",
        _CELERY.call(
            "publish",
            "app.send_task",
            to='app.send_task(task, args=arguments, kwargs={"telephone": "3001112233"}, retry=False, ignore_result=True, headers=headers)',
        ),
        "test_celery_app.py::test_a_wake_up_in_the_broker_is_a_queues_id_and_a_number_and_nothing_else",
    ),
    mutant(
        "wake-ups are published in a separate thread",
        "a webhook request waits for the broker",
        _WAKE_UP.call("_put", "self._waiting.put_nowait", to="self._send(task, arguments, self._trace())"),
        "test_wakeup.py::test_a_wake_up_is_published_by_a_thread_of_its_own_with_the_trace_of_its_cause",
    ),
    mutant(
        "`repr` of a wolkvox call omits the headers",
        "`repr` contains the token",
        _WOLKVOX.value("Call", "headers", to="field(repr=True)"),
        "test_wolkvox_protocol.py::test_repr_and_public_headers_show_neither_token_nor_customer",
    ),
    mutant(
        "`repr` of a claim omits the telephone number",
        "`repr` contains the telephone number",
        _QUEUE.value("Claim", "telephone", to="field(repr=True)"),
        "test_token_queue_claims.py::test_a_claim_shows_no_telephone",
    ),
)
