"""Read the text fields of `multipart/form-data` (RFC 7578). Files are ignored. Pure.

werkzeug's decoder finds the parts. It also accepts CR alone and LF alone as line ends, as some senders
write them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

from integration.domain.errors import UnreadableError
from integration.domain.limits import MAX_FIELDS, MAX_PART_HEAD_BYTES
from integration.mapping.charsets import charset_of, decoded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from werkzeug.datastructures import Headers

    from integration.domain.delivery import Delivery

MULTIPART_TYPE = "multipart/form-data"


class _Decoder(MultipartDecoder):
    """A decoder that rejects parts with long headers, which werkzeug parses in quadratic time.

    Bytes of the headers that are not UTF-8 are replaced, so that a file's name in another charset is no
    error.
    """

    def _parse_headers(self, data: bytes | bytearray) -> Headers:
        if len(data) > MAX_PART_HEAD_BYTES:
            found, allowed = f"one with {len(data)} bytes of headers", f"at most {MAX_PART_HEAD_BYTES}"
            raise UnreadableError("form, a part", found, allowed)
        return super()._parse_headers(data.decode("utf-8", "replace").encode())


def read_parts(delivery: Delivery) -> list[tuple[str, str]]:
    """Return the pairs of name and value of the text fields, in the order of the body.

    Raise UnreadableError for more than MAX_FIELDS parts, for a part with long headers, for a missing
    boundary or last boundary, and for text that is not in its charset.
    """
    fields = []
    for part, content in _parts(delivery):
        if isinstance(part, Field) and part.name:
            charset = charset_of(part.headers.get("content-type", delivery.headers["content-type"]))
            try:
                fields.append((part.name, decoded(content, charset)))
            except UnicodeDecodeError:
                name = charset.upper()
                raise UnreadableError("form, a part", f"not encoded as {name}", name) from None
    return fields


def without_files(delivery: Delivery) -> bytes:
    """Return the body without the contents of its files. Their names stay. Raise UnreadableError."""
    boundary = _boundary(delivery)
    written = bytearray()
    for part, content in _parts(delivery):
        head = "".join(f"{name}: {value}\r\n" for name, value in part.headers).encode()
        written += b"--%b\r\n%b\r\n%b\r\n" % (boundary, head, b"" if isinstance(part, File) else content)
    return bytes(written + b"--%b--\r\n" % boundary)


def _boundary(delivery: Delivery) -> bytes:
    _, options = parse_options_header(delivery.headers["content-type"])
    boundary = options.get("boundary", "").encode()
    if not boundary:
        raise UnreadableError("content-type", "without a boundary", "multipart/form-data; boundary=…")
    return boundary


def _parts(delivery: Delivery) -> Iterator[tuple[Field | File, bytes]]:
    """Yield each part with its content. Raise UnreadableError."""
    decoder = _Decoder(_boundary(delivery), max_parts=MAX_FIELDS)
    decoder.receive_data(delivery.body)
    decoder.receive_data(None)
    part: Field | File | None = None
    content = bytearray()
    try:
        while not isinstance(event := decoder.next_event(), Epilogue):
            if isinstance(event, Field | File):
                part = event
                content.clear()
            elif isinstance(event, Data) and part is not None:
                content += event.data
                if not event.more_data:
                    yield part, bytes(content)
    except RequestEntityTooLarge:
        raise UnreadableError(
            "form", f"one with more than {MAX_FIELDS} parts", f"at most {MAX_FIELDS}"
        ) from None
    except ValueError:
        found = "incomplete, or not valid multipart/form-data"
        raise UnreadableError("form", found, "multipart/form-data (RFC 7578)") from None
