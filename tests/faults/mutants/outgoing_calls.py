"""Guards of calls to wolkvox and HubSpot: bounded in time and size, and nothing leaves that should not."""

from __future__ import annotations

from .code import Code
from .mutant import mutant

_HUBSPOT_LOOKUP = Code("integration/clients/lookups/hubspot.py")
_TRANSPORT = Code("integration/clients/deadline_transport.py")
_WOLKVOX_HTTP = Code("integration/clients/wolkvox.py")

GUARDS = (
    mutant(
        "total deadline of a call",
        "each read may take as long as the whole call",
        _TRANSPORT.value("_receive", "left", to="5.0"),
        "test_wolkvox_client_deadline.py::test_a_slow_server_is_cut_off_in_time_and_the_outcome_is_unknown",
    ),
    mutant(
        "the time left is looked at before the request is written",
        "a request leaves after a long connect, when the lease may be over",
        _TRANSPORT.statement("_send", "left_to_write"),
        "test_wolkvox_client_not_sent.py::test_the_time_to_write_is_checked_after_connecting",
    ),
    mutant(
        "the time left is looked at before connecting",
        "a claim that came too late opens a connection all the same",
        _TRANSPORT.statement("handle_request", "left_to_write"),
        "test_wolkvox_client_not_sent.py::test_after_the_latest_moment_nothing_is_sent_on_a_new_connection",
    ),
    mutant(
        "a look-up of a name is bounded",
        "the system's resolver takes as long as it likes",
        _TRANSPORT.argument("look_up", "look_up.done.wait", 0, to="20.0"),
        "test_wolkvox_client_lookup.py::test_a_slow_look_up_times_out_and_is_shared_by_threads",
    ),
    mutant(
        "RST on close",
        "the kernel goes on sending what a killed worker wrote",
        _TRANSPORT.statement("begin", "_CLOSE_BY_RESET"),
        "test_wolkvox_client_deadline.py::test_a_call_that_times_out_is_closed_by_reset",
    ),
    mutant(
        "TCP_USER_TIMEOUT",
        "the kernel repeats what is not acknowledged for a quarter of an hour",
        _TRANSPORT.statement("_connect", "_USER_TIMEOUT"),
        "test_wolkvox_client_deadline.py::test_tcp_user_timeout_is_the_guard",
    ),
    mutant(
        "no redirect is followed",
        "the token goes wherever an answer points to",
        (
            _TRANSPORT.element("", "b'location'", of="_HIDDEN"),
            _TRANSPORT.argument("DeadlineClient", "__init__", "follow_redirects", to="True"),
        ),
        "test_wolkvox_client_connections.py::test_every_call_uses_httpx_send_without_redirects_cookies_or_decompression",
    ),
    mutant(
        "no cookie is kept",
        "what one account's server sets is sent with another's call",
        (
            _TRANSPORT.element("", "b'set-cookie'", of="_HIDDEN"),
            _TRANSPORT.statement("DeadlineClient", "_NoCookies"),
        ),
        "test_hubspot_client.py::test_a_cookie_is_never_sent_back",
    ),
    mutant(
        "nothing is unpacked",
        "a few bytes unpack to any number",
        _TRANSPORT.element("", "b'content-encoding'", of="_HIDDEN"),
        "test_wolkvox_client_connections.py::test_a_compressed_answer_is_not_decompressed",
    ),
    mutant(
        "trust_env is off for wolkvox",
        "a variable of the environment says whose certificates are trusted",
        _TRANSPORT.argument("shared_ssl_context", "httpx.create_ssl_context", "trust_env", to="True"),
        "test_wolkvox_client_tls.py::test_certificates_of_the_environment_are_not_trusted",
    ),
    mutant(
        "only to the account's own server",
        "a call to another address takes the line's connection",
        _WOLKVOX_HTTP.statement("push", "startswith"),
        "test_wolkvox_client_not_sent.py::test_a_call_to_another_server_is_refused",
    ),
    mutant(
        "an answer is bounded in size",
        "a server that never ends fills the memory",
        _TRANSPORT.condition("_converse", "_body_limit"),
        "test_wolkvox_client_answers.py::test_an_answer_over_64_kib_is_cut_there_and_is_unknown",
    ),
    mutant(
        "chunk marks are bounded in size",
        "a body of almost nothing is read for as long as its marks come",
        _TRANSPORT.argument("_converse", "expect_body", 0, to="10**9"),
        "test_deadline_transport.py::test_endless_chunk_headers_are_an_error",
    ),
    mutant(
        "heads are bounded in size",
        "endless interim answers are read for as long as they come",
        _TRANSPORT.value("begin", "_may_read", to="10**9"),
        "test_wolkvox_client_answers.py::test_an_endless_answer_ends_at_the_size_limit",
    ),
    mutant(
        "what comes after an answer is not the next answer",
        "the connection is kept, and its surplus read as the answer to the next call",
        _TRANSPORT.result("has_surplus", to="False"),
        "test_wolkvox_client_connections.py::test_what_follows_an_answer_is_not_taken_for_the_next_one",
    ),
    mutant(
        "a cut answer is no answer",
        "where only the end of the connection ends it, half a body passes",
        _WOLKVOX_HTTP.call("_require_whole", "orjson.loads", to="None"),
        "test_wolkvox_client_answers.py::test_an_incomplete_answer_is_unknown",
    ),
    mutant(
        "a certificate is checked",
        "anybody between may be wolkvox",
        _TRANSPORT.call(
            "shared_ssl_context",
            "context.set_alpn_protocols",
            to="context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n    {it}",
        ),
        "test_wolkvox_client_tls.py::test_a_certificate_that_does_not_prove_the_server_is_not_sent",
    ),
    mutant(
        "records are read within one deadline",
        "each request may take its whole time, though the call's is over",
        _HUBSPOT_LOOKUP.value("_answer", "seconds", to="40.0"),
        "test_hubspot_client.py::test_all_requests_of_a_call_share_a_deadline",
    ),
)
