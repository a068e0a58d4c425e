"""The bytes of requests to wolkvox, and the forms of its responses."""

from __future__ import annotations

from integration.clients.deadline_transport import boottime
from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import VerdictKind, build_campaigns_call
from integration.domain.account import Account
from integration.local.sandbox import Sandbox
from support.wolkvox_peer import OK, TOKEN, answering, call_to, one, push


def test_a_call_is_written_exactly_and_its_answer_read(peer):
    server = peer(answering(b"HTTP/1.1 202 Accepted\r\nX-Odd: a\r\nx-odd: b\r\n" + OK.partition(b"\r\n")[2]))
    before = boottime()
    exchange = one(server.url)
    assert (exchange.status, exchange.complete, exchange.sent, exchange.error) == (202, True, True, None)
    assert exchange.body == b'{"code":202}'
    assert exchange.headers["x-odd"] == "a, b"
    assert before <= exchange.sent_at <= boottime()
    assert verdict_of(exchange).kind is VerdictKind.ACCEPTED
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(
        b"PUT /api/v2/campaign.php?api=recall&type_campaign=predictive&campaign_id=12345 HTTP/1.1"
    )
    assert f"wolkvox-token: {TOKEN}".encode() in head
    assert b"Accept-Encoding: identity" in head
    assert body == call_to(server.url).body


def test_head_and_body_are_sent_at_once(peer):
    first: list[bytes] = []

    def script(self, connection, number):
        first.append(connection.recv(65536))
        connection.sendall(OK)

    assert one(peer(script).url).complete
    assert first[0].endswith(b"}")


def test_a_drain_keeps_one_connection(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        for _ in range(5):
            assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
    assert (server.connections, len(server.requests)) == (1, 5)


def test_the_campaigns_are_read_over_the_same_connection():
    with Sandbox() as sandbox:
        account = Account(name="a", base_url=sandbox.url, token=TOKEN, timezone="America/Bogota")
        with WolkvoxConnection(account.endpoint) as line:
            exchange = line.push(
                build_campaigns_call(account),
                claimed_at=boottime(),
                latest_write_seconds=5,
                timeout_seconds=10,
            )
    assert (exchange.status, exchange.complete) == (200, True)
    assert b"campaign_id" in exchange.body


def test_a_chunked_answer_and_one_that_ends_with_the_connection_are_read(peer):
    chunked = b'HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"code\r\n6\r\n":202}\r\n0\r\n\r\n'
    assert verdict_of(one(peer(answering(chunked)).url)).kind is VerdictKind.ACCEPTED

    def until_close(self, connection, number):
        self.read(connection)
        connection.sendall(b'HTTP/1.1 202 A\r\n\r\n{"code":202}')

    assert verdict_of(one(peer(until_close).url)).kind is VerdictKind.ACCEPTED


def test_an_interim_answer_is_passed_over(peer):
    assert (
        verdict_of(one(peer(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)).url)).kind
        is VerdictKind.ACCEPTED
    )
