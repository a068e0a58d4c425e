"""Conversion of bodies to text for editing, and back. Parts that are not edited keep their bytes.

A browser sends every line end of a form as CRLF. `edited` restores those of the stored body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask_babel import gettext as _

from integration.dashboard.presenting.display_text import visible
from integration.mapping.charsets import charset_of, extends_ascii

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_BYTES: Final = 50_000


def why_not(headers: Mapping[str, str], raw: bytes) -> str:
    """Return the reason, in the user's language, why a body cannot be edited as text; "" if it can."""
    content_type, reason = headers.get("content-type", ""), ""
    if content_type.strip().lower().startswith("multipart/"):
        reason = _("A multipart body cannot be edited here.")
    elif len(raw) > LONGEST_BYTES:
        reason = _("The body is too long to be edited here.")
    elif not _is_utf8(raw) or not extends_ascii(charset_of(content_type)):
        reason = _("The body is not UTF-8, so it cannot be edited here.")
    elif _has_invisible(raw.decode()):
        reason = _("The body has invisible characters, which editing could change.")
    return reason


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _has_invisible(text: str) -> bool:
    """Return True if a text has a character that `visible` replaces, or different kinds of line ends."""
    lines = _with_lf(text) if _line_end(text) else text
    return "\r" in lines or visible(lines) != lines


def edited(raw: bytes, text: str) -> bytes:
    """Return the text of a form in UTF-8, with the line ends of `raw`; LF if these differ."""
    return _with_lf(text).replace("\n", _line_end(raw.decode("utf-8", "replace")) or "\n").encode()


def _line_end(text: str) -> str:
    """Return the line end of a text, LF if there is none; "" for several kinds, or a lone CR."""
    pairs, returns, feeds = text.count("\r\n"), text.count("\r"), text.count("\n")
    if not returns:
        return "\n"
    return "\r\n" if pairs == returns == feeds else ""


def _with_lf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")
