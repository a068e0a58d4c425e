"""Decode bodies by their byte order mark, else by the charset that the sender declares. Pure."""

from __future__ import annotations

import codecs
import re
from contextlib import suppress

from integration.domain.errors import UnreadableError

_CHARSET = re.compile(r";\s*charset\s*=\s*[\"']?([^\"';,\s]*)", re.IGNORECASE)
# Python's other codecs are no character sets, or take quadratic time (punycode, idna), or are EBCDIC.
_NAME = re.compile(
    r"ascii|utf-(8|16|32)(-[bl]e)?|iso8859-\d+|cp(437|85\d|86\d|874|932|936|949|950|125\d)|koi8-[ru]|mac-roman"
    r"|gb2312|gbk|gb18030|big5|euc_(jp|kr)|shift_jis"
)
# UTF-32 stands first, because its mark begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)

WIDE_CHARSETS = ("utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
"""UTF-8, and the charsets in which ASCII characters have other bytes than in UTF-8."""


def charset_of(content_type: str) -> str:
    """Return Python's name of a content type's charset, or "utf-8" if it is missing or not supported."""
    declared = _CHARSET.search(content_type)
    try:
        name = codecs.lookup(declared[1]).name if declared else "utf-8"
    except (LookupError, ValueError):
        return "utf-8"
    # A text in ASCII is the same in UTF-8.
    return name if _NAME.fullmatch(name) and name != "ascii" else "utf-8"


def utf8(body: bytes, charset: str) -> bytes:
    """Return a body in UTF-8 without byte order marks. A mark overrides `charset`.

    A lone surrogate becomes U+FFFD. Raise UnreadableError for bytes that `decoded` cannot decode.
    """
    charset = next((name for mark, name in _MARKS if body.startswith(mark)), charset)
    try:
        return decoded(body, charset).lstrip("\ufeff").encode()
    except UnicodeDecodeError:
        raise UnreadableError("body", f"bytes that are not {charset.upper()}", charset.upper()) from None


def decoded(body: bytes, charset: str) -> str:
    """Return the text of bytes: decoded as UTF-8 if valid and `charset` extends ASCII, else as `charset`.

    Many senders use UTF-8 but declare another charset, and a text in another charset is hardly ever valid
    UTF-8. A lone surrogate becomes U+FFFD: JavaScript, Java and .NET can cut a text inside a surrogate
    pair and encode the remaining half. Raise UnicodeDecodeError if the bytes are not valid in `charset`.
    """
    if extends_ascii(charset):
        with suppress(UnicodeDecodeError):
            return body.decode()
    try:
        return body.decode(charset)
    except UnicodeDecodeError:
        halves = body.decode(charset, "surrogatepass")
        return halves.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def extends_ascii(charset: str) -> bool:
    """Return True if ASCII characters have the same bytes in the charset."""
    return "a&=%".encode(charset) == b"a&=%"
