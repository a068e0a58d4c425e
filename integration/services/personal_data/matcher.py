"""Whether a text mentions a person: by a telephone however it is written, or by a customer's id. Pure.

An id is looked for as a whole word. One that is shorter than five characters is in no text: it would be
found in campaigns, dates and counts, and what is somebody else's would be taken for the person's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote_plus

import orjson

from integration.domain.phone_numbers import endings

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.domain.account import Account

SHORTEST_WORD: Final = 5
SHORTEST_NUMBER: Final = 7
# Digits of one number, with what people write between them, and how JSON and Python escape that.
_NUMBER: Final = re.compile(r"\d(?:(?:[\s().\-/+_\u00a0\u2010-\u2015\u202f]|\\u[0-9a-f]{4}){0,3}\d){6,40}")
_ESCAPE: Final = re.compile(r"\\u[0-9a-f]{4}")
_COUNTRY_DIGITS: Final = 6  # a prefix, a country code and the like before a national number


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMatcher:
    """Whom to look for: a customer's id, or the ends of a telephone's digits; never both."""

    customer: str | None = field(default=None, repr=False)
    endings: tuple[str, ...] = field(default=(), repr=False)

    def in_text(self, text: str) -> bool:
        """Tell whether a text mentions the person, also escaped as in forms and markup."""
        if self._in(text):
            return True
        # As in forms and in markup; most texts have neither.
        as_form = ("%" in text or "+" in text) and self._in(unquote_plus(text))
        return as_form or ("&" in text and self._in(unescape(text)))

    @classmethod
    def of_telephone(cls, telephone: str, accounts: Iterable[Account]) -> Self | None:
        """Return the person of a telephone, written in any way; None unless it is a whole number."""
        found = endings(telephone, accounts)
        whole = bool(found) and min(map(len, found)) >= SHORTEST_NUMBER
        return cls(endings=found) if whole else None

    @property
    def is_short(self) -> bool:
        """Whether only recalls can be told to be the person's, since the id is too short to be looked for."""
        return self.customer is not None and len(self.customer) < SHORTEST_WORD

    def in_value(self, value: Any) -> bool:
        """Tell whether JSON values mention the person; the names of members are looked at too."""
        if isinstance(value, dict):
            return any(self.in_value(part) for pair in value.items() for part in pair)
        if isinstance(value, list):
            return any(map(self.in_value, value))
        return value is not None and not isinstance(value, bool) and self._in(str(value))

    def in_body(self, body: bytes) -> bool:
        """Tell whether a body, JSON or anything else, mentions the person."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self.in_text(body.decode("utf-8", "replace"))
        return self.in_value(value)

    def _in(self, text: str) -> bool:
        return self._names(text) or self._rings(text)

    def _names(self, text: str) -> bool:
        if self.customer is None or self.is_short or self.customer not in text:
            return False
        return re.search(rf"(?<!\w){re.escape(self.customer)}(?!\w)", text) is not None

    def _rings(self, text: str) -> bool:
        if not self.endings:
            return False
        numbers = ("".join(filter(str.isdecimal, _ESCAPE.sub("", run[0]))) for run in _NUMBER.finditer(text))
        return any(
            number.endswith(ending) and len(number) <= len(ending) + _COUNTRY_DIGITS
            for number in numbers
            for ending in self.endings
        )
