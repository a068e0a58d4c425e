"""Parse form fields and query strings into mappings and lists for templates. Pure.

Brackets in a name are parsed as PHP does: `a[b][]=c`. An inner mapping whose keys are the numbers from
0 without a gap becomes a list, for example items with `[]`. Other mappings keep their keys, so that
`fields[7]` has the key "7" even if the fields before it are missing.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from integration.domain.errors import UnreadableError
from integration.domain.limits import MAX_FIELD_DEPTH, MAX_FIELDS
from integration.mapping.charsets import decoded

if TYPE_CHECKING:
    from collections.abc import Iterable

_PATH = re.compile(r"([^\[\]]*)((?:\[[^\[\]]*\])+)")


def fields_of(body: bytes, charset: str = "utf-8") -> list[tuple[str, str]]:
    """Return the pairs of name and value of a URL-encoded text, in their order.

    Pairs without a name are left out. Raise UnreadableError for more than MAX_FIELDS pairs, and for bytes
    that are invalid in the charset.
    """
    count = body.count(b"&") + 1
    if count > MAX_FIELDS:
        raise UnreadableError("form", f"{count} fields", f"at most {MAX_FIELDS}")
    pairs = (pair.replace(b"+", b" ").partition(b"=") for pair in body.split(b"&"))
    try:
        return [(_text(name, charset), _text(value, charset)) for name, _, value in pairs if name]
    except UnicodeDecodeError:
        raise UnreadableError("form", f"bytes that are not {charset.upper()}", charset.upper()) from None


def _text(escaped: bytes, charset: str) -> str:
    return decoded(unquote_to_bytes(escaped), charset)


def nested(fields: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return fields as a mapping, in which names with brackets become inner mappings and lists.

    A name that occurs more than once has a list of its values. Raise UnreadableError for more than
    MAX_FIELD_DEPTH pairs of brackets.
    """
    tree: dict[str, Any] = {}
    for place, (name, value) in enumerate(fields, start=1):
        if name.count("[") > MAX_FIELD_DEPTH:
            allowed = f"at most {MAX_FIELD_DEPTH} pairs"
            raise UnreadableError(f"form, field {place}", "a name with too many pairs of brackets", allowed)
        _add(tree, _path(name), value)
    return {key: _with_lists(item) for key, item in tree.items()}


def _path(name: str) -> list[str]:
    found = _PATH.fullmatch(name)
    if found is None:
        return [name]
    keys = found[2][1:-1].split("][")
    return [found[1], *keys] if found[1] else keys


def _add(tree: dict[str, Any], path: list[str], value: str) -> None:
    """Add a value to nested mappings. A value whose name also has inner names gets an index as key."""
    for key in path[:-1]:
        inner = tree.setdefault(key or _next_index(tree), {})
        if not isinstance(inner, dict):
            inner = tree[key] = {"0": inner}
        tree = inner
    key = path[-1] or _next_index(tree)
    present = tree.get(key)
    if isinstance(present, dict):
        present[_next_index(present)] = value
    elif isinstance(present, list):
        present.append(value)
    else:
        tree[key] = value if present is None else [present, value]


def _next_index(tree: dict[str, Any]) -> str:
    index = len(tree)
    while str(index) in tree:
        index += 1
    return str(index)


def _with_lists(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    items = {key: _with_lists(inner) for key, inner in item.items()}
    indexes = [str(index) for index in range(len(items))]
    return [items[index] for index in indexes] if items.keys() == set(indexes) else items
