"""A push of which no byte was sent is reported as not sent."""

from __future__ import annotations

import socket
import time

import pytest

from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import Call, VerdictKind
from support.wolkvox_peer import OK, SHORT, TOKEN, answering, call_to, one, push


def test_a_server_that_is_not_there_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    exchange = one(f"http://127.0.0.1:{port}")
    assert (exchange.sent, exchange.sent_at, exchange.too_late) == (False, None, False)
    assert exchange.not_sent_reason == "connect: Connection refused"
    verdict = verdict_of(exchange)
    assert (verdict.kind, verdict.quiet, verdict.counts_against_recall) == (
        VerdictKind.NOT_SENT,
        False,
        False,
    )


def test_a_server_that_never_speaks_tls_is_not_sent(peer):
    def silent(self, connection, number):
        self.over.wait(10)

    server = peer(silent)
    started = time.monotonic()
    exchange = one(server.url.replace("http:", "https:"), write=SHORT)
    assert time.monotonic() - started < SHORT + 1
    assert (exchange.sent, exchange.not_sent_reason) == (False, "TLS: no answer in time")


def test_a_server_that_speaks_no_tls_is_not_sent(peer):
    def plain(self, connection, number):
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400\r\n" * 9)

    server = peer(plain)
    exchange = one(server.url.replace("http:", "https:"))
    assert not exchange.sent
    assert exchange.not_sent_reason.startswith("TLS: the handshake failed")


def test_after_the_latest_moment_nothing_is_sent_on_a_new_connection(peer):
    asked = []

    def resolver(host, port):
        asked.append(host)
        return []

    with WolkvoxConnection("http://wolkvox.test", resolver=resolver) as line:
        exchange = push(line, "http://wolkvox.test", claimed_at=boottime() - 5.01)
    assert (exchange.sent, exchange.too_late) == (False, True)
    assert asked == []


def test_after_the_latest_moment_nothing_is_sent_on_a_kept_connection(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        assert push(line, server.url).sent
        exchange = push(line, server.url, claimed_at=boottime() - 5.01)
        assert (exchange.sent, exchange.sent_at, exchange.too_late) == (False, None, True)
        assert push(line, server.url).sent
    assert len(server.requests) == 2


def test_the_time_to_write_is_checked_after_connecting(peer):
    server = peer(answering(OK))
    late, connected = [0.0], []

    class SlowHandshake:
        def wrap_socket(self, sock, **_):
            connected.append(sock.getpeername()[1])
            late[0] = 5.01
            return sock

    endpoint = server.url.replace("http:", "https:")
    with WolkvoxConnection(endpoint, lambda: 100.0 + late[0], ssl_context=SlowHandshake()) as line:
        exchange = push(line, endpoint, claimed_at=100.0)
    assert (exchange.sent, exchange.too_late) == (False, True)
    assert connected == [server.port]
    assert server.requests == []


def test_a_token_that_is_no_valid_header_is_not_sent_and_not_shown(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        for token in (f"{TOKEN}\r\nX: y", f"{TOKEN}ñ"):
            exchange = push(line, server.url, token=token)
            assert not exchange.sent
            assert TOKEN not in f"{exchange!r}{exchange.error}{verdict_of(exchange)!r}"
        call = call_to(server.url)
        broken = Call(method=call.method, url=f"{call.url}\x7f", headers=call.headers, body=call.body)
        assert not line.push(broken, claimed_at=boottime(), latest_write_seconds=5, timeout_seconds=10).sent
        assert push(line, server.url).sent
    assert len(server.requests) == 1


def test_a_call_to_another_server_is_refused():
    with (
        WolkvoxConnection("http://127.0.0.1:9") as line,
        pytest.raises(ValueError, match="not below the connection's endpoint"),
    ):
        push(line, "http://127.0.0.1:99")
