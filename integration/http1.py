"""One request of HTTP/1.1 as bytes, and the answer to it read from bytes. Opens nothing, reads no clock.

What is written is what was handed in, or nothing; what is read is bounded, and never taken for more than
came. The reading itself is llhttp's (httptools).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import orjson
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

if TYPE_CHECKING:
    from collections.abc import Iterable

BODY_LIMIT = 64 * 1024
HEAD_LIMIT = 64 * 1024
"""Bytes up to the end of the head, interim answers included."""
ANSWER_LIMIT = 256 * 1024
"""Bytes in all: where a body comes in chunks, their marks may be many times as long."""

_METHOD = re.compile(rb"[A-Z]+")
_TARGET = re.compile(rb"/[\x21-\x7e]*")
_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"(?:[\x21-\x7e](?:[\t\x20-\x7e]*[\x21-\x7e])?)?")

_INTERIM = range(100, 200)
_SWITCHING = 101
_BODILESS = frozenset({204, 304})
_FRAMES = frozenset({"content-length", "transfer-encoding"})


class UnwritableError(ValueError):
    """A request that cannot be written as HTTP: it would say something else than was handed in."""


class NotHttpError(Exception):
    """What came is no whole answer of HTTP/1."""


class TooLongError(Exception):
    """The answer is longer than any answer of wolkvox."""


def write_head(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Give the lines of a request's head, without the empty one at its end. Raises UnwritableError."""
    if not (_METHOD.fullmatch(method) and _TARGET.fullmatch(target)):
        raise UnwritableError("the first line")
    lines = [b"%b %b HTTP/1.1\r\n" % (method, target)]
    for name, value in headers:
        if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value)):
            raise UnwritableError("a header")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join(lines)


class Reader:
    """Reads one answer after the other off one connection; `begin` before each.

    `status` is None until a final answer's head has come. `headers` has lower-case names, without cookies.
    `body` is at most 64 KiB. `complete`: the whole answer came. `reusable`: nothing came after it, and both
    ends may go on.
    """

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        # As wide as h11, by which Python's other clients read: lines may end with a line feed alone, and
        # where a length stands beside chunks, the chunks count.
        self._parser.set_dangerous_leniencies(lenient_optional_cr_before_lf=True, lenient_chunked_length=True)
        self.begin()

    def begin(self) -> None:
        """Start with an answer of which nothing has come."""
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self._body = bytearray()
        self.complete = False
        self.reusable = False
        self._in_head = True
        self._read = 0

    @property
    def body(self) -> bytes:
        """What has come of the body, and no more of it than any answer of wolkvox has."""
        return bytes(self._body[:BODY_LIMIT])

    def feed(self, data: bytes) -> None:
        """Read on. Raises NotHttpError, TooLongError."""
        self._read += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            # What comes after a whole answer makes the connection useless, and nothing else.
            self.reusable = False
            if not self.complete:
                raise NotHttpError from None
        if len(self._body) > BODY_LIMIT:
            self.complete = False
            raise TooLongError
        if not self.complete and self._read > (HEAD_LIMIT if self._in_head else ANSWER_LIMIT):
            raise TooLongError

    def end(self) -> None:
        """Take note of the connection's end. Raises NotHttpError where that cuts the answer short."""
        self.reusable = False
        if self.complete:
            return
        if self.status is None or self._in_head or not _FRAMES.isdisjoint(self.headers):
            raise NotHttpError
        try:
            # Only the connection's end marks the body's, and so a cut one looks like a whole one.
            orjson.loads(self._body)
        except orjson.JSONDecodeError:
            raise NotHttpError from None
        self.complete = True

    # --- called by the parser ---

    def on_message_begin(self) -> None:
        """Hear that a head begins: of the answer, of a further interim one, or of what nobody asked for."""
        self.reusable = False
        if not self.complete:
            self._in_head = True
            self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what follows chunks is none."""
        if not self._in_head or self.complete:
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        if key != "set-cookie":
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        """Take the status."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < _INTERIM.start or status == _SWITCHING:
            raise NotHttpError
        if status in _INTERIM:
            return
        self._in_head = False
        self.status = status
        self.complete = status in _BODILESS

    def on_body(self, part: bytes) -> None:
        """Take a part of the body."""
        if not self.complete:
            self._body += part

    def on_message_complete(self) -> None:
        """Hear that an answer has ended, which may be an interim one."""
        if self.status is not None and not self.complete:
            self.complete = True
            self.reusable = self._parser.should_keep_alive() and not self._both_ways_framed()

    def _both_ways_framed(self) -> bool:
        return self.headers.keys() >= _FRAMES
