"""Check templates before they are compiled: only known names, filters, tests and methods are allowed."""

from __future__ import annotations

import difflib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn
from zoneinfo import ZoneInfo

from jinja2 import nodes

from integration.domain.dates import format_fault
from integration.mapping.expressions.filters import FILTERS, METHODS, TESTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_ALLOWED_NODES = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.Name, nodes.Const, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Getattr, nodes.Getitem, nodes.Slice,
    nodes.Filter, nodes.Test, nodes.Call, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.CondExpr, nodes.Concat, nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod,
    nodes.Neg, nodes.Pos,
)  # fmt: skip


class TemplateFaultError(ValueError):
    """A template or expression is invalid.

    `found` completes the sentence "the template has FOUND", and `allowed` completes the sentence "Use
    ALLOWED".
    """

    def __init__(self, found: str, allowed: str) -> None:
        super().__init__(f"the template has {found}. Use {allowed}")
        self.found = found
        self.allowed = allowed


class Checker:
    """Checks the syntax tree of one template, which may read the top-level names in `allowed`."""

    def __init__(self, allowed: frozenset[str]) -> None:
        self._allowed = allowed
        self._names: set[str] = set()
        self._variables: set[str] = set()
        self._defaulted_variables: set[str] = set()

    def reads_of(self, tree: nodes.Node) -> tuple[frozenset[str], frozenset[str]]:
        """Return the top-level names that the tree reads, and the keys of `vars` read without a default.

        A key counts as read with a default if the tree has a filter `default` or a test `defined` for it.
        Raise TemplateFaultError for a construct that is not allowed.
        """
        self._check(tree)
        return frozenset(self._names), frozenset(self._variables - self._defaulted_variables)

    def _check(self, node: nodes.Node) -> None:
        if not isinstance(node, _ALLOWED_NODES):
            raise TemplateFaultError(
                f"{type(node).__name__.lower()} in line {node.lineno}",
                "placeholders, filters, tests and {% if %} only",
            )
        check = self._CHECKS.get(type(node))
        if check is not None:
            check(self, node)
        for child in node.iter_child_nodes():
            self._check(child)

    def _check_name(self, node: Any) -> None:
        if node.name not in self._allowed:
            _unknown("name", node.name, self._allowed)
        self._names.add(node.name)

    def _check_field(self, node: Any) -> None:
        self._variables.update(_variable_of(node))

    def _check_filter(self, node: Any) -> None:
        if node.name not in FILTERS:
            _unknown("filter", node.name, FILTERS)
        self._check_arguments(node)
        if node.name in {"default", "d"}:
            self._defaulted_variables.update(_variable_of(node.node))
        if node.name == "map" and node.args:
            self._check_mapped_filter(node.args[0])
        if node.name == "date" and node.args:
            self._check_format(node.args[0])
        if node.name == "zone" and node.args:
            self._check_zone(node.args[0])

    def _check_test(self, node: Any) -> None:
        if node.name not in TESTS:
            _unknown("test", node.name, TESTS)
        self._check_arguments(node)
        if node.name in {"defined", "undefined"}:
            self._defaulted_variables.update(_variable_of(node.node))

    def _check_call(self, node: Any) -> None:
        if not isinstance(node.node, nodes.Getattr):
            raise TemplateFaultError(
                f"a function call in line {node.lineno}", "filters, such as {{ event.x | digits }}"
            )
        if node.node.attr not in METHODS:
            _unknown("method", node.node.attr, METHODS)
        self._check_arguments(node)

    def _check_arguments(self, node: Any) -> None:
        if node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateFaultError(
                f"* or ** before an argument in line {node.lineno}", "separate arguments"
            )

    def _check_mapped_filter(self, name: nodes.Expr) -> None:
        if not isinstance(name, nodes.Const) or name.value not in FILTERS:
            raise TemplateFaultError("map and an unknown filter", f"one of {', '.join(FILTERS)}")

    def _check_format(self, form: nodes.Expr) -> None:
        fault = (
            format_fault(form.value)
            if isinstance(form, nodes.Const) and isinstance(form.value, str)
            else None
        )
        if fault is not None:
            raise TemplateFaultError(fault, "a format such as %d/%m/%Y %H:%M")

    def _check_zone(self, name: nodes.Expr) -> None:
        if not isinstance(name, nodes.Const):
            return
        try:
            ZoneInfo(name.value)
        except (LookupError, ValueError, TypeError, OSError) as error:
            raise TemplateFaultError(
                "a time zone that does not exist", "an IANA name such as America/Bogota"
            ) from error

    _CHECKS: Mapping[type, Callable[..., None]] = MappingProxyType(
        {
            nodes.Name: _check_name,
            nodes.Getattr: _check_field,
            nodes.Getitem: _check_field,
            nodes.Filter: _check_filter,
            nodes.Test: _check_test,
            nodes.Call: _check_call,
        }
    )


def _variable_of(node: nodes.Node) -> frozenset[str]:
    """Return the key of `vars.key` or `vars['key']` as a set, or an empty set for all other nodes."""
    if not isinstance(node, nodes.Getattr | nodes.Getitem) or not isinstance(node.node, nodes.Name):
        return frozenset()
    key = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
    return frozenset({key}) if node.node.name == "vars" and isinstance(key, str) else frozenset()


def _unknown(kind: str, name: str, known: Iterable[str]) -> NoReturn:
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f'. Did you mean "{close[0]}"?' if close else ""
    raise TemplateFaultError(f"the unknown {kind} {name!r}", f"one of {', '.join(names)}{hint}")
