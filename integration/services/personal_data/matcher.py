"""Matches texts that mention a person, by a telephone in any notation or by a customer's id.

An id is matched as a whole word. An identity number is also matched with or without leading zeros, and
with dots or blanks between groups of three digits. An id of fewer than five characters is not searched in
texts, because it would also match campaigns, dates and counts of other people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from html import unescape
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import unquote_plus

import orjson

from integration.domain.phone_numbers import endings
from integration.domain.recall_filters import SPELLED_NUMBER, plain_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from integration.domain.account import Account

SHORTEST_WORD: Final = 5
SHORTEST_NUMBER: Final = 7
# The digits of one number, with the usual separators, also in the escapes of JSON and Python.
_NUMBER: Final = re.compile(r"\d(?:(?:[\s().\-/+_\u00a0\u2010-\u2015\u202f]|\\u[0-9a-f]{4}){0,3}\d){6,40}")
_ESCAPE: Final = re.compile(r"\\u[0-9a-f]{4}")
_COUNTRY_DIGITS: Final = 6  # the most digits of prefixes and a country code before a national number


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonMatcher:
    """Matches one person by a customer's id or by the last digits of a telephone. Set one of the two."""

    customer: str | None = field(default=None, repr=False)
    endings: tuple[str, ...] = field(default=(), repr=False)

    def in_text(self, text: str) -> bool:
        """Return True if a text mentions the person, also if it is form-encoded or HTML-escaped."""
        if self._in(text):
            return True
        # Decode only when needed; most texts contain no escape.
        as_form = ("%" in text or "+" in text) and self._in(unquote_plus(text))
        return as_form or ("&" in text and self._in(unescape(text)))

    @classmethod
    def of_telephone(cls, telephone: str, accounts: Iterable[Account]) -> Self | None:
        """Return the matcher of a telephone in any notation, None if the number is incomplete."""
        found = endings(telephone, accounts)
        whole = bool(found) and min(map(len, found)) >= SHORTEST_NUMBER
        return cls(endings=found) if whole else None

    @property
    def is_short(self) -> bool:
        """Return True if the customer's id is too short to be searched in texts."""
        return self.customer is not None and len(plain_id(self.customer)) < SHORTEST_WORD

    def is_customer(self, text: str) -> bool:
        """Return True if `text` is the person's customer id, in any spelling."""
        return self.customer is not None and plain_id(text) == plain_id(self.customer)

    def in_value(self, value: Any) -> bool:
        """Return True if a JSON value mentions the person, in its keys or its values."""
        if isinstance(value, dict):
            return any(self.in_value(part) for pair in value.items() for part in pair)
        if isinstance(value, list):
            return any(map(self.in_value, value))
        return value is not None and not isinstance(value, bool) and self._in(str(value))

    def in_body(self, body: bytes) -> bool:
        """Return True if a body, JSON or not, mentions the person."""
        try:
            value = orjson.loads(body)
        except orjson.JSONDecodeError:
            return self.in_text(body.decode("utf-8", "replace"))
        return self.in_value(value)

    def _in(self, text: str) -> bool:
        return self._has_id(text) or self._has_number(text)

    def _has_id(self, text: str) -> bool:
        if self.customer is None or self.is_short:
            return False
        plain = plain_id(self.customer)
        if plain[-_GROUP:] not in text:
            return False
        return _spellings(plain).search(text) is not None

    def _has_number(self, text: str) -> bool:
        if not self.endings:
            return False
        numbers = ("".join(filter(str.isdecimal, _ESCAPE.sub("", run[0]))) for run in _NUMBER.finditer(text))
        return any(
            number.endswith(ending) and len(number) <= len(ending) + _COUNTRY_DIGITS
            for number in numbers
            for ending in self.endings
        )


_GROUP: Final = 3


@lru_cache(maxsize=16)
def _spellings(plain: str) -> re.Pattern[str]:
    """Return the pattern of an id as a whole word, which does not match within a longer number."""
    if not SPELLED_NUMBER.fullmatch(plain):
        return re.compile(rf"(?<!\w){re.escape(plain)}(?!\w)")
    first = len(plain) % _GROUP or _GROUP
    groups = [plain[:first], *(plain[at : at + _GROUP] for at in range(first, len(plain), _GROUP))]
    number = r"[. \u00a0]?".join(groups)
    return re.compile(rf"(?<!\w)(?<!\d\.)0*{number}(?!\w)(?!\.\d{{3}}(?!\d))")
