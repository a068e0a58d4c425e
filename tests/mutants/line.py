"""Guards of the line to wolkvox: bounded in time and size, and nothing leaves that should not."""

from __future__ import annotations

from .mutant import Edit, Mutant, mutant

_HTTP = "integration/wolkvox_http.py"

GUARDS = (
    mutant(
        "total deadline of a call",
        "each read may take as long as the whole call",
        "test_wolkvox_http.py::test_a_slow_server_is_cut_off_in_time_and_the_outcome_is_unknown",
        file=_HTTP,
        before="        left = self._times.left(self._times.end)\n",
        after="        left = self._times.end - self._times.write_by + 1.0\n",
    ),
    mutant(
        "the time left is looked at before the request is written",
        "a request leaves after a long connect, when the lease may be over",
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_kept_connection",
        file=_HTTP,
        before='        left = self._times.left(self._times.write_by)\n        if left <= 0:\n            raise _Unsent("no time was left to send it", too_late=True)\n        self.sent_at',
        after="        left = max(1.0, self._times.left(self._times.write_by))\n        self.sent_at",
    ),
    mutant(
        "the time left is looked at before connecting",
        "a claim that came too late opens a connection all the same",
        "test_wolkvox_http.py::test_after_the_latest_moment_nothing_is_sent_on_a_new_connection",
        file=_HTTP,
        before='        if left <= 0:\n            raise _Unsent("no time was left to send it", too_late=True)\n        addresses',
        after="        addresses",
    ),
    mutant(
        "a look-up of a name is bounded",
        "the system's resolver takes as long as it likes",
        "test_wolkvox_http.py::test_a_slow_look_up_is_cut_off_in_time_and_shared_by_all_who_ask",
        file=_HTTP,
        before="if not look_up.done.wait(max(0.0, seconds)):",
        after="if not look_up.done.wait(20.0):",
    ),
    mutant(
        "RST on close",
        "the kernel goes on sending what a killed worker wrote",
        "test_wolkvox_http.py::test_a_call_given_up_is_closed_by_reset",
        file=_HTTP,
        before="            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)\n",
    ),
    mutant(
        "TCP_USER_TIMEOUT",
        "the kernel repeats what is not acknowledged for a quarter of an hour",
        "test_wolkvox_http.py::test_the_kernel_gives_up_what_is_not_acknowledged_within_the_guard",
        file=_HTTP,
        before="if _USER_TIMEOUT is not None:",
        after="if False:",
    ),
    Mutant(
        "no redirect is followed",
        "the token goes wherever an answer points to",
        (
            Edit(
                _HTTP,
                "response.status, stream=_Body(response), extensions=",
                "response.status, headers=response.headers, stream=_Body(response), extensions=",
            ),
            Edit(
                _HTTP,
                "transport=self._transport,\n            trust_env=False,",
                "transport=self._transport,\n            follow_redirects=True,\n            trust_env=False,",
            ),
        ),
        ("test_wolkvox_http.py::test_a_redirect_is_not_followed",),
    ),
    mutant(
        "trust_env is off for wolkvox",
        "a variable of the environment says whose certificates are trusted",
        "test_wolkvox_http.py::test_the_environment_brings_no_certificate_that_is_trusted",
        file=_HTTP,
        before="httpx.create_ssl_context(trust_env=False)",
        after="httpx.create_ssl_context(trust_env=True)",
    ),
    mutant(
        "only to the account's own server",
        "a call to another address takes the line's connection",
        "test_wolkvox_http.py::test_a_call_to_another_server_is_refused",
        file=_HTTP,
        before='if not call.url.startswith(f"{self._endpoint}/"):',
        after="if False:",
    ),
    mutant(
        "an answer is bounded in size",
        "a server that never ends fills the memory",
        "test_wolkvox_http.py::test_an_answer_over_64_kib_is_cut_there_and_is_unknown",
        file=_HTTP,
        before="                if len(answer.body) > BODY_LIMIT:\n",
        after="                if False:\n",
    ),
    mutant(
        "head and chunk marks are bounded in size",
        "endless interim answers are read for as long as they come",
        "test_wolkvox_http.py::test_a_flood_ends_by_its_size_long_before_the_time_is_over",
        file=_HTTP,
        before="if self._received > ANSWER_LIMIT:",
        after="if False:",
    ),
    mutant(
        "what comes after an answer is not the next answer",
        "the connection is kept, and its surplus read as the answer to the next call",
        "test_wolkvox_http.py::test_what_follows_an_answer_is_not_taken_for_the_next_one",
        file=_HTTP,
        before="if not complete or surplus or not connection.is_idle():",
        after="if not complete or not connection.is_idle():",
    ),
    mutant(
        "a cut answer is no answer",
        "where only the end of the connection ends it, half a body passes",
        "test_wolkvox_http.py::test_an_answer_that_breaks_off_is_unknown",
        file=_HTTP,
        before="        if not _is_whole(answer):\n            raise httpcore.RemoteProtocolError\n",
    ),
    mutant(
        "a certificate is checked",
        "anybody between may be wolkvox",
        "test_wolkvox_http.py::test_a_certificate_that_does_not_prove_the_server_is_not_sent",
        file=_HTTP,
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
