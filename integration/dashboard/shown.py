"""What strangers sent, as it may be shown: masked until revealed, cut where long, steering nothing. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.dashboard.masks import masked

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST: Final = 50_000
_LONGEST_NAME: Final = 80
_MOST_MEMBERS: Final = 200
# Direction marks, joiners, line separators and controls: shown by their number, never obeyed.
_STEERING: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_PLAIN_HEADERS: Final = frozenset(
    {"content-type", "content-length", "user-agent", "accept", "accept-encoding"}
)


def visible(text: str) -> str:
    """Give a text of strangers that steers nothing: a right-to-left override becomes `⟨U+202E⟩`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(sign) for sign in text)


def _visible(sign: str) -> str:
    if sign in "\n\t" or unicodedata.category(sign) not in _STEERING:
        return sign
    return f"⟨U+{ord(sign):04X}⟩"


def cut(text: str, longest: int = LONGEST) -> str:
    """Give a text that is not too long for a page, and how much was left out."""
    if len(text) <= longest:
        return text
    return f"{text[:longest]}\n… +{len(text) - longest}"


def as_text(value: Any) -> str:
    """Give JSON values as indented text that can be shown."""
    written = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    return visible(cut(written))


def masked_data(value: Any) -> Any:
    """Give JSON values with the same names and shape, and every text and number masked."""
    if isinstance(value, dict):
        few = list(value.items())[:_MOST_MEMBERS]
        return {str(name)[:_LONGEST_NAME]: masked_data(one) for name, one in few}
    if isinstance(value, list):
        return [masked_data(one) for one in value[:_MOST_MEMBERS]]
    if value is None or isinstance(value, bool):
        return value
    return masked(str(value)) if str(value) else ""


def headers(given: Mapping[str, str], *, revealed: bool) -> list[tuple[str, str]]:
    """Give kept headers, by name; values that may tell of a person only when revealed."""
    return [
        (visible(name), visible(cut(value if revealed or name in _PLAIN_HEADERS else masked(value), 1000)))
        for name, value in sorted(given.items())
    ]


def body(raw: bytes) -> str:
    """Give a body as text: JSON indented, anything else as it came."""
    try:
        return as_text(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return visible(cut(raw.decode("utf-8", "replace")))
