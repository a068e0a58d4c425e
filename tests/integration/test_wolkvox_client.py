"""A push ends in its time and knows whether a byte has left, whatever the other side does.

The other side is a real socket on loopback: the sandbox, or a script that speaks raw bytes.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import httpx
import pytest

from integration.clients.deadline_transport import BODY_LIMIT, boottime, shared_ssl_context
from integration.clients.wolkvox import Exchange, WolkvoxConnection, verdict_of
from integration.clients.wolkvox_protocol import Call, VerdictKind, build_call, build_campaigns_call
from integration.domain.account import GUARD_SECONDS, Account
from integration.local.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKEN = "tok-5f1d0c2e77"
OK = b'HTTP/1.1 202 Accepted\r\nContent-Length: 12\r\n\r\n{"code":202}'
SHORT = 0.4


def call_to(endpoint: str, token: str = TOKEN) -> Call:
    account = Account(name="a", base_url="http://127.0.0.1:1", token=TOKEN, timezone="America/Bogota")
    made = build_call(
        account,
        campaign_id="12345",
        customer_id="C-900",
        recall_telephone="3001112233",
        recall_date=datetime(2026, 3, 2, 15, tzinfo=UTC),
    )
    url = made.url.replace("http://127.0.0.1:1", endpoint)
    headers = {**made.headers, "wolkvox-token": token}
    return Call(method=made.method, url=url, headers=headers, body=made.body)


def push(
    line: WolkvoxConnection, endpoint: str, *, seconds=10.0, write=5.0, claimed_at=None, token=TOKEN
) -> Exchange:
    return line.push(
        call_to(endpoint, token),
        claimed_at=boottime() if claimed_at is None else claimed_at,
        latest_write_seconds=write,
        timeout_seconds=seconds,
    )


def one(endpoint: str, **options) -> Exchange:
    with WolkvoxConnection(endpoint) as line:
        return push(line, endpoint, **options)


class Peer:
    """A server that treats its n-th connection as the script says."""

    def __init__(self, script: Callable[[Peer, socket.socket, int], None]) -> None:
        self.script = script
        self.requests: list[bytes] = []
        self.connections = 0
        self.ends: list[str] = []
        self.ended = threading.Event()
        self.over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._open.append(connection)
                self.connections += 1
                thread = threading.Thread(target=self._run, args=(connection, self.connections), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), connection:
            self.script(self, connection, number)

    def read(self, connection: socket.socket) -> bytes:
        """Read one request; empty when the client has gone."""
        data = b""
        while not data.endswith(b"}"):
            part = connection.recv(65536)
            if not part:
                return b""
            data += part
        self.requests.append(data)
        return data

    def watch_end(self, connection: socket.socket) -> None:
        """Note how the client closes: by FIN or by RST."""
        try:
            while connection.recv(65536):
                pass
            self.ends.append("FIN")
        except OSError:
            self.ends.append("RST")
        self.ended.set()

    def stop(self) -> None:
        self.over.set()
        # A listener that is only closed would leave its thread in accept().
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    started: list[Peer] = []

    def start(script) -> Peer:
        started.append(Peer(script))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def answering(*parts: bytes):
    """Answer the n-th request of every connection with the n-th part, the last one for ever."""

    def script(self: Peer, connection: socket.socket, number: int) -> None:
        for n in range(1000):
            if not self.read(connection):
                return
            connection.sendall(parts[min(n, len(parts) - 1)])

    return script


# --- the good way ---


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


def test_head_and_body_leave_in_one_piece(peer):
    first: list[bytes] = []

    def script(self, connection, number):
        first.append(connection.recv(65536))
        connection.sendall(OK)

    assert one(peer(script).url).complete
    assert first[0].endswith(b"}")


def test_what_is_done_meanwhile_is_done_after_the_request_is_written_and_before_the_answer_is_read(peer):
    server = peer(answering(OK))
    seen = []

    def look():
        end = time.monotonic() + 5
        while not server.requests and time.monotonic() < end:
            time.sleep(0.001)
        seen.append(len(server.requests))

    with WolkvoxConnection(server.url) as line:
        options = {"latest_write_seconds": 5, "timeout_seconds": 10, "meanwhile": look}
        assert line.push(call_to(server.url), claimed_at=boottime(), **options).complete
        assert not line.push(call_to(server.url), claimed_at=boottime() - 6, **options).sent
    assert seen == [1]


def test_a_drain_keeps_one_connection(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        for _ in range(5):
            assert verdict_of(push(line, server.url)).kind is VerdictKind.ACCEPTED
    assert (server.connections, len(server.requests)) == (1, 5)


def test_the_campaigns_are_read_over_the_same_line():
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


# --- the time on the wall clock ---


def dripping(data: bytes, at_once: bytes = b""):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(at_once)
        for n in range(len(data)):
            connection.sendall(data[n : n + 1])
            if self.over.wait(0.03):
                return

    return script


def flooding(head: bytes, part: bytes, pause: float = 0.0):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(head)
        while not self.over.wait(pause):
            connection.sendall(part)

    return script


def hanging(self, connection, number):
    self.read(connection)
    self.watch_end(connection)


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
    assert (verdict.kind, verdict.quiet, verdict.convicts) == (VerdictKind.UNKNOWN, True, True)


def test_the_time_counts_from_the_claim_and_not_from_the_push(peer):
    started = time.monotonic()
    exchange = one(peer(hanging).url, seconds=3.0, claimed_at=boottime() - 2.7)
    assert exchange.sent
    assert time.monotonic() - started < 1.5


def test_an_answer_that_goes_on_arriving_does_not_prolong_the_time(peer):
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


def test_a_call_given_up_is_closed_by_reset(peer):
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


# --- nothing sent ---


def test_a_server_that_is_not_there_is_not_sent():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    exchange = one(f"http://127.0.0.1:{port}")
    assert (exchange.sent, exchange.sent_at, exchange.too_late) == (False, None, False)
    assert exchange.not_sent_reason == "connect: Connection refused"
    verdict = verdict_of(exchange)
    assert (verdict.kind, verdict.quiet, verdict.convicts) == (VerdictKind.NOT_SENT, False, False)


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
    assert exchange.not_sent_reason.startswith("TLS: no agreement")


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


def test_the_time_is_looked_at_after_connecting(peer):
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


def test_a_token_that_no_header_can_hold_is_not_sent_and_not_told(peer):
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
    with WolkvoxConnection("http://127.0.0.1:9") as line, pytest.raises(ValueError, match="another server"):
        push(line, "http://127.0.0.1:99")


# --- names ---


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


def test_a_slow_look_up_is_cut_off_in_time_and_shared_by_all_who_ask():
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


# --- answers that break off, or are none ---


def breaking(data: bytes, *, reset: bool):
    def script(self, connection, number):
        self.read(connection)
        connection.sendall(data)
        if reset:
            # The client must have what was sent before the reset throws it away.
            time.sleep(0.1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    return script


HEAD = b"HTTP/1.1 202 A\r\nContent-Length: 99\r\n\r\n"


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
def test_an_answer_that_breaks_off_is_unknown(peer, data, status, reset):
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
    assert exchange.error == "the answer is longer than 64 KiB"
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
def test_a_flood_ends_by_its_size_long_before_the_time_is_over(peer, script):
    exchange = one(peer(script).url, seconds=60)
    assert (exchange.complete, exchange.error) == (False, "the answer is longer than 64 KiB")
    assert len(exchange.body) <= BODY_LIMIT
    assert exchange.seconds < 20


# --- one call does not touch the next ---


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
def test_after_a_call_given_up_the_next_has_a_new_connection(peer, first):
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


def test_a_packed_answer_is_not_unpacked(peer):
    bomb = b"\x1f\x8b\x08\x00" + b"\x00" * 60
    server = peer(answering(b"HTTP/1.1 202 A\r\nContent-Encoding: gzip\r\nContent-Length: 64\r\n\r\n" + bomb))
    exchange = one(server.url)
    assert (exchange.body, verdict_of(exchange).kind) == (bomb, VerdictKind.UNKNOWN)


def test_proxies_of_the_environment_are_not_used(peer, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert one(peer(answering(OK)).url).complete


def test_a_dated_retry_after_counts_from_now_as_handed_in():
    headers = {"retry-after": "Mon, 02 Mar 2026 15:01:00 GMT"}
    exchange = Exchange(status=429, headers=headers, body=b"{}", sent=True, sent_at=1.0, complete=True)
    assert verdict_of(exchange, datetime(2026, 3, 2, 15, 0, tzinfo=UTC)).retry_after_seconds == 60


def test_repr_of_an_exchange_shows_nothing_of_the_answer(peer):
    server = peer(answering(b"HTTP/1.1 202 A\r\nX-Who: Maria\r\nContent-Length: 7\r\n\r\n3001112"))
    assert "Maria" not in repr(one(server.url))
    assert "3001112" not in repr(one(server.url))


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory) -> str:
    """A certificate and key of this test's own, for localhost."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl command to make a certificate with")
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
        *("-keyout", str(path), "-out", str(path.with_suffix(".crt"))),
    ]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + path.with_suffix(".crt").read_bytes())
    return str(path)


