"""The gate before the application: bodies gather without threads, whole or not at all."""

from __future__ import annotations

import asyncio
import json
import signal
import threading
import time

import pytest
from flask import Flask

from integration.app import Web
from integration.asgi import WsgiBridge, threads_by_application
from integration.domain.limits import MAX_BODY_BYTES
from integration.web.request_threads import RequestThreads
from integration.web.security_headers import ANSWER_HEADERS
from integration.web.wsgi import CLIENT_LEFT, wsgi_environ
from support.asgi_bridge import bridge
from support.waiting import AT_ONCE_SECONDS


def scope(*headers, path=b"/hooks/forms", query=b"", method="POST"):
    return {
        "type": "http",
        "method": method,
        "path": path.decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "headers": [(b"host", b"hooks.example.com"), *headers],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 5000),
    }


def echo(environ, start_response):
    body = environ["wsgi.input"].read()
    start_response("202 Accepted", [("Content-Type", "text/plain"), ("X-Length", str(len(body)))])
    return [body[:20]]


async def ask(gate, pieces, asked=None, *, after=None):
    """Send the pieces, then nothing more, or `after`; gives status, headers and body."""
    messages = list(pieces)
    sent = []

    async def receive():
        if messages:
            return messages.pop(0)
        if after is not None:
            return after
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    await gate(asked or scope(), receive, send)
    start, body = sent
    return start["status"], dict(start["headers"]), body["body"]


def piece(body, *, more=True):
    return {"type": "http.request", "body": body, "more_body": more}


def run(*args, **more):
    return asyncio.run(ask(*args, **more))


def test_a_body_in_pieces_reaches_the_application_whole():
    status, headers, body = run(bridge(echo), [piece(b"ab"), piece(b"cd"), piece(b"", more=False)])
    assert (status, headers[b"x-length"], body) == (202, b"4", b"abcd")


def test_a_body_that_was_cut_short_reaches_nobody():
    reached = []
    gate = bridge(lambda environ, _: reached.append(environ))
    status, headers, body = run(gate, [piece(b'{"a":1}')], after={"type": "http.disconnect"})
    assert status == 400
    assert headers[b"content-type"] == b"application/problem+json"
    assert json.loads(body)["status"] == 400
    assert reached == []


def test_a_body_that_does_not_come_is_given_up_on():
    async def wait():
        return await asyncio.wait_for(ask(bridge(echo, body_seconds=0.05), [piece(b"a")]), 20)

    status, headers, _ = asyncio.run(wait())
    assert (status, headers[b"connection"]) == (408, b"close")


def test_no_thread_waits_for_a_body():
    async def many():
        gate = bridge(echo, threads=1, body_seconds=30)
        slow = [asyncio.create_task(ask(gate, [piece(b"a")])) for _ in range(200)]
        await asyncio.sleep(0)
        answered = await asyncio.wait_for(ask(gate, [piece(b"x", more=False)]), 10)
        for task in slow:
            task.cancel()
        return answered

    assert asyncio.run(many())[0] == 202


def test_a_request_that_the_server_gives_up_gets_no_answer():
    async def give_up():
        asked = asyncio.create_task(ask(bridge(echo), [piece(b"x")]))
        await asyncio.sleep(0.05)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(give_up())


def test_of_a_body_over_the_limit_one_byte_too_many_is_kept():
    endless = piece(b"x" * 65536)
    status, headers, _ = run(bridge(echo), [], after=endless)
    assert (status, int(headers[b"x-length"])) == (202, MAX_BODY_BYTES + 1)


def test_a_body_announced_over_the_limit_is_not_read():
    asked = scope((b"content-length", str(MAX_BODY_BYTES + 1).encode()))
    status, headers, _ = run(bridge(echo, body_seconds=0.05), [], asked)
    assert (status, headers[b"x-length"]) == (202, b"0")


def test_when_all_bodies_together_hold_too_much_the_slowest_gives_way():
    async def flood():
        gate = bridge(echo, most_held_bytes=100, body_seconds=30)
        slow = []
        for _ in range(3):
            slow.append(asyncio.create_task(ask(gate, [piece(b"x" * 40)])))
            await asyncio.sleep(0)
        quick = await ask(gate, [piece(b"x" * 40), piece(b"", more=False)])
        first = await asyncio.wait_for(slow[0], 10)
        waiting = [task.done() for task in slow[2:]]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        return quick, first, waiting, await ask(gate, [piece(b"x" * 40), piece(b"", more=False)])

    quick, first, waiting, later = asyncio.run(flood())
    assert quick[0] == 202
    assert (first[0], first[1][b"retry-after"]) == (503, b"5")
    assert waiting == [False]
    assert later[0] == 202


