"""Read the body of a request up to the size limit."""

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
    """Return the whole body.

    Raise RequestEntityTooLarge (413) over MAX_BODY_BYTES, and UnreadableError (400) if the body is
    shorter than its Content-Length. Raise UnsupportedTypeError (415) if Content-Encoding names a
    compression, because the body could expand without limit. Other values of Content-Encoding are
    ignored, because some senders write the charset or the content type there.
    """
    environ = request.environ
    codings = environ.get("HTTP_CONTENT_ENCODING", "").lower().split(",")
    if not _COMPRESSIONS.isdisjoint(coding.strip() for coding in codings):
        raise UnsupportedTypeError("Content-Encoding", "a compressed body", "an uncompressed body")
    announced = request.content_length
    if announced is not None and announced > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    # werkzeug's wrappers take longer than the read. The input of the ASGI bridge ends with the body. Another
    # server's may be the connection, where Content-Length is the end of the body (PEP 3333).
    ends = environ.get("wsgi.input_terminated", False)
    body: bytes = environ["wsgi.input"].read(MAX_BODY_BYTES + 1 if ends else announced or 0)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    if announced is not None and len(body) < announced:
        raise UnreadableError(
            "body", f"incomplete: {len(body)} of {announced} bytes arrived", "a Content-Length that fits"
        )
    return body
