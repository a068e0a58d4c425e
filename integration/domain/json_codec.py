"""Parse JSON texts of the store and of senders."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from integration.domain.errors import UnreadableError
from integration.domain.limits import MAX_JSON_DEPTH

_LONG_NUMBER = re.compile(rb"\d{19}")
_STORABLE: Final = range(-(2**63), 2**64)
# A pair of surrogates, half a pair, or any other escape. A program that cuts a text in UTF-16 makes halves,
# and JSON.stringify writes them.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def read_json(text: str) -> Any:
    """Return the value of a JSON text from the store. Raise ValueError for invalid JSON or UTF-8."""
    return orjson.loads(text.encode("utf-8", "surrogateescape"))


def parse_json(text: bytes) -> Any:
    """Return the value of a sender's JSON text (RFC 8259, UTF-8).

    An integer beyond 64 bits becomes a text of its digits, because a rounded number would be another
    customer's id. The last of repeated keys wins. The escape of a lone surrogate becomes U+FFFD. Raise
    UnreadableError for an empty text, invalid JSON, more than MAX_JSON_DEPTH levels, `NaN`, `Infinity`
    and numbers outside the range of double precision.
    """
    if not text.strip():
        raise UnreadableError("body", "empty", "JSON")
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        text = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], text)
        value = _loaded(text)
    if _deeper_than(value, MAX_JSON_DEPTH, text):
        raise UnreadableError("body", f"more than {MAX_JSON_DEPTH} levels", f"at most {MAX_JSON_DEPTH}")
    if _LONG_NUMBER.search(text):
        return json.loads(text, parse_int=_exact_integer)
    return value


def _loaded(text: bytes) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UnreadableError(
            f"body, line {error.lineno}, column {error.colno}", "invalid JSON", "JSON in UTF-8"
        ) from None


def _exact_integer(digits: str) -> int | str:
    # At most 309 digits, because orjson rejects longer numbers as infinite.
    number = int(digits)
    return number if number in _STORABLE else digits


def _deeper_than(value: Any, levels: int, text: bytes) -> bool:
    if text.count(b"[") + text.count(b"{") <= levels:
        return False
    layer = [value]
    for _ in range(levels):
        layer = [child for parent in layer for child in _children(parent)]
    return any(isinstance(value, dict | list) for value in layer)


def _children(value: Any) -> tuple[Any, ...]:
    if isinstance(value, dict):
        return tuple(value.values())
    return tuple(value) if isinstance(value, list) else ()
