"""The Jinja sandbox in which templates run. They read data by keys and cannot access Python objects."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from jinja2.sandbox import ImmutableSandboxedEnvironment

from integration.mapping.expressions.data import (
    Absent,
    bounded,
    collected,
    field_of,
    is_missing,
    is_number,
    item_of,
    items_of,
)
from integration.mapping.expressions.filters import jinja_filters, jinja_tests

if TYPE_CHECKING:
    from jinja2.runtime import Context


class _Environment(ImmutableSandboxedEnvironment):
    """A sandbox in which attributes and indexes read only items of data."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return an item of a mapping or a list, or a part of a date, as `field_of` does."""
        return field_of(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return an item of a mapping, list or text by key or index."""
        return item_of(obj, argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:  # noqa: ARG002  (Jinja's)
        """Return the result of an operator for two numbers, or of `+` for two texts or two lists.

        If an operand is absent or null, the result is absent. Raise TypeError for other operands.
        """
        if is_missing(left) or is_missing(right):
            return Absent()
        if is_number(left) and is_number(right):
            return self.binop_table[operator](left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return bounded(left + right)
        left, right = items_of(left), items_of(right)
        if operator == "+" and isinstance(left, list) and isinstance(right, list):
            return collected(itertools.chain(left, right))
        raise TypeError(operator)

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:  # noqa: ARG002  (Jinja's)
        """Return a number with a sign, or Absent for a missing value. Raise TypeError otherwise."""
        if is_missing(arg):
            return Absent()
        if not is_number(arg):
            raise TypeError(operator)
        return self.unop_table[operator](arg)


def _environment() -> _Environment:
    environment = _Environment(undefined=Absent, autoescape=False, cache_size=0, optimized=False)
    environment.globals.clear()
    environment.filters = {**jinja_filters()}
    environment.tests = {**jinja_tests()}
    return environment


ENVIRONMENT = _environment()
