"""Models of the `[sources.NAME]` tables, the presets, and the checks that types cannot express."""

from integration.config.source_models.lookups import (
    HUBSPOT_CONTACTS,
    JSON_LOOKUPS,
    Bitrix24Lookup,
    HubspotLookup,
    JsonLookup,
    Lookup,
    MetaLeadLookup,
    hubspot_object,
    hubspot_record,
    is_hubspot_object,
)
from integration.config.source_models.models import (
    SOURCE_KINDS,
    HubspotSource,
    JsonSource,
    SalesforceSource,
    Source,
    lookup_of,
)
from integration.config.source_models.preset_files import Preset, presets, with_preset

__all__ = [
    "HUBSPOT_CONTACTS",
    "JSON_LOOKUPS",
    "SOURCE_KINDS",
    "Bitrix24Lookup",
    "HubspotLookup",
    "HubspotSource",
    "JsonLookup",
    "JsonSource",
    "Lookup",
    "MetaLeadLookup",
    "Preset",
    "SalesforceSource",
    "Source",
    "hubspot_object",
    "hubspot_record",
    "is_hubspot_object",
    "lookup_of",
    "presets",
    "with_preset",
]
