"""Parse bodies into JSON values: JSON, forms, multipart forms and query strings, within `domain.limits`.

An UnreadableError has a place and a description of the fault, but quotes no text of the body.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from integration.domain.errors import UnreadableError, UnsupportedTypeError
from integration.domain.json_codec import parse_json
from integration.domain.limits import MAX_EVENTS
from integration.mapping.charsets import charset_of, extends_ascii, utf8
from integration.mapping.forms import fields_of, nested
from integration.webhooks.providers.multipart import MULTIPART_TYPE, read_parts

if TYPE_CHECKING:
    from integration.domain.delivery import Delivery

FORM_TYPE = "application/x-www-form-urlencoded"
_JSON_TYPE = re.compile(r"(application|text)/([a-z0-9.!#$&^_-]+\+)?json|text/plain")
_XML_TYPE = re.compile(r"(application|text)/([a-z0-9.!#$&^_-]+\+)?xml")


def read_body(delivery: Delivery) -> Any:
    """Return the value of a JSON or form body. Raise UnsupportedTypeError or UnreadableError.

    JSON is also read if the content type is missing, or that of plain text, or that of a URL-encoded
    form. A form becomes a mapping, see `integration.mapping.forms`.
    """
    if delivery.content_type == MULTIPART_TYPE:
        return _form(read_parts(delivery))
    charset = charset_of(delivery.headers.get("content-type", ""))
    body = utf8(delivery.body, charset)
    if delivery.content_type != FORM_TYPE:
        require_json_type(delivery)
        return read_json(body)
    if body.lstrip()[:1] in {b"{", b"["}:
        return read_json(body)
    if b"\0" in body:  # a form encodes NUL as %00, so a raw NUL indicates UTF-16
        raise UnreadableError("form", "a text with a NUL byte", "UTF-8")
    return _form(fields_of(body.strip(), charset if extends_ascii(charset) else "utf-8"))


def read_query(query: str) -> dict[str, Any]:
    """Return the parameters of a query string, as `read_body` returns a form. Raise UnreadableError."""
    return _form(fields_of(query.encode("latin-1", "replace")))


def _form(fields: list[tuple[str, str]]) -> dict[str, Any]:
    read = nested(fields)
    if not read:
        raise UnreadableError("form", "without a named field", "name=value&name=value")
    return read


def require_json_type(delivery: Delivery) -> None:
    """Raise UnsupportedTypeError unless the content type is JSON, plain text, or missing."""
    _require_type(delivery, _JSON_TYPE, "application/json")


def require_xml_type(delivery: Delivery) -> None:
    """Raise UnsupportedTypeError unless the content type is XML, or missing."""
    _require_type(delivery, _XML_TYPE, "text/xml")


def _require_type(delivery: Delivery, pattern: re.Pattern[str], allowed: str) -> None:
    if delivery.content_type and not pattern.fullmatch(delivery.content_type):
        raise UnsupportedTypeError("content-type", "not supported", allowed)


def json_of(delivery: Delivery) -> Any:
    """Return the value of a JSON body, decoded by the charset of its content type.

    Raise UnsupportedTypeError or UnreadableError.
    """
    require_json_type(delivery)
    return read_json(delivery.body, charset_of(delivery.headers.get("content-type", "")))


def read_json(body: bytes, charset: str = "utf-8") -> Any:
    """Return the value of a JSON text in a charset. Raise UnreadableError."""
    return parse_json(utf8(body, charset))


def require_few(events: int) -> None:
    """Raise UnreadableError if there are more than MAX_EVENTS events."""
    if events > MAX_EVENTS:
        raise UnreadableError("body", f"a list of {events} events", f"at most {MAX_EVENTS} in one delivery")
