"""Functions that make external text safe to display: cut, escape, mask. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.telemetry.redaction import mask_but_end, mask_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.domain.recall import Recall

LONGEST: Final = 50_000
# Controls, direction marks, joiners and line separators are shown as code points, so they have no effect.
_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_PLAIN_HEADERS: Final = frozenset(
    {"content-type", "content-length", "user-agent", "accept", "accept-encoding", "host"}
)


def visible(text: str) -> str:
    """Return a text with control, format, private-use and line-separator characters as code points.

    Newlines and tabs are kept. A right-to-left override becomes `⟨U+202E⟩`.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(sign) for sign in text)


def _visible(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in _STEERING:
        return sign
    return f"⟨U+{ord(sign):04X}⟩"


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text cut to `longest` characters, with the number left out; a shorter text unchanged."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n… +{len(text) - longest}"


def as_text(value: Any) -> str:
    """Return a JSON value as indented text, cut to LONGEST characters and safe to display."""
    written = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    return visible(cut(written))


def without_names(recall: Recall, text: str | None) -> str:
    """Return a text about a recall with possible telephone and customer numbers masked. None becomes "".

    The customer's id and telephone number are masked too.
    """
    return mask_numbers(text or "", (recall.recall_telephone, recall.customer_id))


def headers(stored_headers: Mapping[str, str], *, revealed: bool) -> list[tuple[str, str]]:
    """Return stored headers as pairs of name and value, sorted by name.

    Values are cut to 1000 characters. Unless `revealed`, values are masked, except for `_PLAIN_HEADERS`.
    """
    kept = {
        name: value if revealed or name in _PLAIN_HEADERS else mask_but_end(value)
        for name, value in stored_headers.items()
    }
    return [(visible(name), visible(cut(value, 1000))) for name, value in sorted(kept.items())]


def body(raw: bytes) -> str:
    """Return a body as text, cut to LONGEST: JSON is indented, anything else is decoded as UTF-8."""
    try:
        return as_text(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return visible(cut(raw.decode("utf-8", "replace")))
