"""The `[sources.NAME]` tables: models, presets, and the checks that the types cannot express."""

from integration.config.source_models.models import (
    SOURCE_KINDS,
    HubspotSource,
    JsonSource,
    Lookup,
    SalesforceSource,
    Source,
)
from integration.config.source_models.preset_files import Preset, presets, with_preset

__all__ = [
    "SOURCE_KINDS",
    "HubspotSource",
    "JsonSource",
    "Lookup",
    "Preset",
    "SalesforceSource",
    "Source",
    "presets",
    "with_preset",
]
