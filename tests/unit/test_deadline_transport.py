"""The deadline transport over a socket pair: unchanged requests, and responses that are whole or errors.

The far end of the pair sends the response in the parts that a test sets.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.clients import deadline_transport
from integration.clients.deadline_transport import (
    ANSWER_FACTOR,
    BODY_LIMIT,
    HEAD_LIMIT,
    IDLE_LIMIT_SECONDS,
    READ_BYTES,
    AnswerTooLongError,
    DeadlineClient,
    DeadlineTransport,
    Progress,
    boottime,
)
from support.fuzzing import bounded, examples, gone_bad

if TYPE_CHECKING:
    from collections.abc import Callable

BODY = b'{"code":202,"msg":"x"}'
SIZED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 22\r\n\r\n" + BODY
CHUNKED = (
    b'HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"code\r\n6;x=1\r\n":202}\r\n0\r\nT: 1\r\n\r\n'
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n" + SIZED
MOVED = b"HTTP/1.1 302 F\r\nLocation: /a\r\nSet-Cookie: a=b\r\nX: 1\r\nX: 2\r\nContent-Length: 0\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 N\r\nETag: 1\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n" + BODY
DELIMITED = [SIZED, CHUNKED, INTERIM, MOVED, NO_CONTENT]


class NearSocket(socket.socket):
    """The transport's end of the socket pair. Its `send` makes the far end answer."""

    def __init__(self, end: socket.socket, answer: Callable[[], None]) -> None:
        super().__init__(fileno=end.detach())
        self._answer = answer

    def send(self, data: bytes, flags: int = 0) -> int:
        sent = super().send(data, flags)
        self._answer()
        return sent


class Wire:
    """A transport whose connections are socket pairs.

    `opened` counts the connections, and `far` is the far end of the last one.
    """

    def __init__(self, *, limit: int = BODY_LIMIT) -> None:
        self.transport = DeadlineTransport(body_limit=limit)
        self.opened = 0
        self.parts: tuple[bytes, ...] = ()
        self.end = True
        self.far: socket.socket | None = None
        self._ends: list[socket.socket] = []

    def open(self, *_) -> socket.socket:
        # A packet socket hands over part by part: a stream would join them.
        end, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        near = NearSocket(end, self.answer)
        self._ends += [near, self.far]
        self.opened += 1
        return near

    def answer(self) -> None:
        # What does not fit into the buffers of a socket would be sent for ever.
        if sum(map(len, self.parts)) > READ_BYTES:
            threading.Thread(target=self._send, daemon=True).start()
        else:
            self._send()

    def _send(self) -> None:
        for part in self.parts:
            for at in range(0, len(part), READ_BYTES):
                # The client may have heard enough, and closed.
                with contextlib.suppress(OSError):
                    self.far.send(part[at : at + READ_BYTES])
        if self.end:
            with contextlib.suppress(OSError):
                self.far.shutdown(socket.SHUT_WR)

    def call(self, *parts: bytes, end=True, method="PUT", headers=()) -> tuple[Progress, Exception | None]:
        """Return the progress and the error of a call that is answered with these parts."""
        self.parts, self.end = parts, end
        progress = Progress(end=boottime() + 20, write_by=boottime() + 20)
        request = httpx.Request(
            method, "http://h:1/a?b=c", headers=headers, content=b"{}", extensions={"progress": progress}
        )
        try:
            self.transport.handle_request(request)
        except httpx.TransportError as error:
            return progress, error
        return progress, None

    def close(self) -> None:
        for end in self._ends:
            end.close()


@pytest.fixture
def wire(monkeypatch):
    made = Wire()
    monkeypatch.setattr(deadline_transport, "_open", made.open)
    yield made
    made.close()


@contextlib.contextmanager
def new_wire(**options):
    """Yield a Wire for one call, for tests that make many calls."""
    made, real = Wire(**options), deadline_transport._open
    deadline_transport._open = made.open
    try:
        yield made
    finally:
        deadline_transport._open = real
        made.close()


