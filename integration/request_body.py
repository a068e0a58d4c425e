"""Reads the body of a request, never more than is allowed, whatever its headers say of its length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge

from integration.errors import UnreadableError, UnsupportedTypeError
from integration.problems import MAX_BODY_BYTES

if TYPE_CHECKING:
    from flask import Request


def read_body(request: Request) -> bytes:
    """Give the whole body. At most one byte more than allowed is ever read.

    Raises RequestEntityTooLarge (413), UnsupportedTypeError (415) for a packed body (a few bytes could unpack
    to any number), and UnreadableError (400) when fewer bytes came than were announced.
    """
    environ = request.environ
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedTypeError("Content-Encoding", "a packed body", "a body as it is")
    announced = request.content_length
    if announced is not None and announced > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    # Read past werkzeug's wrappers: the gate hands over the whole body, and nothing behind it.
    body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if announced is not None and len(body) < announced:
        raise UnreadableError("body", f"{len(body)} bytes", f"the {announced} that Content-Length announced")
    return body
