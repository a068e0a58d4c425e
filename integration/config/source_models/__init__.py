"""The `[sources.NAME]` tables: models, presets, and the checks that the types cannot express."""

from integration.config.source_models.lookups import (
    HUBSPOT_CONTACTS,
    HubspotLookup,
    Lookup,
    hubspot_object,
    hubspot_record,
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
    "SOURCE_KINDS",
    "HubspotLookup",
    "HubspotSource",
    "JsonSource",
    "Lookup",
    "Preset",
    "SalesforceSource",
    "Source",
    "hubspot_object",
    "hubspot_record",
    "lookup_of",
    "presets",
    "with_preset",
]
