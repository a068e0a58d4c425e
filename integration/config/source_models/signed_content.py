"""The template of what a sender signs, such as `{timestamp}.{body}`. Pure.

The signed text must have only one way to be split into its parts. Otherwise an attacker could send a
captured delivery again with a moved boundary, for example with the first dot of the body as the end of
the timestamp.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNED_WORDS: Final = (
    'a text with {body} once, and {timestamp}, {id} and {url} at most once, such as "{timestamp}.{body}"'
)
_PLACEHOLDER: Final = re.compile(r"\{(timestamp|id|body|url)\}")


class AmbiguousContentError(ValueError):
    """The signed text of a delivery can be split into its parts in more than one way."""


@lru_cache(maxsize=1024)
def parts_of(template: str) -> tuple[str, ...]:
    """Return the texts and placeholder names of a template in turn. The first and last are texts."""
    return tuple(_PLACEHOLDER.split(template))


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names of the placeholders in the order of the template."""
    return parts_of(template)[1::2]


def is_signed_template(template: str) -> bool:
    """Return True if a template of what a sender signs is valid.

    It has `{body}`, no placeholder twice, and otherwise printable ASCII without braces. A text follows
    `{id}`, unless `{id}` is the last placeholder.
    """
    parts, names = parts_of(template), placeholders(template)
    texts = parts[::2]
    printable = all(text.isascii() and text.isprintable() and not {"{", "}"} & set(text) for text in texts)
    once = len(names) == len(set(names)) and "body" in names
    # An id can have any length, so a separator must follow it, unless it is the last part.
    ended = all(name != "id" or after for name, after in zip(names[:-1], texts[1:-1], strict=True))
    return printable and once and ended


def signed_content(template: str, values: Mapping[str, bytes]) -> bytes:
    """Return the bytes that the sender signs. `values` has the bytes of each placeholder.

    Raise AmbiguousContentError if the end of a message id, a URL or a timestamp is ambiguous.
    """
    _require_unambiguous(template, values)
    pieces = [values[part] if number % 2 else part.encode() for number, part in enumerate(parts_of(template))]
    return b"".join(pieces)


def _require_unambiguous(template: str, values: Mapping[str, bytes]) -> None:
    for name, separator, following in _joints(template):
        if name == "id" and separator.encode() in values[name]:
            raise AmbiguousContentError(
                f"the message id contains {separator!r}, which separates it from the next part of the signed "
                "text, so that its end is ambiguous; the sender must use message ids without it"
            )
        query = values["url"].partition(b"?")[2] if name == "url" else b""
        if query and separator.encode() in query:
            raise AmbiguousContentError("the end of the URL's query in the signed text is ambiguous")
        if not separator and "timestamp" in {name, following} and _digits_meet(values, name, following):
            raise AmbiguousContentError(
                "the timestamp is next to other digits in the signed text, so that its end is ambiguous"
            )


def _joints(template: str) -> Iterator[tuple[str, str, str]]:
    """Yield each placeholder but the last, with the text after it and the next placeholder."""
    parts = parts_of(template)
    for place, following in pairwise(range(1, len(parts), 2)):
        yield parts[place], parts[place + 1], parts[following]


def _digits_meet(values: Mapping[str, bytes], name: str, following: str) -> bool:
    return values[name][-1:].isdigit() and values[following][:1].isdigit()