def read(*parts: bytes, **options) -> Progress:
    with new_wire() as wire:
        progress, error = wire.call(*parts, **options)
    assert progress.complete is (error is None)
    return progress


def seen(progress: Progress):
    return progress.complete, progress.status, progress.headers, bytes(progress.body)


# --- the request ---


def test_a_request_is_written_unchanged_and_at_once(wire):
    progress, _ = wire.call(SIZED, headers=[("Host", "h:1"), ("X-Empty", "")])
    assert wire.far.recv(READ_BYTES) == (
        b"PUT /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Empty: \r\nContent-Length: 2\r\n\r\n{}"
    )
    assert progress.sent_at <= boottime()


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("PUT", b"X", b"a\r\nY: b"),
        ("PUT", b"X", b"a\nb"),
        ("PUT", b"X", b"a\0"),
        ("PUT", b"X", b" a"),
        ("PUT", b"X", b"a\t"),
        ("PUT", b"X:", b"a"),
        ("PUT", b"", b"a"),
        ("P T", b"X", b"a"),
        ("PUT\r\n", b"X", b"a"),
    ],
)
def test_an_invalid_request_is_not_written(wire, method, name, value):
    progress, error = wire.call(SIZED, method=method, headers=[(name, value)])
    assert isinstance(error, httpx.LocalProtocolError)
    assert progress.sent_at is None
    assert wire.far.recv(READ_BYTES) == b""


def test_a_scheme_that_is_not_http_is_refused():
    with DeadlineClient(DeadlineTransport(), seconds=1) as client:
        for url in ("ftp://127.0.0.1:1/", "127.0.0.1/a"):
            with pytest.raises(httpx.UnsupportedProtocol):
                client.get(url)