def test_requests_beyond_those_that_may_wait_are_told_to_come_back():
    go = threading.Event()

    def stuck(environ, start_response):
        go.wait(30)
        return echo(environ, start_response)

    async def crowd():
        gate = bridge(stuck, threads=1, most_waiting=1)
        taken = [asyncio.create_task(ask(gate, [piece(b"", more=False)])) for _ in range(2)]
        await asyncio.sleep(0.01)
        refused = await ask(gate, [piece(b"", more=False)])
        go.set()
        return refused, await asyncio.gather(*taken)

    refused, taken = asyncio.run(crowd())
    assert (refused[0], refused[1][b"retry-after"]) == (503, b"5")
    assert [status for status, _, _ in taken] == [202, 202]


def test_a_request_that_no_thread_takes_is_told_to_come_back():
    go = threading.Event()
    begun = []

    def stuck(environ, start_response):
        begun.append(True)
        go.wait(30)
        return echo(environ, start_response)

    async def crowd():
        gate = bridge(stuck, threads=1, patience_seconds=0.05)
        taken = asyncio.create_task(ask(gate, [piece(b"", more=False)]))
        await asyncio.sleep(0)
        refused = await ask(gate, [piece(b"", more=False)])
        go.set()
        return refused, await taken

    refused, taken = asyncio.run(crowd())
    assert (refused[0], refused[1][b"retry-after"]) == (503, b"5")
    assert taken[0] == 202
    assert begun == [True]


def test_while_answers_go_well_those_who_wait_wait_on():
    def slow(environ, start_response):
        time.sleep(0.06)
        return echo(environ, start_response)

    async def crowd():
        gate = bridge(slow, threads=1, patience_seconds=1.0)
        return await asyncio.gather(*(ask(gate, [piece(b"", more=False)]) for _ in range(25)))

    assert {status for status, _, _ in asyncio.run(crowd())} == {202}


