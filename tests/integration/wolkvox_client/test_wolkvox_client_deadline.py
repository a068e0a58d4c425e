"""A push ends within its timeout, whatever the server does."""

from __future__ import annotations

import socket
import time

import pytest

from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import VerdictKind
from integration.domain.account import GUARD_SECONDS
from support.wolkvox_peer import OK, SHORT, answering, dripping, flooding, hanging, one, push

SLOW = {
    "hangs": hanging,
    "drips its head": dripping(OK + b" " * 200),
    "drips its body": dripping(b"x" * 200, b"HTTP/1.1 202 A\r\nContent-Length: 200\r\n\r\n"),
    "drips a name": dripping(b"a" * 200, b"HTTP/1.1 202 A\r\n"),
    "sends chunks without end": flooding(
        b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02
    ),
    "says continue without end": flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
}


@pytest.mark.parametrize("script", SLOW.values(), ids=SLOW.keys())
def test_a_slow_server_is_cut_off_in_time_and_the_outcome_is_unknown(peer, script):
    server = peer(script)
    started = time.monotonic()
    exchange = one(server.url, seconds=SHORT)
    took = time.monotonic() - started
    assert SHORT - 0.05 <= took < SHORT + 1
    assert (exchange.sent, exchange.complete) == (True, False)
    assert exchange.error == "no complete answer within 0.4 s"
    verdict = verdict_of(exchange)
    assert (verdict.kind, verdict.quiet, verdict.counts_against_recall) == (VerdictKind.UNKNOWN, True, True)


def test_the_time_counts_from_the_claim_and_not_from_the_push(peer):
    started = time.monotonic()
    exchange = one(peer(hanging).url, seconds=3.0, claimed_at=boottime() - 2.7)
    assert exchange.sent
    assert time.monotonic() - started < 1.5


def test_a_slow_answer_does_not_extend_the_deadline(peer):
    late = [0.0]

    def script(self, connection, number):
        self.read(connection)
        late[0] = 10.01
        connection.sendall(OK[:-1])

    server = peer(script)
    with WolkvoxConnection(server.url, lambda: 100.0 + late[0]) as line:
        exchange = push(line, server.url, claimed_at=100.0)
    assert (exchange.sent, exchange.complete) == (True, False)
    assert exchange.error == "no complete answer within 10 s"


def test_a_call_that_times_out_is_closed_by_reset(peer):
    server = peer(hanging)
    one(server.url, seconds=0.1)
    assert server.ended.wait(5)
    assert server.ends == ["RST"]


def test_an_idle_connection_is_closed_in_order(peer):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(OK)
        self.watch_end(connection)

    server = peer(script)
    one(server.url)
    assert server.ended.wait(5)
    assert server.ends == ["FIN"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
def test_tcp_user_timeout_is_the_guard(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        push(line, server.url)
        sock = line._transport._connection.socket._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GUARD_SECONDS * 1000