def test_the_timeout_of_a_client_counts_for_the_whole_call():
    """httpx restarts its timeout with every read, so a slow response would have no limit."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with DeadlineClient(DeadlineTransport(), seconds=20) as client:
            started = time.monotonic()
            with pytest.raises(httpx.ReadTimeout):
                client.get(url, timeout=0.3)
            assert time.monotonic() - started < 10
            with pytest.raises(httpx.ConnectTimeout, match="no time was left to send the request"):
                client.get(url, timeout=0)


# --- the answer ---


@pytest.mark.parametrize("answer", [*DELIMITED, TO_THE_END])
def test_an_answer_is_the_same_in_whatever_parts_it_comes(answer):
    whole = read(answer)
    assert whole.complete
    assert whole.delimited == (answer is not TO_THE_END)
    assert all(seen(read(answer[:at], answer[at:])) == seen(whole) for at in range(1, len(answer)))


@pytest.mark.parametrize("answer", DELIMITED)
def test_a_truncated_answer_is_never_complete(answer):
    assert not any(read(answer[:at]).complete for at in range(len(answer)))


def test_a_body_that_only_the_end_of_the_connection_ends_is_not_delimited():
    for at in range(TO_THE_END.index(b"{"), len(TO_THE_END)):
        progress = read(TO_THE_END[:at])
        assert (progress.complete, progress.delimited) == (True, False)


def test_one_connection_serves_one_call_after_the_other(wire):
    for answer, status in ((CHUNKED, 202), (INTERIM, 202), (MOVED, 302), (SIZED, 202)):
        progress, _ = wire.call(answer, end=False)
        assert (progress.complete, progress.status, wire.opened) == (True, status, 1)
    assert (progress.headers, bytes(progress.body)) == ({"content-length": "22"}, BODY)


def test_headers_are_joined_and_cookies_targets_and_trailers_left_out():
    assert dict(read(MOVED).headers) == {"x": "1, 2", "content-length": "0"}
    assert "t" not in read(CHUNKED).headers


@pytest.mark.parametrize("surplus", [b"x", b"\r\n", SIZED, SIZED[:9], b"0\r\n\r\n"])
@pytest.mark.parametrize("together", [True, False])
def test_bytes_after_an_answer_close_the_connection_and_change_nothing(wire, surplus, together):
    parts = (SIZED + surplus,) if together else (SIZED, surplus)
    for calls in (1, 2, 3):
        progress, _ = wire.call(*parts, end=False)
        assert seen(progress) == seen(read(SIZED))
        assert wire.opened == calls


def test_a_connection_that_was_idle_for_long_is_not_used_again(monkeypatch):
    """The server may close an idle connection while a request is sent. The outcome would be unknown."""
    with new_wire() as wire:
        wire.call(SIZED, end=False)
        monkeypatch.setattr(wire.transport, "_clock", lambda: boottime() + IDLE_LIMIT_SECONDS + 0.1)
        progress, _ = wire.call(SIZED, end=False)
    assert (progress.complete, wire.opened) == (True, 2)


@pytest.mark.parametrize(
    "answer",
    [
        SIZED.replace(b"1.1", b"1.0"),
        SIZED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1),
        b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
        NO_CONTENT,
        TO_THE_END,
    ],
)
def test_a_connection_is_not_used_again_after_an_ambiguous_answer(wire, answer):
    for calls in (1, 2):
        progress, _ = wire.call(answer, end=answer is TO_THE_END)
        assert (progress.complete, wire.opened) == (True, calls)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + SIZED,
        b"HTTP/1.1 101 Switching\r\n\r\n",
        SIZED.replace(b"202 A", b"099 A"),
        SIZED.replace(b"22", b"-2"),
        SIZED.replace(b"22", b"22\r\nContent-Length: 5"),
        b"HTTP/1.1 202 A\r\nTransfer-Encoding: gzip\r\n\r\n{}",
    ],
)
def test_an_ambiguous_answer_is_an_error(wire, answer):
    progress, error = wire.call(answer)
    assert not progress.complete
    assert isinstance(error, httpx.RemoteProtocolError)


def test_a_body_is_cut_at_its_limit_and_then_not_whole(wire):
    progress, error = wire.call(
        b"HTTP/1.1 202 A\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), b"x" * (BODY_LIMIT + 1)
    )
    assert (progress.status, len(progress.body), progress.complete) == (202, BODY_LIMIT, False)
    assert isinstance(error, AnswerTooLongError)


def test_an_endless_head_is_an_error(wire):
    progress, error = wire.call(
        b"HTTP/1.1 202 A\r\n", *[b"X: " + b"y" * 1000 + b"\r\n"] * (2 * HEAD_LIMIT // 1000)
    )
    assert progress.status is None
    assert isinstance(error, AnswerTooLongError)


def test_endless_chunk_headers_are_an_error():
    limit = 8192
    head, chunk = b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"y" * 90 + b"\r\nx\r\n"
    with new_wire(limit=limit) as wire:
        progress, error = wire.call(head, *[chunk * 100] * 30)
    assert isinstance(error, AnswerTooLongError)
    assert len(progress.body) < (ANSWER_FACTOR * limit + HEAD_LIMIT) // 90


@examples(300)
@given(data=st.data())
def test_a_mutated_answer_is_complete_or_an_error_in_any_parts(data):
    answer = data.draw(st.sampled_from([*DELIMITED, TO_THE_END]).flatmap(gone_bad))
    at = data.draw(st.integers(0, len(answer)))
    with bounded(2.0):
        first, second = read(answer), read(*filter(None, (answer[:at], answer[at:])))
    assert seen(first)[:2] == seen(second)[:2]
    if first.complete:
        assert seen(first) == seen(second)


def test_httpcore_does_not_catch_the_errors_of_the_stream():
    """The stream raises httpx' errors. httpcore would handle an error of its own class differently."""
    assert not issubclass(httpx.WriteError, httpcore.WriteError)
