"""Expressions and texts of the configuration, in Jinja's language, compiled once and run in a small sandbox.

A template reads items of the data it is given and nothing else: no attribute of a Python object is
ever reached, no function called, nothing looped over, so time and size are bounded by the template
and the data. Absent, null and blank never become text. Errors describe what was found, never quote it.
"""

from integration.mapping.expressions.checker import TemplateFaultError
from integration.mapping.expressions.compiled import (
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
    as_text,
    is_missing,
    kind,
)
from integration.mapping.expressions.filters import FILTERS

__all__ = [
    "FILTERS",
    "MAX_SOURCE",
    "MAX_TEXT",
    "NAMES",
    "NOT_LOOKED_UP",
    "Absent",
    "Expression",
    "LookupNeeded",
    "TemplateContext",
    "TemplateFaultError",
    "Text",
    "as_text",
    "expression",
    "is_missing",
    "kind",
    "text",
]
