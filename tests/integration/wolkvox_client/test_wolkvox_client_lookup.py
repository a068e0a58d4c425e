"""DNS resolution within the time of the push."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from integration.clients.wolkvox import WolkvoxConnection, verdict_of
from support.wolkvox_peer import OK, Peer, answering, push


def named(server: Peer) -> str:
    return f"http://wolkvox.test:{server.port}"


def test_a_name_is_looked_up_by_the_resolver_handed_in(peer):
    server = peer(answering(OK))
    asked = []

    def resolver(host, port):
        asked.append((host, port))
        return [(socket.AF_INET, ("127.0.0.1", port))]

    with WolkvoxConnection(named(server), resolver=resolver) as line:
        assert push(line, named(server)).complete
    assert asked == [("wolkvox.test", server.port)]
    assert b"Host: wolkvox.test" in server.requests[0]


def test_the_next_address_is_tried_when_one_refuses(peer):
    server = peer(answering(OK))
    with socket.create_server(("127.0.0.1", 0)) as gone:
        dead = gone.getsockname()

    def resolver(host, port):
        return [(socket.AF_INET, dead), (socket.AF_INET, ("127.0.0.1", port))]

    with WolkvoxConnection(named(server), resolver=resolver) as line:
        assert push(line, named(server)).complete


@pytest.mark.parametrize("fault", [socket.gaierror(-2, "unknown"), UnicodeError("label too long"), OSError()])
def test_a_name_that_is_not_found_is_not_sent(peer, fault):
    def resolver(host, port):
        raise fault

    with WolkvoxConnection("http://wolkvox.test", resolver=resolver) as line:
        exchange = push(line, "http://wolkvox.test")
    assert exchange.not_sent_reason == "DNS: the server's name was not found"
    assert not verdict_of(exchange).quiet


def test_a_slow_look_up_times_out_and_is_shared_by_threads():
    go_on, asked = threading.Event(), []

    def resolver(host, port):
        asked.append(host)
        go_on.wait(10)
        return []

    started = time.monotonic()
    for _ in range(3):
        with WolkvoxConnection("http://wolkvox.test", resolver=resolver) as line:
            exchange = push(line, "http://wolkvox.test", write=0.2)
        assert exchange.not_sent_reason == "DNS: no answer in time"
    go_on.set()
    assert time.monotonic() - started < 3
    assert asked == ["wolkvox.test"]
