"""What strangers sent, as it may be shown: cut where long, steering nothing. Pure."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, Final

import orjson

from integration.telemetry.redaction import mask_but_end, mask_names, mask_numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.domain.recall import Recall

LONGEST: Final = 50_000
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


def without_names(recall: Recall, text: str | None) -> str:
    """Return words about a recall, which may repeat who the customer is, with that masked."""
    return mask_numbers(mask_names(text or "", (recall.recall_telephone, recall.customer_id)))


def headers(given: Mapping[str, str], *, revealed: bool) -> list[tuple[str, str]]:
    """Give kept headers, by name; values that may tell of a person only when revealed."""
    kept = {
        name: value if revealed or name in _PLAIN_HEADERS else mask_but_end(value)
        for name, value in given.items()
    }
    return [(visible(name), visible(cut(value, 1000))) for name, value in sorted(kept.items())]


def body(raw: bytes) -> str:
    """Give a body as text: JSON indented, anything else as it came."""
    try:
        return as_text(orjson.loads(raw))
    except orjson.JSONDecodeError:
        return visible(cut(raw.decode("utf-8", "replace")))
