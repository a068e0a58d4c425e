"""Build recall filters from the search box and from the query parameters of a URL. Pure.

The search box accepts a recall's id, a telephone number in any notation, its last digits, a customer's id or
a record id of the CRM. The kind is detected from the text.
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
    "customer": "customer_id",
    "words": "words",
}
NAMES: Final = ("q", "state", "account", *TEXTS, *MOMENTS)
LONGEST: Final = 256
_RECALL_ID: Final = re.compile(r"rc_[0-9a-z]{0,12}")


@dataclass(frozen=True, slots=True)
class FilterQuery:
    """The filter of a URL, the texts of its parameters, and the names of parameters with an invalid value."""

    which: Filter
    texts: Mapping[str, str]
    unread: tuple[str, ...] = ()

    @property
    def is_all(self) -> bool:
        """True if the filter matches every recall."""
        return all(getattr(self.which, each.name) is None for each in fields(self.which))


def read_filters(parameters: Mapping[str, str], accounts: Iterable[Account], zone: tzinfo) -> FilterQuery:
    """Return the filter for the query parameters in `parameters`. Times without an offset are in `zone`.

    If a value is invalid, the filter matches no recalls and `unread` has the parameter's name.
    """
    texts = {name: parameters[name].strip()[:LONGEST] for name in NAMES if parameters.get(name, "").strip()}
    read: dict[str, Any] = {field: texts[name] for name, field in TEXTS.items() if name in texts}
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
    """Return the fields of `Filter` for a text from the search box."""
    if _RECALL_ID.fullmatch(text.lower()):
        return {"prefix": text.lower()}
    return {"about": text, "telephones": endings(text, accounts)}
