"""Connections are kept alive, and one call does not affect the next."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import httpx
import pytest

from integration.clients.wolkvox import Exchange, WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import VerdictKind
from support.wolkvox_peer import HEAD, OK, answering, breaking, hanging, one, push


def test_a_connection_that_the_server_closed_meanwhile_is_opened_anew(peer):
    def once(self, connection, number):
        self.read(connection)
        connection.sendall(OK)

    server = peer(once)
    with WolkvoxConnection(server.url) as line:
        for _ in range(3):
            assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
            end = time.monotonic() + 1
            while not line._transport.has_expired() and time.monotonic() < end:
                time.sleep(0.005)
    assert server.connections == 3


@pytest.mark.parametrize(
    "surplus", [OK, OK[:20], b"HTTP/1.1 400 B\r\nContent-Length: 12\r\n\r\n" + b'{"code":400}', b"\r\n", b"x"]
)
def test_what_follows_an_answer_is_not_taken_for_the_next_one(peer, surplus):
    server = peer(answering(OK + surplus))
    with WolkvoxConnection(server.url) as line:
        for _ in range(3):
            assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
    assert len(server.requests) == 3


@pytest.mark.parametrize("first", [hanging, breaking(HEAD, reset=False)])
def test_after_a_timeout_the_next_call_has_a_new_connection(peer, first):
    def script(self, connection, number):
        (first if number == 1 else answering(OK))(self, connection, number)

    server = peer(script)
    with WolkvoxConnection(server.url) as line:
        assert not push(line, server.url, seconds=0.2).complete
        assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
    assert server.connections == 2


def test_an_answer_that_closes_the_connection_is_complete(peer):
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    server = peer(answering(closing))
    with WolkvoxConnection(server.url) as line:
        for _ in range(2):
            assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
    assert server.connections == 2


def test_a_redirect_is_not_followed(peer):
    for where in (b"/elsewhere", b"http://a:b/", b"\xff\xfe"):
        server = peer(answering(b"HTTP/1.1 302 F\r\nLocation: " + where + b"\r\nContent-Length: 0\r\n\r\n"))
        exchange = one(server.url)
        assert (exchange.status, exchange.complete, len(server.requests)) == (302, True, 1)
        assert verdict_of(exchange).kind is VerdictKind.WAIT


def test_a_cookie_is_not_kept(peer):
    server = peer(answering(OK.replace(b"\r\n\r\n", b"\r\nSet-Cookie: PHPSESSID=1; Path=/\r\n\r\n")))
    with WolkvoxConnection(server.url) as line:
        for _ in range(2):
            assert "set-cookie" not in push(line, server.url).headers
    assert not any(b"cookie" in request.lower() for request in server.requests)


def test_a_compressed_answer_is_not_decompressed(peer):
    bomb = b"\x1f\x8b\x08\x00" + b"\x00" * 60
    server = peer(answering(b"HTTP/1.1 202 A\r\nContent-Encoding: gzip\r\nContent-Length: 64\r\n\r\n" + bomb))
    exchange = one(server.url)
    assert (exchange.body, verdict_of(exchange).kind) == (bomb, VerdictKind.UNKNOWN)


def test_proxies_of_the_environment_are_not_used(peer, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert one(peer(answering(OK)).url).complete


def test_a_retry_after_with_a_date_is_relative_to_now():
    headers = {"retry-after": "Mon, 02 Mar 2026 15:01:00 GMT"}
    exchange = Exchange(status=429, headers=headers, body=b"{}", sent=True, sent_at=1.0, complete=True)
    assert verdict_of(exchange, datetime(2026, 3, 2, 15, 0, tzinfo=UTC)).retry_after_seconds == 60


def test_repr_of_an_exchange_shows_nothing_of_the_answer(peer):
    server = peer(answering(b"HTTP/1.1 202 A\r\nX-Who: Maria\r\nContent-Length: 7\r\n\r\n3001112"))
    assert "Maria" not in repr(one(server.url))
    assert "3001112" not in repr(one(server.url))


def test_every_call_uses_httpx_send_without_redirects_cookies_or_decompression(peer, monkeypatch):
    """Sentry instruments `httpx.Client.send`."""
    sent = []
    real = httpx.Client.send
    monkeypatch.setattr(
        httpx.Client, "send", lambda self, request, **more: sent.append(1) or real(self, request, **more)
    )
    moved = b"HTTP/1.1 302 F\r\nLocation: /elsewhere\r\nSet-Cookie: PHPSESSID=1\r\nContent-Length: 0\r\n\r\n"
    bomb = b"\x1f\x8b\x08\x00" + b"\x00" * 60
    packed = b"HTTP/1.1 202 A\r\nContent-Encoding: gzip\r\nContent-Length: 64\r\n\r\n" + bomb
    server = peer(answering(moved, packed, OK))
    with WolkvoxConnection(server.url) as line:
        found = [push(line, server.url) for _ in range(3)]
    assert len(sent) == len(server.requests) == 3
    assert [exchange.status for exchange in found] == [302, 202, 202]
    assert found[1].body == bomb
    assert not any(b"cookie" in request.lower() for request in server.requests)
