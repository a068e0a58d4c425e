"""Find the fields of an event that the templates of routes read. Pure."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from jinja2 import nodes
from jinja2.parser import Parser

from integration.mapping.expressions.environment import ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from integration.config.models import Route

ACTION_INPUTS: Final = "inputFields"
"""The table of an event of a HubSpot custom workflow action with its input fields."""
EVENT_FIELD: Final = re.compile(r"\bevent((?:\.[A-Za-z_]\w*)+)")
# The fields of a Salesforce notification that are not fields of its record.
_OF_NOTIFICATIONS: Final = frozenset({"notification_id", "object_type", "organization_id"})


def texts_of(route: Route) -> dict[str, str]:
    """Return the templates of a route by their key, without empty ones and the name of an account."""
    # `when` comes last: a field's own template tells more about its type than a condition.
    keys = ("account", "campaign_id", "customer_id", "recall_telephone", "recall_date", "when")
    texts = {key: text for key in keys if (text := getattr(route, key))}
    if not route.has_account_template:
        del texts["account"]
    return texts


def fields_of(routes: Sequence[Route]) -> tuple[str, ...]:
    """Return the event fields that templates read as `event.NAME`, such as `inputFields.phone`."""
    return _fields(text for route in routes for text in texts_of(route).values())


def read_by(routes: Iterable[Route], key: str) -> tuple[str, ...]:
    """Return the event fields that the templates of `key`, such as "account", read as `event.NAME`."""
    return _fields(texts_of(route).get(key, "") for route in routes)


def _fields(texts: Iterable[str]) -> tuple[str, ...]:
    found = (path[1:] for text in texts for path in EVENT_FIELD.findall(text))
    return tuple(dict.fromkeys(name for name in found if name not in _OF_NOTIFICATIONS))


def under(prefix: str, fields: Iterable[str]) -> tuple[str, ...]:
    """Return the fields that begin with `prefix` and a dot, without these."""
    return tuple(name.removeprefix(f"{prefix}.") for name in fields if name.startswith(f"{prefix}."))


def compared_with(routes: Sequence[Route], field: str) -> tuple[str, ...]:
    """Return the texts with which `when` compares an event field by `==` or `in`, without duplicates.

    `field` is a path below `event`, such as `propertyName` or `inputFields.account`.
    """
    found = (
        text for route in routes if route.when for text in _texts(route.when, ["event", *field.split(".")])
    )
    return tuple(dict.fromkeys(found))


def _texts(when: str, path: list[str]) -> Iterator[str]:
    tree = Parser(ENVIRONMENT, when, state="variable").parse_expression()
    for compare in nodes.Tuple([tree], "load").find_all(nodes.Compare):
        sides = (("", compare.expr), *((operand.op, operand.expr) for operand in compare.ops))
        for (_, left), (operator, right) in pairwise(sides):
            if operator in {"eq", "in"} and _path_of(left) == path:
                yield from _constants(right)
            elif operator == "eq" and _path_of(right) == path:
                yield from _constants(left)


def _path_of(node: nodes.Node) -> list[str]:
    """Return `["event", "a"]` for `event.a` or `event['a']`, and an empty list for other nodes."""
    match node:
        case nodes.Name():
            return [node.name]
        case nodes.Getattr():
            return [*_path_of(node.node), node.attr]
        case nodes.Getitem(arg=nodes.Const(value=str() as name)):
            return [*_path_of(node.node), name]
    return []


def _constants(node: nodes.Node) -> Iterator[str]:
    items = node.items if isinstance(node, nodes.List | nodes.Tuple) else [node]
    for item in items:
        if isinstance(item, nodes.Const) and isinstance(item.value, str):
            yield item.value
