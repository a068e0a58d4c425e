"""Responses that are incomplete, too large or not HTTP have an unknown outcome."""

from __future__ import annotations

import pytest

from integration.clients.deadline_transport import BODY_LIMIT
from integration.clients.wolkvox import verdict_of
from integration.clients.wolkvox_protocol import VerdictKind
from support.wolkvox_peer import HEAD, answering, breaking, flooding, one


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", None),
        (b"HTTP/1.1 20", None),
        (HEAD, 202),
        (HEAD + b'{"code":202}', 202),
        (b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\nc\r\n" + b'{"code":202}\r\n', 202),
        (b'HTTP/1.1 202 A\r\n\r\n{"code"', 202),
    ],
)
def test_an_incomplete_answer_is_unknown(peer, data, status, reset):
    exchange = one(peer(breaking(data, reset=reset)).url)
    assert (exchange.status, exchange.sent, exchange.complete) == (status, True, False)
    assert exchange.error
    assert (verdict_of(exchange).kind, verdict_of(exchange).quiet) == (VerdictKind.UNKNOWN, True)


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\xff" * 50,
        b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 202 A\r\n" + b"a: b\r\n" * 40_000,
    ],
)
def test_an_answer_that_is_not_http_is_unknown(peer, data):
    exchange = one(peer(answering(data)).url)
    assert (exchange.sent, exchange.complete) == (True, False)
    assert verdict_of(exchange).quiet


def test_an_answer_over_64_kib_is_cut_there_and_is_unknown(peer):
    body = b'{"code":202,"msg":"' + b"x" * BODY_LIMIT + b'"}'
    exchange = one(peer(answering(b"HTTP/1.1 202 A\r\nContent-Length: %d\r\n\r\n" % len(body) + body)).url)
    assert (exchange.body, exchange.complete) == (body[:BODY_LIMIT], False)
    assert exchange.error == "the answer is larger than 64 KiB"
    assert verdict_of(exchange).kind is VerdictKind.UNKNOWN


def test_an_answer_of_just_64_kib_is_whole(peer):
    body = b'{"code":202,"msg":"' + b"x" * (BODY_LIMIT - 21) + b'"}'
    exchange = one(peer(answering(b"HTTP/1.1 202 A\r\nContent-Length: %d\r\n\r\n" % len(body) + body)).url)
    assert (len(exchange.body), verdict_of(exchange).kind) == (BODY_LIMIT, VerdictKind.ACCEPTED)


@pytest.mark.parametrize(
    "script",
    [
        flooding(
            b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b"x" * 4096 + b"\r\n"
        ),
        flooding(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        flooding(b"HTTP/1.1 202 A\r\n\r\n", b"x" * 4096),
    ],
)
def test_an_endless_answer_ends_at_the_size_limit(peer, script):
    exchange = one(peer(script).url, seconds=60)
    assert (exchange.complete, exchange.error) == (False, "the answer is larger than 64 KiB")
    assert len(exchange.body) <= BODY_LIMIT
    assert exchange.seconds < 20