def test_what_the_application_gives_is_closed():
    closed = []

    class Parts(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", [])
        return Parts([b"a", b"b"])

    assert run(bridge(app), [piece(b"", more=False)])[2] == b"ab"
    assert closed == [True]


def test_a_header_sent_twice_is_joined_and_the_path_stays_as_it_was():
    headers = ((b"x-a", b"1"), (b"x-a", b"2"), (b"content-type", b"text/plain"), (b"content-length", b"0"))
    environ = wsgi_environ(scope(*headers, path=b"/hooks/a%20b", query=b"x=%3A"), b"")
    assert environ["HTTP_X_A"] == "1,2"
    assert (environ["CONTENT_TYPE"], environ["CONTENT_LENGTH"]) == ("text/plain", "0")
    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == ("/hooks/a b", "x=%3A")
    assert environ["RAW_URI"] == "/hooks/a%20b?x=%3A"


def test_a_header_with_an_underscore_does_not_reach_the_application():
    headers = (
        (b"x_signature", b"forged"),
        (b"x-signature", b"real"),
        (b"X_Signature", b"forged"),
        (b"x_forwarded_for", b"203.0.113.9"),
        (b"content_type", b"text/html"),
        (b"content_length", b"7"),
    )
    environ = wsgi_environ(scope(*headers), b"")
    assert environ["HTTP_X_SIGNATURE"] == "real"
    assert not {"HTTP_X_FORWARDED_FOR", "CONTENT_TYPE", "CONTENT_LENGTH"} & environ.keys()


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (scope((b"host", b"evil.example")), 400),
        (scope((b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")), 400),
        (scope(path=b"//hooks/forms"), 404),
        (scope(method="post"), 400),
        (scope(query=b"&" * 2000), 414),
        (scope((b"x", b"a" * 40_000)), 431),
    ],
)
def test_what_can_be_read_in_two_ways_reaches_nobody(asked, status):
    reached = []
    gate = bridge(lambda environ, _: reached.append(environ))
    answered, headers, body = run(gate, [piece(b"{}", more=False)], asked)
    assert (answered, json.loads(body)["status"]) == (status, status)
    assert headers.get(b"connection") == (None if status == 404 else b"close")
    assert reached == []


def test_what_the_gate_answers_itself_carries_the_headers_of_every_answer():
    _, headers, _ = run(bridge(echo, body_seconds=0.05), [piece(b"a")])
    assert {
        name.lower().encode(): value.encode() for name, value in ANSWER_HEADERS.items()
    }.items() <= headers.items()


def test_nothing_of_the_processs_environment_is_in_a_request(monkeypatch):
    monkeypatch.setenv("HUBSPOT_CLIENT_SECRET", "a-secret")
    assert "HUBSPOT_CLIENT_SECRET" not in wsgi_environ(scope(), b"")


def test_what_is_not_a_request_is_left_alone():
    asyncio.run(bridge(echo)({"type": "websocket"}, None, None))


def test_the_server_is_told_that_it_may_start_and_stop():
    said = []
    told = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        return told.pop(0)

    async def send(message):
        said.append(message["type"])

    asyncio.run(bridge(echo)({"type": "lifespan"}, receive, send))
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)
    assert said == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def leave(gate, when, left=None):
    """Send a whole request, and leave at the event `when`. Then `left` is set."""
    messages = [piece(b"x", more=False)]

    async def receive():
        if messages:
            return messages.pop(0)
        await asyncio.to_thread(when.wait, AT_ONCE_SECONDS)
        if left is not None:
            left.set()
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    await gate(scope(), receive, send)


@pytest.mark.parametrize("ends", [True, False])
def test_a_request_is_told_that_its_client_has_left_unless_it_is_a_webhook(ends):
    begun, found = threading.Event(), []

    def app(environ, start_response):
        left = environ.get(CLIENT_LEFT)
        begun.set()
        found.append(None if left is None else left.wait(AT_ONCE_SECONDS))
        return echo(environ, start_response)

    asyncio.run(leave(bridge(app, ends_with_client=ends), begun))
    assert found == [True if ends else None]


def test_a_request_whose_client_leaves_while_it_waits_is_not_begun():
    go, busy, begun = threading.Event(), threading.Event(), []

    def app(environ, start_response):
        begun.append(environ["PATH_INFO"])
        busy.set()
        go.wait(AT_ONCE_SECONDS)
        return echo(environ, start_response)

    async def crowd():
        gate = bridge(app, threads=1, ends_with_client=True, patience_seconds=AT_ONCE_SECONDS)
        first = asyncio.create_task(ask(gate, [piece(b"", more=False)], scope(path=b"/first")))
        await asyncio.to_thread(busy.wait, AT_ONCE_SECONDS)
        left = asyncio.Event()
        second = asyncio.create_task(leave(gate, busy, left))
        await left.wait()
        await asyncio.sleep(0)
        go.set()
        return await first, await second

    assert asyncio.run(crowd())[0][0] == 202
    assert begun == ["/first"]


def test_of_a_body_over_the_limit_the_rest_is_not_taken_for_a_client_that_leaves():
    def app(environ, start_response):
        assert CLIENT_LEFT not in environ
        return echo(environ, start_response)

    assert run(bridge(app, ends_with_client=True), [], after=piece(b"x" * 65536))[0] == 202


def test_pages_and_the_api_end_with_their_clients_and_webhooks_do_not():
    app = Web(*(Flask(name) for name in ("receiver", "api", "dashboard")))
    threads_for = threads_by_application(app)
    ends = [threads_for(path).ends_with_client for path in ("/hooks/forms", "/v1/me", "/studio")]
    assert ends == [False, True, True]


def test_slow_pages_keep_no_webhook_waiting():
    released = threading.Event()

    def slow(environ, start_response):
        released.wait(20)
        return echo(environ, start_response)

    async def play():
        pages = RequestThreads(slow, threads=2, most_waiting=10)
        hooks = RequestThreads(echo, threads=2, most_waiting=10)
        gate = WsgiBridge(lambda path: hooks if path.startswith("/hooks") else pages)
        waiting = [
            asyncio.create_task(ask(gate, [piece(b"", more=False)], scope(path=b"/recalls", method="GET")))
            for _ in range(5)
        ]
        await asyncio.sleep(0)
        status, _, _ = await asyncio.wait_for(ask(gate, [piece(b"x", more=False)]), 20)
        assert not any(each.done() for each in waiting)
        released.set()
        return status, [(await each)[0] for each in waiting]

    assert asyncio.run(play()) == (202, [202] * 5)


def test_each_application_has_threads_of_its_own():
    web = Web(Flask("receiver"), Flask("api"), Flask("dashboard"))
    threads_for = threads_by_application(web)
    assert len({threads_for(path) for path in ("/hooks/x", "/v1/me", "/recalls")}) == 3
    assert threads_for("/") is threads_for("/recalls")


@pytest.mark.parametrize("path", ["/hooks/x", "/v1/me", "/", "/metrics"])
def test_what_is_not_served_here_is_answered_by_an_application_that_is(path):
    receiver = Flask("receiver")
    assert Web(receiver, None, None).application_for(path) is receiver
