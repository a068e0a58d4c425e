"""Jinja expressions and templates of the configuration, compiled once and run in a sandbox.

A template can only read items of its data. It cannot read attributes of Python objects, call functions or
loop, so its time and output are bounded by the template and the data. A placeholder with an absent, null
or blank value is an error. Errors describe values by their type or shape and do not quote them.
"""

from integration.mapping.expressions.checker import TemplateFaultError
from integration.mapping.expressions.compiled import (
    LOOKUP_NAMES,
    MAX_SOURCE,
    NAMES,
    Expression,
    TemplateContext,
    Text,
    expression,
    text,
)
from integration.mapping.expressions.data import (
    MAX_TEXT,
    NOT_LOOKED_UP,
    Absent,
    LookupNeeded,
    NotLookedUp,
    as_text,
    is_missing,
    items_of,
    kind,
)
from integration.mapping.expressions.filters import FILTERS

__all__ = [
    "FILTERS",
    "LOOKUP_NAMES",
    "MAX_SOURCE",
    "MAX_TEXT",
    "NAMES",
    "NOT_LOOKED_UP",
    "Absent",
    "Expression",
    "LookupNeeded",
    "NotLookedUp",
    "TemplateContext",
    "TemplateFaultError",
    "Text",
    "as_text",
    "expression",
    "is_missing",
    "items_of",
    "kind",
    "text",
]
