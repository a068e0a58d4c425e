"""What is written as HTTP is what was handed in; what is read is whole, or is not taken for it.

h11, by which other clients read, is the second opinion on answers that have gone bad.
"""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.http1 import (
    ANSWER_LIMIT,
    BODY_LIMIT,
    HEAD_LIMIT,
    NotHttpError,
    Reader,
    TooLongError,
    UnwritableError,
    write_head,
)
from support.fuzzing import bounded, examples, gone_bad

BODY = b'{"code":202,"msg":"x"}'
SIZED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 22\r\n\r\n" + BODY
CHUNKED = (
    b'HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n{"code\r\n6;x=1\r\n":202}\r\n0\r\nT: 1\r\n\r\n'
)
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nLink: a\r\n\r\n" + SIZED
TO_THE_END = b"HTTP/1.0 200 OK\r\nServer: x\r\n\r\n" + BODY
ANSWERS = [
    *(SIZED, CHUNKED, INTERIM, TO_THE_END),
    b"HTTP/1.1 302 F\r\nLocation: /a\r\nSet-Cookie: a=b\r\nX: 1\r\nX: 2\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 N\r\nETag: 1\r\n\r\n",
]


def read(*parts, end=True):
    """What a reader makes of an answer that comes in these parts, and of the connection's end after it."""
    reader = Reader()
    try:
        for part in parts:
            reader.feed(part)
            if reader.complete:
                return reader
        if end:
            reader.end()
    except (NotHttpError, TooLongError):
        assert not reader.complete
    return reader


def seen(reader):
    return reader.complete, reader.status, reader.headers, reader.body


# --- the request ---


def test_a_request_is_written_as_it_was_handed_in():
    written = write_head(b"PUT", b"/a?b=c", [(b"Host", b"h:1"), (b"X-Empty", b"")])
    assert written == b"PUT /a?b=c HTTP/1.1\r\nHost: h:1\r\nX-Empty: \r\n"


@pytest.mark.parametrize(
    ("method", "target", "name", "value"),
    [
        (b"PUT", b"/", b"X", b"a\r\nY: b"),
        (b"PUT", b"/", b"X", b"a\nb"),
        (b"PUT", b"/", b"X", b"a\0"),
        (b"PUT", b"/", b"X", b" a"),
        (b"PUT", b"/", b"X", b"a\t"),
        (b"PUT", b"/", b"X", b"\xf1"),
        (b"PUT", b"/", b"X:", b"a"),
        (b"PUT", b"/", b"", b"a"),
        (b"PUT", b"/a b", b"X", b"a"),
        (b"PUT", b"/\r\n", b"X", b"a"),
        (b"PUT", b"", b"X", b"a"),
        (b"P T", b"/", b"X", b"a"),
    ],
)
def test_what_would_say_something_else_is_not_written(method, target, name, value):
    with pytest.raises(UnwritableError):
        write_head(method, target, [(name, value)])


# --- the answer ---


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_the_same_in_whatever_parts_it_comes(answer):
    whole = read(answer)
    assert whole.complete
    assert all(seen(read(answer[:at], answer[at:])) == seen(whole) for at in range(1, len(answer)))


@pytest.mark.parametrize("answer", ANSWERS)
def test_no_beginning_of_an_answer_is_taken_for_the_whole(answer):
    short = [answer[:at] for at in range(len(answer))]
    # Where nothing but the connection's end marks the body's, what is not JSON is not whole.
    assert not any(read(part).complete for part in short)


def test_one_reader_reads_one_answer_after_the_other():
    reader = Reader()
    for answer, status in ((CHUNKED, 202), (INTERIM, 202), (ANSWERS[4], 302), (SIZED, 202)):
        reader.begin()
        reader.feed(answer)
        assert (reader.complete, reader.reusable, reader.status) == (True, True, status)
    assert (reader.headers, reader.body) == ({"content-length": "22"}, BODY)


def test_headers_are_joined_and_cookies_and_trailers_left_out():
    assert read(ANSWERS[4]).headers == {"location": "/a", "x": "1, 2", "content-length": "0"}
    assert "t" not in read(CHUNKED).headers


@pytest.mark.parametrize("surplus", [b"x", SIZED, SIZED[:9], b"0\r\n\r\n"])
def test_what_comes_after_an_answer_ends_the_connections_use_and_changes_nothing(surplus):
    after = read(SIZED + surplus)
    assert seen(after) == seen(read(SIZED))
    assert not after.reusable


@pytest.mark.parametrize(
    "answer",
    [
        SIZED.replace(b"1.1", b"1.0"),
        SIZED.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n", 1),
        b"HTTP/1.1 304 N\r\nContent-Length: 9\r\n\r\n",
        TO_THE_END,
    ],
)
def test_a_connection_is_not_used_again_where_an_end_or_a_doubt_is_left(answer):
    reader = read(answer)
    assert (reader.complete, reader.reusable) == (True, False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + SIZED,
        b"HTTP/1.1 101 Switching\r\n\r\n",
        SIZED.replace(b"202 A", b"099 A"),
        SIZED.replace(b"22", b"-2"),
        SIZED.replace(b"22", b"22\r\nContent-Length: 5"),
        b"HTTP/1.1 202 A\r\nTransfer-Encoding: gzip\r\n\r\n{}",
        SIZED.replace(b"Content", b"X: a\r\n b\r\nContent"),
    ],
)
def test_what_has_no_one_meaning_is_no_answer(answer):
    assert not read(answer).complete


def test_a_body_is_cut_at_its_limit_and_then_not_whole():
    reader = read(b"HTTP/1.1 202 A\r\nContent-Length: %d\r\n\r\n" % (BODY_LIMIT + 1), b"x" * (BODY_LIMIT + 1))
    assert (len(reader.body), reader.complete) == (BODY_LIMIT, False)


def test_a_head_without_end_is_not_read_for_ever():
    reader = Reader()
    reader.feed(b"HTTP/1.1 202 A\r\nX: ")
    with pytest.raises(TooLongError):
        reader.feed(b"y" * HEAD_LIMIT)


def test_chunk_marks_without_end_are_not_read_for_ever():
    reader = Reader()
    reader.feed(b"HTTP/1.1 202 A\r\nTransfer-Encoding: chunked\r\n\r\n")
    with pytest.raises(TooLongError):
        reader.feed((b"1;" + b"y" * 90 + b"\r\nx\r\n") * (ANSWER_LIMIT // 90))
    assert len(reader.body) < BODY_LIMIT


# --- a second opinion ---


def by_h11(data):
    """Status and body as h11 reads them, and None where it finds no whole answer."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="PUT", target="/", headers=[("Host", "h"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = None, b""
    try:
        while not isinstance(event := connection.next_event(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif event is h11.NEED_DATA or event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return None
    except h11.RemoteProtocolError:
        return None
    return status, body


@examples(600)
@given(data=st.data())
def test_an_answer_gone_bad_is_never_read_as_another_one_than_h11_reads(data):
    answer = data.draw(st.sampled_from(ANSWERS).flatmap(gone_bad))
    at = data.draw(st.integers(0, len(answer)))
    with bounded(2.0):
        reader = read(answer[:at], answer[at:])
    second = by_h11(answer)
    if reader.complete and second is not None:
        assert (reader.status, reader.body) == second
