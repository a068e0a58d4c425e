"""Descriptions of places, values and names for configuration faults.

A message quotes only plain words and small numbers of the configuration file. It describes a text that
could be a key, a token or a customer's number by its length.
"""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Place = tuple[str | int, ...]

_SECRET_KEYS: Final = frozenset(
    {"token", "key", "url_key", "secrets", "password", "client_secret", "secret", "url", "verify_token"}
)
_API_KEY_AS_TEXT: Final = 2
_MANY_NAMES: Final = 1000
_LISTED_NAMES: Final = 20
_PLAIN_CHARACTERS: Final = 60
_PLAIN_DIGITS: Final = 8
_PLAIN_NUMBER: Final = 1_000_000


def spelled_part(part: str | int) -> str:
    """Return one part of a key's path as messages write it: `.token`, or `[1]` for the first item."""
    if isinstance(part, int):
        return f"[{part + 1}]"
    return f".{part}" if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f".{json.dumps(part, ensure_ascii=False)}"


def is_plain(text: str) -> bool:
    """Return True for words, short codes, times and addresses, which a message may quote.

    Such a text has at most 60 characters and 8 digits. Each run of letters and digits in it has at most
    15 characters, and digits only as the last one or two. Keys and tokens rarely have this form.
    """
    runs = re.findall(r"[^\W_]+", text)
    all_words = all(re.fullmatch(r"(?!.{16})[^\W\d_]{0,14}\d{0,2}", run) for run in runs)
    short = len(text) <= _PLAIN_CHARACTERS and sum(map(str.isdigit, text)) <= _PLAIN_DIGITS
    # In a URL, an @ may follow a user name and a password.
    return all_words and short and text.isprintable() and "@" not in text


def masked(message: str, text: str) -> str:
    """Return `message` in which each word that is also in `text` and is not plain is replaced by "…"."""
    return re.sub(r"[^\W_]+", lambda run: "…" if run[0] in text and not is_plain(run[0]) else run[0], message)


def described(value: Any, place: Place = (), origin: str | None = None) -> str:
    """Return a description of a value for a message, such as `a list`.

    The value is quoted only if it is plain or a small number, in the file itself, and no secret. `origin`
    is the `env:` or `file:` reference that it was read from, or None.
    """
    quotable = origin is None and not _is_secret(place)
    match value:
        case None:
            return "missing"
        case bool():
            return str(value).lower()
        case str():
            return described_text(value, origin, quotable=quotable)
        case int() | float():
            return f"the number {value}" if quotable and abs(value) < _PLAIN_NUMBER else "a number"
        case list() | tuple():
            return "a list" if value else "an empty list"
        case dict():
            return "a table"
    return "a date or a time"


def described_text(text: str, origin: str | None, *, quotable: bool) -> str:
    """Return a description of a text for a message. The text is quoted if it is plain and `quotable`.

    `origin` is the `env:` or `file:` reference that it was read from, or None.
    """
    if text and quotable and is_plain(text):
        return f'"{text}"'
    size = "a text of 1 character" if len(text) == 1 else f"a text of {len(text)} characters"
    return (size if text else "an empty text") + (f" from {origin}" if origin else "")


def _is_secret(place: Place) -> bool:
    return (place[:1] == ("api_keys",) and len(place) == _API_KEY_AS_TEXT) or any(
        part in _SECRET_KEYS for part in place
    )


def nearest(name: Any, known: Iterable[str], kind: str) -> str:
    """Return "one of KIND NAMES", with a suggestion if `name` is similar to one of the known names."""
    names = sorted(known)
    if not names:
        return f"one of {kind} (none is configured)"
    close = get_close_matches(name, names[:_MANY_NAMES], n=1) if isinstance(name, str) else []
    listed = ", ".join(f'"{each}"' for each in names[:_LISTED_NAMES])
    more = f" and {len(names) - _LISTED_NAMES} more" if len(names) > _LISTED_NAMES else ""
    return f"one of {kind} {listed}{more}" + (f'. Did you mean "{close[0]}"?' if close else "")
