"""The `[sources.NAME]` tables: models, presets, and the checks that the types cannot express."""

from integration.config.source_models.models import (
    SOURCE_KINDS,
    HubspotSource,
    JsonSource,
    Lookup,
    SalesforceSource,
    Source,
)

__all__ = ["SOURCE_KINDS", "HubspotSource", "JsonSource", "Lookup", "SalesforceSource", "Source"]
