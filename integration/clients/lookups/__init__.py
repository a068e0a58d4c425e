"""Lookups: read the records of events that carry only an id. One module for each CRM.

`look_up` calls the module for the class of the lookup's settings. Each module takes ids and returns records
by id, or raises LookupFailedError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from integration.clients.lookups import bitrix24, hubspot, meta_leads
from integration.clients.lookups.results import FailureKind, LookupFailedError, LookupResult, Variables
from integration.config.source_models import Bitrix24Lookup, HubspotLookup, MetaLeadLookup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from integration.config.source_models import Lookup

__all__ = ["UNREADABLE_SAMPLES", "FailureKind", "LookupFailedError", "LookupResult", "Variables", "look_up"]

# The reasons why a record with a made-up id may fail although the credentials are accepted. Meta does not
# distinguish a lead that does not exist from one that the token may not read.
UNREADABLE_SAMPLES: Final = frozenset({meta_leads.UNKNOWN, bitrix24.NOT_READABLE})

_READERS: dict[type[Lookup], Callable[[Any, Sequence[str]], LookupResult]] = {
    HubspotLookup: hubspot.read_records,
    Bitrix24Lookup: bitrix24.read_records,
    MetaLeadLookup: meta_leads.read_records,
}


def look_up(lookup: Lookup, ids: Sequence[str]) -> LookupResult:
    """Return the records with these ids, which are the `lookup_id` of events.

    The call takes at most 40 s. Thread-safe. Raise LookupFailedError.
    """
    return _READERS[type(lookup)](lookup, ids)
