"""Reads the body of a request within the size limit, whatever its headers announce."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge

from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.domain.limits import MAX_BODY_BYTES

if TYPE_CHECKING:
    from flask import Request

# https://www.iana.org/assignments/http-parameters (HTTP Content Coding Registry), and other compressions.
_COMPRESSIONS = frozenset(
    {"gzip", "x-gzip", "compress", "x-compress", "deflate", "br", "zstd", "dcb", "dcz", "exi", "pack200-gzip"}
    | {"bzip2", "x-bzip2", "lz4", "lzma", "snappy", "xz", "zlib", "aes128gcm"}
)


def read_body(request: Request) -> bytes:
    """Return the whole body. At most one byte more than the limit is read.

    Raise RequestEntityTooLarge (413), UnsupportedTypeError (415) for a compressed body (a few bytes could
    expand to any number), or UnreadableError (400) for a body shorter than announced. A Content-Encoding that
    is no compression is ignored: some senders write the charset or the content type there.
    """
    environ = request.environ
    codings = environ.get("HTTP_CONTENT_ENCODING", "").lower().split(",")
    if not _COMPRESSIONS.isdisjoint(coding.strip() for coding in codings):
        raise UnsupportedTypeError("Content-Encoding", "a compressed body", "an uncompressed body")
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
        raise UnreadableError(
            "body", f"{len(body)} of {announced} bytes, then the connection ended", "the whole body"
        )
    return body
