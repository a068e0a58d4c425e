"""The template of what a sender signs, such as `{timestamp}.{body}`. Pure.

A signature is only meaningful if the signed text can be split into its parts in one way. Otherwise a
captured delivery could be sent again with a boundary moved, for example with a dot of the body as the end of
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
    """The signed text of a delivery could be split in two ways. The message says where."""


@lru_cache(maxsize=1024)
def parts_of(template: str) -> tuple[str, ...]:
    """Return texts and names of placeholders in turn. The first and the last part are texts."""
    return tuple(_PLACEHOLDER.split(template))


def placeholders(template: str) -> tuple[str, ...]:
    """Return the names of the placeholders, in their order."""
    return parts_of(template)[1::2]


def is_signed_template(template: str) -> bool:
    """Return True for a template that `signed_content` can render without ambiguity by itself."""
    parts, names = parts_of(template), placeholders(template)
    texts = parts[::2]
    printable = all(text.isascii() and text.isprintable() and not {"{", "}"} & set(text) for text in texts)
    once = len(names) == len(set(names)) and "body" in names
    # An id of any length needs a text that ends it, unless it is the last part.
    ended = all(name != "id" or after for name, after in zip(names[:-1], texts[1:-1], strict=True))
    return printable and once and ended


def signed_content(template: str, values: Mapping[str, bytes]) -> bytes:
    """Return the text that is signed. `values` has the bytes of each placeholder.

    Raise AmbiguousContentError if the text could be split into other values too.
    """
    _require_unambiguous(template, values)
    pieces = [values[part] if number % 2 else part.encode() for number, part in enumerate(parts_of(template))]
    return b"".join(pieces)


def _require_unambiguous(template: str, values: Mapping[str, bytes]) -> None:
    for name, separator, following in _joints(template):
        if name == "id" and separator.encode() in values[name]:
            raise AmbiguousContentError(
                f"the message id contains {separator!r}, which also ends it in the signed text, so that text "
                "can be split in several ways; the sender must use message ids without it"
            )
        query = values["url"].partition(b"?")[2] if name == "url" else b""
        if query and separator.encode() in query:
            raise AmbiguousContentError("the query of the address and what follows it cannot be told apart")
        if not separator and "timestamp" in {name, following} and _digits_meet(values, name, following):
            raise AmbiguousContentError("the timestamp and the digits beside it cannot be told apart")


def _joints(template: str) -> Iterator[tuple[str, str, str]]:
    """Yield each placeholder with the text after it and the next placeholder."""
    parts = parts_of(template)
    for place, following in pairwise(range(1, len(parts), 2)):
        yield parts[place], parts[place + 1], parts[following]


def _digits_meet(values: Mapping[str, bytes], name: str, following: str) -> bool:
    return values[name][-1:].isdigit() and values[following][:1].isdigit()
