"""Guards of calls to wolkvox and HubSpot: limits of time and size, connections, and the protection of tokens."""

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
        "the deadline is checked before the request is written",
        "a request is sent after a long connect, when the lease may have expired",
        _TRANSPORT.statement("_send", "left_to_write"),
        "test_wolkvox_client_not_sent.py::test_the_time_to_write_is_checked_after_connecting",
    ),
    mutant(
        "the deadline is checked before connecting",
        "a connection is opened although the deadline of the claim has passed",
        _TRANSPORT.statement("handle_request", "left_to_write"),
        "test_wolkvox_client_not_sent.py::test_after_the_latest_moment_nothing_is_sent_on_a_new_connection",
    ),
    mutant(
        "a DNS look-up has a time limit",
        "a call waits for the system's resolver without a limit of its own",
        _TRANSPORT.argument("look_up", "look_up.done.wait", 0, to="20.0"),
        "test_wolkvox_client_lookup.py::test_a_slow_look_up_times_out_and_is_shared_by_threads",
    ),
    mutant(
        "a connection is closed by reset (RST)",
        "the kernel still sends the data that a killed worker wrote",
        _TRANSPORT.statement("begin", "_CLOSE_BY_RESET"),
        "test_wolkvox_client_deadline.py::test_a_call_that_times_out_is_closed_by_reset",
    ),
    mutant(
        "`TCP_USER_TIMEOUT` is set",
        "the kernel retransmits unacknowledged data for a quarter of an hour",
        _TRANSPORT.statement("_connect", "_USER_TIMEOUT"),
        "test_wolkvox_client_deadline.py::test_tcp_user_timeout_is_the_guard",
    ),
    mutant(
        "no redirect is followed",
        "the token is sent to whatever address an answer names",
        (
            _TRANSPORT.element("", "b'location'", of="_HIDDEN"),
            _TRANSPORT.argument("DeadlineClient", "__init__", "follow_redirects", to="True"),
        ),
        "test_wolkvox_client_connections.py::test_every_call_uses_httpx_send_without_redirects_cookies_or_decompression",
    ),
    mutant(
        "no cookie is kept",
        "a cookie set for one account is sent with the call of another",
        (
            _TRANSPORT.element("", "b'set-cookie'", of="_HIDDEN"),
            _TRANSPORT.statement("DeadlineClient", "_NoCookies"),
        ),
        "test_hubspot_client.py::test_a_cookie_is_never_sent_back",
    ),
    mutant(
        "no answer is decompressed",
        "an answer of a few bytes can expand to any size",
        _TRANSPORT.element("", "b'content-encoding'", of="_HIDDEN"),
        "test_wolkvox_client_connections.py::test_a_compressed_answer_is_not_decompressed",
    ),
    mutant(
        "`trust_env` is off for wolkvox",
        "an environment variable decides which certificates are trusted",
        _TRANSPORT.argument("shared_ssl_context", "httpx.create_ssl_context", "trust_env", to="True"),
        "test_wolkvox_client_tls.py::test_certificates_of_the_environment_are_not_trusted",
    ),
    mutant(
        "a call may go only to the account's own server",
        "a call to another address uses the connection of the account",
        _WOLKVOX_HTTP.statement("push", "startswith"),
        "test_wolkvox_client_not_sent.py::test_a_call_to_another_server_is_refused",
    ),
    mutant(
        "an answer has a size limit",
        "an endless answer fills the memory",
        _TRANSPORT.condition("_converse", "_body_limit"),
        "test_wolkvox_client_answers.py::test_an_answer_over_64_kib_is_cut_there_and_is_unknown",
    ),
    mutant(
        "chunk headers have a size limit",
        "endless chunk headers are read although the body stays small",
        _TRANSPORT.argument("_converse", "expect_body", 0, to="10**9"),
        "test_deadline_transport.py::test_endless_chunk_headers_are_an_error",
    ),
    mutant(
        "response headers have a size limit",
        "endless interim answers are read without limit",
        _TRANSPORT.value("begin", "_may_read", to="10**9"),
        "test_wolkvox_client_answers.py::test_an_endless_answer_ends_at_the_size_limit",
    ),
    mutant(
        "a connection with surplus data is not reused",
        "the surplus is read as the answer to the next call",
        _TRANSPORT.result("has_surplus", to="False"),
        "test_wolkvox_client_connections.py::test_what_follows_an_answer_is_not_taken_for_the_next_one",
    ),
    mutant(
        "a truncated answer is rejected",
        "half a body is accepted if only the end of the connection marks its end",
        _WOLKVOX_HTTP.call("_require_whole", "orjson.loads", to="None"),
        "test_wolkvox_client_answers.py::test_an_incomplete_answer_is_unknown",
    ),
    mutant(
        "the server's certificate is verified",
        "anybody on the network path can impersonate wolkvox",
        _TRANSPORT.call(
            "shared_ssl_context",
            "context.set_alpn_protocols",
            to="context.check_hostname = False\n    context.verify_mode = ssl.CERT_NONE\n    {it}",
        ),
        "test_wolkvox_client_tls.py::test_a_certificate_that_does_not_prove_the_server_is_not_sent",
    ),
    mutant(
        "all requests of a HubSpot look-up share one deadline",
        "each request may take its full time, even after the deadline of the look-up",
        _HUBSPOT_LOOKUP.value("_answer", "seconds", to="40.0"),
        "test_hubspot_client.py::test_all_requests_of_a_call_share_a_deadline",
    ),
)
