"""Guess the bodies that a sender may have signed before a proxy changed them. Pure and bounded."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

from integration.domain.errors import UnreadableError
from integration.webhooks.diagnosis.findings import Finding, Guess
from integration.webhooks.providers.bodies import read_json

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 256 * 1024


def bodies(body: bytes) -> tuple[Guess, ...]:
    """Return the received body, then other bodies that may have been signed.

    For a body over 256 KiB, return only the received one, because computing others would take too long.
    """
    guesses = [Guess(body)]
    if len(body) > LARGEST:
        return tuple(guesses)
    known = {body}
    for how, other in _others(body):
        if other not in known:
            known.add(other)
            guesses.append(Guess(other, Finding("body", {"how": how})))
    return tuple(guesses)


def _others(body: bytes) -> Iterator[tuple[str, bytes]]:
    yield "white space at its ends", body.strip()
    yield "white space at its ends", body.rstrip() + b"\n"
    yield "white space at its ends", body.rstrip() + b"\r\n"
    yield "line ends", body.replace(b"\r\n", b"\n")
    yield "line ends", body.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    yield "a byte order mark", body.removeprefix(BOM_UTF8)
    yield "a byte order mark", BOM_UTF8 + body
    yield from _transcoded(body)
    yield from _rewritten(body)
    yield "all of it: the signature is one of an empty body", b""


def _transcoded(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        text = body.decode()
        yield "the character set", text.encode("latin-1")
    except (UnicodeDecodeError, UnicodeEncodeError):
        return


def _rewritten(body: bytes) -> Iterator[tuple[str, bytes]]:
    try:
        value = read_json(body)
    except UnreadableError:
        return
    for options in _STYLES:
        written = _dumps(value, options)
        yield "JSON written anew", written
        yield "JSON written anew", written + b"\n"
    # PHP's json_encode escapes slashes.
    yield "JSON written anew", _dumps(value, _STYLES[1]).replace(b"/", rb"\/")


_COMPACT, _SPACED = (",", ":"), (", ", ": ")
_STYLES: tuple[dict[str, Any], ...] = (
    {"separators": _COMPACT, "ensure_ascii": False},
    {"separators": _COMPACT},
    {"separators": _SPACED, "ensure_ascii": False},
    {"separators": _SPACED},
    {"separators": (",", ": "), "ensure_ascii": False, "indent": 2},
    {"separators": (",", ": "), "ensure_ascii": False, "indent": 4},
    {"separators": _COMPACT, "ensure_ascii": False, "sort_keys": True},
    {"separators": _SPACED, "sort_keys": True},
)


def _dumps(value: Any, options: dict[str, Any]) -> bytes:
    return json.dumps(value, **options).encode("utf-8", "surrogatepass")
