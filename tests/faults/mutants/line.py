"""Guards of the line to wolkvox: bounded in time and size, and nothing leaves that should not."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_CONNECTION = Code("integration/connection.py")
_HTTP1 = Code("integration/http1.py")
_HUBSPOT_CONTACTS = Code("integration/hubspot_contacts.py")
_NAME_LOOK_UP = Code("integration/name_look_up.py")
_WOLKVOX_HTTP = Code("integration/wolkvox_http.py")

GUARDS = (
    mutant(
        "total deadline of a call",
        "each read may take as long as the whole call",
        _CONNECTION.value("left_to_read", "left", to="self.end - self.write_by + 1.0"),
        "test_wolkvox_http.py::test_a_slow_server_is_cut_off_in_time_and_the_outcome_is_unknown",
    ),
    mutant(
        "the time left is looked at before the request is written",
        "a request leaves after a long connect, when the lease may be over",
        _CONNECTION.statement("send", "left_to_write"),
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_kept_connection",
    ),
    mutant(
        "the time left is looked at before connecting",
        "a claim that came too late opens a connection all the same",
        _CONNECTION.argument("_connected", "self._addresses", 0, to="5.0"),
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_new_connection",
    ),
    mutant(
        "a look-up of a name is bounded",
        "the system's resolver takes as long as it likes",
        _NAME_LOOK_UP.argument("look_up", "look_up.done.wait", 0, to="20.0"),
        "test_wolkvox_http.py::test_a_slow_look_up_is_cut_off_in_time_and_shared_by_all_who_ask",
    ),
    mutant(
        "RST on close",
        "the kernel goes on sending what a killed worker wrote",
        _CONNECTION.statement("_connect", "_RESET_ON_CLOSE"),
        "test_wolkvox_http.py::test_a_call_given_up_is_closed_by_reset",
    ),
    mutant(
        "TCP_USER_TIMEOUT",
        "the kernel repeats what is not acknowledged for a quarter of an hour",
        _CONNECTION.statement("_connect", "is not"),
        "test_wolkvox_http.py::test_the_kernel_gives_up_what_is_not_acknowledged_within_the_guard",
    ),
    mutant(
        "no redirect is followed",
        "the token goes wherever an answer points to",
        (
            _WOLKVOX_HTTP.argument(
                "handle_request", "httpx.Response", 0, to="{it}, headers=self._channel.answer.headers"
            ),
            _WOLKVOX_HTTP.result(
                "_client",
                to="httpx.Client(\n            transport=_Transport(self._channel),\n            follow_redirects=True,\n            trust_env=False,\n            timeout=None,  # noqa: S113  (the stream keeps the times)\n        )",
            ),
        ),
        "test_wolkvox_http.py::test_where_sentry_listens_calls_go_by_the_client_that_it_listens_to_and_nothing_else_changes",
    ),
    mutant(
        "trust_env is off for wolkvox",
        "a variable of the environment says whose certificates are trusted",
        _CONNECTION.argument("shared_ssl_context", "httpx.create_ssl_context", "trust_env", to="True"),
        "test_wolkvox_http.py::test_the_environment_brings_no_certificate_that_is_trusted",
    ),
    mutant(
        "only to the account's own server",
        "a call to another address takes the line's connection",
        _WOLKVOX_HTTP.statement("push", "startswith"),
        "test_wolkvox_http.py::test_a_call_to_another_server_is_refused",
    ),
    mutant(
        "an answer is bounded in size",
        "a server that never ends fills the memory",
        _HTTP1.statement("feed", "BODY_LIMIT"),
        "test_wolkvox_http.py::test_an_answer_over_64_kib_is_cut_there_and_is_unknown",
    ),
    mutant(
        "chunk marks are bounded in size",
        "a body of almost nothing is read for as long as its marks come",
        _HTTP1.condition("feed", "ANSWER_LIMIT", to="self._read > (HEAD_LIMIT if self._in_head else 10**9)"),
        "test_http1.py::test_chunk_marks_without_end_are_not_read_for_ever",
    ),
    mutant(
        "heads are bounded in size",
        "endless interim answers are read for as long as they come",
        _HTTP1.condition(
            "feed", "ANSWER_LIMIT", to="self._read > (10**9 if self._in_head else ANSWER_LIMIT)"
        ),
        "test_wolkvox_http.py::test_a_flood_ends_by_its_size_long_before_the_time_is_over",
    ),
    mutant(
        "no header says something else",
        "a line's end in a token begins another header",
        _HTTP1.condition("write_head", "_VALUE", "_NAME", to="not _NAME.fullmatch(name)"),
        "test_http1.py::test_what_would_say_something_else_is_not_written",
    ),
    mutant(
        "what comes after an answer is not the next answer",
        "the connection is kept, and its surplus read as the answer to the next call",
        _WOLKVOX_HTTP.condition("settle", "not", to="not self.answer.complete"),
        "test_wolkvox_http.py::test_what_follows_an_answer_is_not_taken_for_the_next_one",
    ),
    mutant(
        "a cut answer is no answer",
        "where only the end of the connection ends it, half a body passes",
        _HTTP1.statement("end", "orjson"),
        "test_wolkvox_http.py::test_an_answer_that_breaks_off_is_unknown",
    ),
    mutant(
        "a certificate is checked",
        "anybody between may be wolkvox",
        _CONNECTION.call(
            "shared_ssl_context",
            "context.set_alpn_protocols",
            to="context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n    {it}",
        ),
        "test_wolkvox_http.py::test_a_certificate_that_does_not_prove_the_server_is_not_sent",
    ),
    mutant(
        "contacts are read within one deadline",
        "each read of HubSpot's answer may take as long as all",
        _HUBSPOT_CONTACTS.result("_left", to="REQUEST_SECONDS"),
        "test_hubspot_contacts.py::test_all_requests_of_a_call_together_have_an_end",
    ),
    mutant(
        "contacts are not read where HubSpot points to",
        "the token goes wherever an answer points to",
        _HUBSPOT_CONTACTS.argument("_client", "httpx.Client", "follow_redirects", to="True"),
        "test_hubspot_contacts.py::test_any_other_status_is_away_with_its_number",
    ),
)
