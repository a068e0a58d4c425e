"""Reads the body of a request within the size limit, whatever its headers announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge

from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.web.problems import MAX_BODY_BYTES

if TYPE_CHECKING:
    from flask import Request


def read_body(request: Request) -> bytes:
    """Return the whole body. At most one byte more than the limit is read.

    Raise RequestEntityTooLarge (413), UnsupportedTypeError (415) for a compressed body (a few bytes could
    expand to any number), or UnreadableError (400) for a body shorter than announced.
    """
    environ = request.environ
    if environ.get("HTTP_CONTENT_ENCODING", "").strip().lower() not in {"", "identity"}:
        raise UnsupportedTypeError("Content-Encoding", "a packed body", "a body as it is")
    announced = request.content_length
    if announced is not None and announced > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    # Read without werkzeug's wrappers, which cost more than the read. The ASGI bridge's input ends with the
    # body; another server's may be the connection, of which the announced bytes are the body (PEP 3333).
    ends = environ.get("wsgi.input_terminated", False)
    body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1 if ends else announced or 0)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if announced is not None and len(body) < announced:
        raise UnreadableError("body", f"{len(body)} bytes", f"the {announced} that Content-Length announced")
    return body
