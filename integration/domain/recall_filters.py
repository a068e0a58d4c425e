"""From what people type to the recalls they mean: the search box and the filters of an address. Pure.

What is typed may be the id of a recall, a telephone however it is written or its last digits, a customer
or a record of the CRM; which of them it is need not be said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from integration.domain.phone_numbers import endings
from integration.domain.recall import Filter, State
from integration.domain.timestamps import read_iso

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import tzinfo

    from integration.domain.account import Account

# The fields of a filter that an address may hold, as they are called there.
MOMENTS: Final = {
    "from": "created_from",
    "until": "created_until",
    "due_from": "date_from",
    "due_until": "date_until",
}
WORDS: Final = {"campaign": "campaign_id", "source": "source", "route": "route", "customer": "customer_id"}
NAMES: Final = ("q", "state", "account", *WORDS, *MOMENTS)
LONGEST: Final = 256
_RECALL_ID: Final = re.compile(r"rc_[0-9a-z]{0,12}")


@dataclass(frozen=True, slots=True)
class FilterQuery:
    """What an address asks for: the filter, its texts as they were given, and which could not be read."""

    which: Filter
    given: Mapping[str, str]
    unread: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """Whether nothing is filtered."""
        return all(getattr(self.which, each.name) is None for each in fields(self.which))


def read_filters(given: Mapping[str, str], accounts: Iterable[Account], zone: tzinfo) -> FilterQuery:
    """Read the filters of an address; times without a zone are on the clock of `zone`.

    A filter that cannot be read finds nothing, rather than everything: it is named in `unread`.
    """
    texts = {name: given[name].strip()[:LONGEST] for name in NAMES if given.get(name, "").strip()}
    read: dict[str, Any] = {field: texts[name] for name, field in WORDS.items() if name in texts}
    unread = []
    for name, field in MOMENTS.items():
        if name in texts:
            read[field] = read_iso(texts[name], zone)
            unread += [name] if read[field] is None else []
    if "state" in texts:
        read["state"] = State(texts["state"]) if texts["state"] in set(State) else None
        unread += ["state"] if read["state"] is None else []
    if "account" in texts:
        read["accounts"] = frozenset({texts["account"]})
    if "q" in texts:
        read |= typed(texts["q"], accounts)
    if unread:
        read["accounts"] = frozenset()
    return FilterQuery(Filter(**read), texts, tuple(unread))


def typed(text: str, accounts: Iterable[Account]) -> dict[str, Any]:
    """Give the fields of a filter for what was typed into the search box."""
    if _RECALL_ID.fullmatch(text.lower()):
        return {"prefix": text.lower()}
    return {"about": text, "telephones": endings(text, accounts)}
