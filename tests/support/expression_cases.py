"""The event that expressions and texts read in their tests."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import strategies as st

from integration.mapping.expressions import (
    expression,
    text,
)

EVENT = {
    "a": "x",
    "null": None,
    "blank": " \t",
    "zero": 0,
    "yes": True,
    "number": 12345,
    "float": 12345.0,
    "items": ["first", "second"],
    "keys": "the field",
    "nested": {"deep": {"value": "found"}},
    "rows": [{"p": "1"}, {"p": "2"}],
    "holed": [{"p": "1"}, {"p": None}],
    "padded": "  Ana María  ",
}


NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)


json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abn"), inner, max_size=3),
    max_leaves=12,
)


def evaluate(source: str, **names):
    return expression(source).evaluate(event=EVENT, **names)


def render(source: str, **names):
    return text(source).render(event=EVENT, **names)
