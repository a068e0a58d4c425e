"""Holds answers against the OpenAPI document: status, content type, headers and body.

Knows as much of JSON Schema as the document uses, and fails on a keyword it does not know.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

from integration.api.openapi import document

DOCUMENT = document(datetime.now(UTC).date())
TYPES = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
WORDS = {"title", "description", "examples", "default"}


def path_of(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule)


def check_answer(rule: str, method: str, response) -> None:
    """Fail unless the document says that this may be answered there."""
    responses = DOCUMENT["paths"][path_of(rule)][method.lower()]["responses"]
    told = responses.get(str(response.status_code))
    assert told is not None, f"{method} {rule}: {response.status_code} is not in the document"
    assert response.mimetype in told["content"], (
        f"{method} {rule}: {response.mimetype} is not in the document"
    )
    for name in told.get("headers", {}):
        assert name in response.headers, f"{method} {rule}: the header {name} is missing"
        check(response.headers[name], told["headers"][name]["schema"] | {"type": "string"})
    if "json" in response.mimetype:
        check(json.loads(response.get_data()), told["content"][response.mimetype]["schema"])


def check(value, schema, place="$") -> None:
    """Fail unless the value fits the schema."""
    unknown = set(schema) - set(KEYWORDS) - WORDS
    assert not unknown, f"{place}: keywords that this does not check: {unknown}"
    for keyword, argument in schema.items():
        if keyword in KEYWORDS:
            KEYWORDS[keyword](value, argument, schema, place)


def fits(value, schema) -> bool:
    try:
        check(value, schema)
    except AssertionError:
        return False
    return True


def _type(value, name, schema, place):
    good = isinstance(value, TYPES[name]) and not (isinstance(value, bool) and name in {"integer", "number"})
    assert good, f"{place}: {type(value).__name__} instead of {name}"


def _ref(value, ref, schema, place):
    name = ref.removeprefix("#/components/schemas/")
    check(value, DOCUMENT["components"]["schemas"][name], place)


def _any_of(value, kinds, schema, place):
    assert any(fits(value, kind) for kind in kinds), f"{place}: fits none of {kinds}"


def _required(value, names, schema, place):
    if isinstance(value, dict):
        assert set(names) <= set(value), f"{place}: {set(names) - set(value)} are missing"


def _properties(value, properties, schema, place):
    for name in properties.keys() & (value if isinstance(value, dict) else {}):
        check(value[name], properties[name], f"{place}.{name}")


def _additional(value, allowed, schema, place):
    assert allowed is not False or not isinstance(value, dict) or set(value) <= set(schema["properties"])


def _items(value, items, schema, place):
    for index, item in enumerate(value if isinstance(value, list) else ()):
        check(item, items, f"{place}[{index}]")


def _pattern(value, pattern, schema, place):
    assert not isinstance(value, str) or re.search(pattern, value), f"{place}: does not match {pattern}"


def _format(value, name, schema, place):
    assert name == "date-time"
    assert not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None, place


def _holds(fits_, kinds):
    def keyword(value, argument, schema, place):
        assert not isinstance(value, kinds) or fits_(value, argument), f"{place}: against {argument}"

    return keyword


KEYWORDS = {
    "type": _type,
    "$ref": _ref,
    "anyOf": _any_of,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "pattern": _pattern,
    "format": _format,
    "enum": _holds(lambda value, words: value in words, object),
    "const": _holds(lambda value, word: value == word, object),
    "minLength": _holds(lambda value, n: len(value) >= n, str),
    "maxLength": _holds(lambda value, n: len(value) <= n, str),
    "minimum": _holds(lambda value, n: value >= n, (int, float)),
    "maximum": _holds(lambda value, n: value <= n, (int, float)),
}