def over_tls(certificate: str, script):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def wrapped(self: Peer, connection: socket.socket, number: int) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            script(self, secured, number)

    return wrapped


def local(host: str, port: int):
    return [(socket.AF_INET, ("127.0.0.1", port))]


def test_several_calls_go_over_one_tls_connection(peer, certificate):
    server = peer(over_tls(certificate, answering(OK)))
    endpoint = f"https://localhost:{server.port}"
    trusted = ssl.create_default_context(cafile=certificate)
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        for _ in range(4):
            assert verdict_of(push(line, endpoint)).kind is VerdictKind.ACCEPTED
    assert server.connections == 1


def test_a_drip_over_tls_is_cut_off_in_time(peer, certificate):
    server = peer(over_tls(certificate, dripping(OK + b" " * 200)))
    endpoint = f"https://localhost:{server.port}"
    trusted = ssl.create_default_context(cafile=certificate)
    started = time.monotonic()
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        exchange = push(line, endpoint, seconds=SHORT)
    assert (exchange.sent, exchange.complete) == (True, False)
    assert time.monotonic() - started < SHORT + 1


@pytest.mark.parametrize("name", ["localhost", "wolkvox.test"])
def test_a_certificate_that_does_not_prove_the_server_is_not_sent(peer, certificate, name):
    server = peer(over_tls(certificate, answering(OK)))
    endpoint = f"https://{name}:{server.port}"
    trusted = None if name == "localhost" else ssl.create_default_context(cafile=certificate)
    with WolkvoxConnection(endpoint, resolver=local, ssl_context=trusted) as line:
        exchange = push(line, endpoint)
    assert not exchange.sent
    assert exchange.not_sent_reason.startswith("TLS: the server's certificate is not valid")
    assert server.requests == []


def test_the_environment_brings_no_certificate_that_is_trusted(peer, certificate, monkeypatch):
    server = peer(over_tls(certificate, answering(OK)))
    monkeypatch.setenv("SSL_CERT_FILE", certificate)
    shared_ssl_context.cache_clear()
    try:
        with WolkvoxConnection(f"https://localhost:{server.port}", resolver=local) as line:
            assert not push(line, f"https://localhost:{server.port}").sent
    finally:
        shared_ssl_context.cache_clear()


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="only Linux has it")
def test_the_kernel_gives_up_what_is_not_acknowledged_within_the_guard(peer):
    server = peer(answering(OK))
    with WolkvoxConnection(server.url) as line:
        push(line, server.url)
        sock = line._transport._connection.socket._sock
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == GUARD_SECONDS * 1000


def test_every_call_goes_by_the_send_of_httpx_and_nothing_of_its_answer_is_followed_kept_or_unpacked(
    peer, monkeypatch
):
    """Sentry, and whoever else watches httpx, listens there."""
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
