"""Build recall filters from a search text and from the query parameters of a URL. Pure.

The search box accepts a recall's id, a telephone number in any notation, a customer's id, or a record id
of the CRM, and detects which it is. URLs contain the id of a stored search, never a telephone number or a
customer's id.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final

from integration.domain.phone_numbers import FULL_NUMBER_PREFIX, endings, whole_numbers
from integration.domain.recall import Filter, State
from integration.domain.timestamps import read_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from integration.domain.account import Account

# Query parameters, with the field of `Filter` that each sets.
MOMENTS: Final = {
    "from": "created_from",
    "until": "created_until",
    "due_from": "date_from",
    "due_until": "date_until",
}
TEXTS: Final = {
    "campaign": "campaign_id",
    "source": "source",
    "route": "route",
    "words": "words",
    "outcome": "outcome",
}
# Parameters of earlier versions, which had a telephone number or a customer's id in the URL.
PERSONAL: Final = ("q", "customer", "phone", "telephone")
NAMES: Final = ("search", "state", "account", *TEXTS, *MOMENTS)
LONGEST: Final = 256
SPELLED_NUMBER: Final = re.compile(r"[0-9]+(?:[. \u00a0][0-9]{3})*")
_RECALL_ID: Final = re.compile(r"rc_[0-9a-z]{0,12}")
_ID: Final = re.compile(r"(?:rc|dl|pk)_[0-9a-z]+")


def plain_id(text: str) -> str:
    """Return a number without separators and leading zeros: `052.123.456` becomes `52123456`.

    Other texts are unchanged. The store's search has the same rule (Find.plain_id in
    store/lua/recalls.lua).
    """
    found = SPELLED_NUMBER.fullmatch(text)
    return re.sub(r"\D", "", text).lstrip("0") or "0" if found else text


@dataclass(frozen=True, slots=True)
class SearchTerm:
    """The term of a search. `telephones` has the same meaning as in `Filter`."""

    text: str = field(repr=False)
    telephones: tuple[str, ...] = field(repr=False)
    _accounts: tuple[Account, ...] = field(repr=False)

    @property
    def is_id(self) -> bool:
        """True for an id such as `rc_4f2a`, or its start. Such a term does not identify a person."""
        return _ID.fullmatch(self.text.lower()) is not None

    @property
    def filter_fields(self) -> dict[str, Any]:
        """The fields of `Filter` with which recalls match the term."""
        if _RECALL_ID.fullmatch(self.text.lower()):
            return {"prefix": self.text.lower()}
        return {"about": self.text, "telephones": self.telephones}

    def is_in(self, value: Any) -> bool:
        """Return True if a value in JSON data equals the term as text, number or telephone number."""
        if isinstance(value, dict):
            return any(map(self.is_in, value.values()))
        if isinstance(value, list):
            return any(map(self.is_in, value))
        return value is not None and not isinstance(value, bool) and self._equals(str(value).strip())

    def _equals(self, text: str) -> bool:
        if len(text) > LONGEST:
            return False
        return plain_id(text) == plain_id(self.text) or self._is_telephone(text)

    def _is_telephone(self, text: str) -> bool:
        digits = "".join(str(int(sign)) for sign in text if sign.isdecimal())
        # Reading a number is slow, and most texts are not this one.
        if not any(digits.endswith(number[-_ALIKE:]) for number in self.telephones):
            return False
        spelled = whole_numbers(text, self._accounts)
        return any(
            number in spelled
            if number.startswith(FULL_NUMBER_PREFIX)
            else any(each.endswith(number) for each in spelled)
            for number in self.telephones
        )


_ALIKE: Final = 4


def search_term(text: str, accounts: Iterable[Account], *, whole: bool) -> SearchTerm:
    """Return the term for a text from the search box. With `whole`, only whole telephone numbers match.

    A user who sees masked numbers needs `whole`: a search by the end of a number would reveal its digits.
    """
    text, accounts = text.strip()[:LONGEST], tuple(accounts)
    telephones = whole_numbers(text, accounts) if whole else endings(text, accounts)
    return SearchTerm(text, telephones, accounts)


@dataclass(frozen=True, slots=True)
class FilterQuery:
    """The filter that the query parameters of a URL describe.

    `texts` has the values of the known parameters. `unread` has the names of parameters that are invalid
    or no longer accepted. `searched` is the text of the stored search, or "" without one.
    """

    which: Filter
    texts: Mapping[str, str]
    unread: tuple[str, ...] = ()
    searched: str = field(default="", repr=False)

    @property
    def is_all(self) -> bool:
        """True if the filter matches every recall."""
        return all(getattr(self.which, each.name) is None for each in fields(self.which))


def read_filters(parameters: Mapping[str, str], zone: tzinfo, term: SearchTerm | None = None) -> FilterQuery:
    """Return the filter for the query parameters in `parameters`. Times without an offset are in `zone`.

    `term` is the stored search of the parameter `search`, or None if there is none. If a parameter is
    invalid or is in PERSONAL, the filter matches no recalls and `unread` has the parameter's name.
    """
    texts = {name: parameters[name].strip()[:LONGEST] for name in NAMES if parameters.get(name, "").strip()}
    read: dict[str, Any] = {name: texts[text] for text, name in TEXTS.items() if text in texts}
    unread = [name for name in PERSONAL if parameters.get(name)]
    for name, moment in MOMENTS.items():
        if name in texts:
            read[moment] = read_iso(texts[name], zone)
            unread += [name] if read[moment] is None else []
    if "state" in texts:
        read["state"] = State(texts["state"]) if texts["state"] in set(State) else None
        unread += ["state"] if read["state"] is None else []
    if "account" in texts:
        read["accounts"] = frozenset({texts["account"]})
    if "search" in texts:
        read |= term.filter_fields if term else {}
        unread += [] if term else ["search"]
    if unread:
        read["accounts"] = frozenset()
    return FilterQuery(Filter(**read), texts, tuple(unread), term.text if term else "")
