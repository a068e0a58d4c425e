"""Guards of the line to wolkvox: bounded in time and size, and nothing leaves that should not."""

from __future__ import annotations

from .mutant import Edit, Mutant, mutant

_HTTP = "integration/wolkvox_http.py"
_CONNECTION = "integration/connection.py"
_HTTP1 = "integration/http1.py"

GUARDS = (
    mutant(
        "total deadline of a call",
        "each read may take as long as the whole call",
        "test_wolkvox_http.py::test_a_slow_server_is_cut_off_in_time_and_the_outcome_is_unknown",
        file=_CONNECTION,
        before="        left = self.end - self.clock()\n",
        after="        left = self.end - self.write_by + 1.0\n",
    ),
    mutant(
        "the time left is looked at before the request is written",
        "a request leaves after a long connect, when the lease may be over",
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_kept_connection",
        file=_CONNECTION,
        before="        self._times.left_to_write()\n        self.sent_at",
        after="        self.sent_at",
    ),
    mutant(
        "the time left is looked at before connecting",
        "a claim that came too late opens a connection all the same",
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_new_connection",
        file=_CONNECTION,
        before="self._addresses(self._times.left_to_write())",
        after="self._addresses(5.0)",
    ),
    mutant(
        "a look-up of a name is bounded",
        "the system's resolver takes as long as it likes",
        "test_wolkvox_http.py::test_a_slow_look_up_is_cut_off_in_time_and_shared_by_all_who_ask",
        file="integration/name_look_up.py",
        before="if not look_up.done.wait(max(0.0, seconds)):",
        after="if not look_up.done.wait(20.0):",
    ),
    mutant(
        "RST on close",
        "the kernel goes on sending what a killed worker wrote",
        "test_wolkvox_http.py::test_a_call_given_up_is_closed_by_reset",
        file=_CONNECTION,
        before="            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)\n",
    ),
    mutant(
        "TCP_USER_TIMEOUT",
        "the kernel repeats what is not acknowledged for a quarter of an hour",
        "test_wolkvox_http.py::test_the_kernel_gives_up_what_is_not_acknowledged_within_the_guard",
        file=_CONNECTION,
        before="if _USER_TIMEOUT is not None:",
        after="if False:",
    ),
    Mutant(
        "no redirect is followed",
        "the token goes wherever an answer points to",
        (
            Edit(
                _HTTP,
                "httpx.Response(self._channel.answer.status or 0)",
                "httpx.Response(self._channel.answer.status or 0, headers=self._channel.answer.headers)",
            ),
            Edit(
                _HTTP,
                "transport=_Transport(self._channel),\n            trust_env=False,",
                "transport=_Transport(self._channel),\n            follow_redirects=True,\n            trust_env=False,",
            ),
        ),
        (
            "test_wolkvox_http.py::test_where_sentry_listens_calls_go_by_the_client_that_it_listens_to_and_nothing_else_changes",
        ),
    ),
    mutant(
        "trust_env is off for wolkvox",
        "a variable of the environment says whose certificates are trusted",
        "test_wolkvox_http.py::test_the_environment_brings_no_certificate_that_is_trusted",
        file=_CONNECTION,
        before="httpx.create_ssl_context(trust_env=False)",
        after="httpx.create_ssl_context(trust_env=True)",
    ),
    mutant(
        "only to the account's own server",
        "a call to another address takes the line's connection",
        "test_wolkvox_http.py::test_a_call_to_another_server_is_refused",
        file=_HTTP,
        before='if not call.url.startswith(f"{self.endpoint}/"):',
        after="if False:",
    ),
    mutant(
        "an answer is bounded in size",
        "a server that never ends fills the memory",
        "test_wolkvox_http.py::test_an_answer_over_64_kib_is_cut_there_and_is_unknown",
        file=_HTTP1,
        before="        if len(self._body) > BODY_LIMIT:\n",
        after="        if False:\n",
    ),
    mutant(
        "chunk marks are bounded in size",
        "a body of almost nothing is read for as long as its marks come",
        "test_http1.py::test_chunk_marks_without_end_are_not_read_for_ever",
        file=_HTTP1,
        before="HEAD_LIMIT if self._in_head else ANSWER_LIMIT",
        after="HEAD_LIMIT if self._in_head else 10**9",
    ),
    mutant(
        "heads are bounded in size",
        "endless interim answers are read for as long as they come",
        "test_wolkvox_http.py::test_a_flood_ends_by_its_size_long_before_the_time_is_over",
        file=_HTTP1,
        before="HEAD_LIMIT if self._in_head else ANSWER_LIMIT",
        after="10**9 if self._in_head else ANSWER_LIMIT",
    ),
    mutant(
        "no header says something else",
        "a line's end in a token begins another header",
        "test_http1.py::test_what_would_say_something_else_is_not_written",
        file=_HTTP1,
        before="not (_NAME.fullmatch(name) and _VALUE.fullmatch(value))",
        after="not _NAME.fullmatch(name)",
    ),
    mutant(
        "what comes after an answer is not the next answer",
        "the connection is kept, and its surplus read as the answer to the next call",
        "test_wolkvox_http.py::test_what_follows_an_answer_is_not_taken_for_the_next_one",
        file=_HTTP,
        before="not (self.answer.complete and self.answer.reusable)",
        after="not self.answer.complete",
    ),
    mutant(
        "a cut answer is no answer",
        "where only the end of the connection ends it, half a body passes",
        "test_wolkvox_http.py::test_an_answer_that_breaks_off_is_unknown",
        file=_HTTP1,
        before="orjson.loads(self._body)",
        after="pass",
    ),
    mutant(
        "a certificate is checked",
        "anybody between may be wolkvox",
        "test_wolkvox_http.py::test_a_certificate_that_does_not_prove_the_server_is_not_sent",
        file=_CONNECTION,
        before="    context.set_alpn_protocols",
        after="    context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n    context.set_alpn_protocols",
    ),
    mutant(
        "contacts are read within one deadline",
        "each read of HubSpot's answer may take as long as all",
        "test_hubspot_contacts.py::test_all_requests_of_a_call_together_have_an_end",
        file="integration/hubspot_contacts.py",
        before="    return max(0.001, _END.get() - time.monotonic())",
        after="    return REQUEST_SECONDS",
    ),
    mutant(
        "contacts are not read where HubSpot points to",
        "the token goes wherever an answer points to",
        "test_hubspot_contacts.py::test_any_other_status_is_away_with_its_number",
        file="integration/hubspot_contacts.py",
        before="follow_redirects=False)",
        after="follow_redirects=True)",
    ),
)
