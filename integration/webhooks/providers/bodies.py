"""Parse JSON and form bodies into JSON values, with limits for size, depth and number of values.

Errors are UnreadableError. They contain the place and a description of the error, never the body's text.
"""

from __future__ import annotations

import json
import re
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import orjson
from qs_codec import DecodeOptions, decode

from integration.domain.errors import UnreadableError, UnsupportedTypeError

if TYPE_CHECKING:
    from integration.domain.delivery import Delivery

MAX_EVENTS = 1000
MAX_DEPTH = 64
MAX_FORM_FIELDS = 2000
MAX_FORM_DEPTH = 10

FORM_TYPE = "application/x-www-form-urlencoded"
_JSON_TYPE = re.compile(r"(application|text)/([a-z0-9.!#$&^_-]+\+)?json")
_XML_TYPE = re.compile(r"(application|text)/([a-z0-9.!#$&^_-]+\+)?xml")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)", re.IGNORECASE)
_UTF8_NAMES = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})

_LONG_NUMBER = re.compile(rb"\d{19}")
_STORABLE = range(-(2**63), 2**64)
_OPENING_BRACKET = re.compile(r"\[|%5b", re.IGNORECASE)

# Lists over `list_limit`, and numbers in brackets that are ids and not indexes, become mappings.
_FORM_OPTIONS = DecodeOptions(list_limit=250, depth=MAX_FORM_DEPTH, parameter_limit=MAX_FORM_FIELDS)


def is_form(delivery: Delivery) -> bool:
    """Return True if the content type is that of a URL-encoded form."""
    return delivery.content_type == FORM_TYPE


def require_json_type(delivery: Delivery) -> None:
    """Raise UnsupportedTypeError unless the content type is JSON in UTF-8, or missing, as scripts send it."""
    _require_type(delivery, _JSON_TYPE, "application/json")


def require_xml_type(delivery: Delivery) -> None:
    """Raise UnsupportedTypeError unless the content type is XML in UTF-8, or missing."""
    _require_type(delivery, _XML_TYPE, "text/xml")


def _require_type(delivery: Delivery, pattern: re.Pattern[str], allowed: str) -> None:
    if delivery.content_type and not pattern.fullmatch(delivery.content_type):
        raise UnsupportedTypeError("content-type", "another type", allowed)
    _require_utf8(delivery)


def _require_utf8(delivery: Delivery) -> None:
    charset = _CHARSET.search(delivery.headers.get("content-type", ""))
    if charset and charset[1].lower() not in _UTF8_NAMES:
        raise UnsupportedTypeError("content-type", "another charset", "utf-8")


def read_body(delivery: Delivery) -> Any:
    """Return the value of a form or JSON body. Raise UnsupportedTypeError or UnreadableError."""
    if is_form(delivery):
        return read_form(delivery)
    require_json_type(delivery)
    return read_json(delivery.body)


def read_json(body: bytes) -> Any:
    """Return the value of a JSON body (RFC 8259, UTF-8, optional byte order mark) of at most 64 levels.

    An integer beyond 64 bits becomes a text of its digits, because rounding would change a customer's id. The
    last of repeated keys wins. Raise UnreadableError, also for `NaN`, `Infinity` and numbers outside the
    range of double precision.
    """
    body = body.removeprefix(BOM_UTF8)
    if not body.strip():
        raise UnreadableError("body", "nothing", "JSON")
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(
            f"body, line {error.lineno}, column {error.colno}", "something that is not JSON", "JSON in UTF-8"
        ) from None
    if _deeper_than(value, MAX_DEPTH, body):
        raise UnreadableError("body", f"more than {MAX_DEPTH} levels", f"at most {MAX_DEPTH}")
    if _LONG_NUMBER.search(body):
        return json.loads(body, parse_int=_exact_integer)
    return value


def _exact_integer(digits: str) -> int | str:
    # At most 309 digits, because orjson rejects longer numbers as infinite.
    number = int(digits)
    return number if number in _STORABLE else digits


def _deeper_than(value: Any, levels: int, body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= levels:
        return False
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
    return any(isinstance(value, dict | list) for value in layer)


def _children(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list) else ()


def read_form(delivery: Delivery) -> dict[str, Any]:
    """Return the fields of an `application/x-www-form-urlencoded` body. Raise UnreadableError.

    Brackets make mappings and lists: `a[b][0]=c`. All values are text. Numbers in brackets make a list
    without gaps; numbers from 250 on are ids and make a mapping. The limits are 2000 fields and 10 levels of
    brackets. The body must be UTF-8; a byte order mark is removed.
    """
    _require_utf8(delivery)
    text = _form_text(delivery.body)
    fields = text.count("&") + 1
    if fields > MAX_FORM_FIELDS:
        raise UnreadableError("form", f"{fields} fields", f"at most {MAX_FORM_FIELDS}")
    for place, field in enumerate(text.split("&"), start=1):
        if len(_OPENING_BRACKET.findall(field.partition("=")[0])) > MAX_FORM_DEPTH:
            raise UnreadableError(f"form, field {place}", "more brackets", f"at most {MAX_FORM_DEPTH} levels")
    read: dict[str, Any] = decode(text, _FORM_OPTIONS)
    if not read:
        raise UnreadableError("form", "no named field", "name=value&name=value")
    return read


def _form_text(body: bytes) -> str:
    body = body.removeprefix(BOM_UTF8)
    if body.lstrip()[:1] in {b"{", b"["}:
        raise UnreadableError("form", "what looks like JSON", "content-type application/json for JSON")
    if b"\0" in body:  # a form encodes NUL as %00, so a raw NUL indicates UTF-16
        raise UnreadableError("form", "a NUL byte", "UTF-8")
    try:
        unquote_to_bytes(body).decode()
        return body.decode().strip()
    except UnicodeDecodeError:
        raise UnreadableError("form", "bytes that are not UTF-8", "UTF-8") from None


def require_few(events: int) -> None:
    """Raise UnreadableError for more events than MAX_EVENTS."""
    if events > MAX_EVENTS:
        raise UnreadableError("body", f"{events} events", f"at most {MAX_EVENTS} in one delivery")
