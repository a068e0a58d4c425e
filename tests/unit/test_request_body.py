"""Reading a body: never more than is allowed, never less than was announced, whatever its headers say."""

from __future__ import annotations

from io import BytesIO

import pytest
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.domain.limits import MAX_BODY_BYTES
from integration.web.request_body import read_body


class CountingStream(BytesIO):
    """What comes in, and how much of it was taken."""

    taken = 0

    def read(self, size=-1):
        found = super().read(size)
        self.taken += len(found)
        return found


def request_of(body, announced=None, **more):
    """A request as it stands behind a server that has read the body's end off the line itself."""
    stream = CountingStream(body)
    length = {} if announced is None else {"CONTENT_LENGTH": str(announced)}
    environ = {
        "REQUEST_METHOD": "POST",
        "wsgi.input": stream,
        "wsgi.input_terminated": True,
        **length,
        **more,
    }
    return Request(environ), stream


@pytest.mark.parametrize("announced", [None, MAX_BODY_BYTES])
def test_a_body_of_just_what_is_allowed_is_read_whole(announced):
    request, _ = request_of(b"x" * MAX_BODY_BYTES, announced)
    assert read_body(request) == b"x" * MAX_BODY_BYTES


def test_what_announces_too_much_is_refused_unread():
    request, stream = request_of(b"x" * 5, MAX_BODY_BYTES + 1)
    with pytest.raises(RequestEntityTooLarge):
        read_body(request)
    assert stream.taken == 0


def test_what_announces_nothing_is_read_to_one_byte_too_many():
    request, stream = request_of(b"x" * 10 * MAX_BODY_BYTES)
    with pytest.raises(RequestEntityTooLarge):
        read_body(request)
    assert stream.taken == MAX_BODY_BYTES + 1


def test_what_was_cut_short_is_refused():
    request, _ = request_of(b"x" * 10, 11)
    with pytest.raises(UnreadableError):
        read_body(request)


@pytest.mark.parametrize("coding", ["UTF-8", "identity", "", "application/json", "gzipped"])
def test_a_content_encoding_that_is_no_compression_is_ignored(coding):
    request, _ = request_of(b"x", HTTP_CONTENT_ENCODING=coding)
    assert read_body(request) == b"x"


@pytest.mark.parametrize("coding", ["gzip", "br", "GZIP", "identity, gzip"])
def test_a_packed_body_is_refused_unread(coding):
    request, stream = request_of(b"x", HTTP_CONTENT_ENCODING=coding)
    with pytest.raises(UnsupportedTypeError):
        read_body(request)
    assert stream.taken == 0


@pytest.mark.parametrize("announced", [None, 5])
def test_of_an_input_that_does_not_end_with_the_body_only_what_is_announced_is_read(announced):
    """On a kept-alive connection a further read would wait for the next request."""
    request, stream = request_of(b"12345 and the next request", announced, **{"wsgi.input_terminated": False})
    assert read_body(request) == (b"" if announced is None else b"12345")
    assert stream.taken == (announced or 0)
