"""The options of a drop-down in HubSpot's workflow editor. Pure.

HubSpot posts to the `optionsUrl` of an input field when a user opens the drop-down, searches it, or loads
more options. Source: "Using external data" in
https://developers.hubspot.com/docs/api-reference/latest/automation/workflow-actions/custom-action-reference.
_OPTIONS_BY_ROUTE_KEY has the functions that list the options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from integration.domain.errors import UnreadableError
from integration.mapping.route_reads import ACTION_INPUTS, compared_with, read_by, under
from integration.webhooks.providers.bodies import json_of
from integration.webhooks.providers.replies import as_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from integration.config.models import Route
    from integration.domain.delivery import Delivery, Reply

MOST_OPTIONS: Final = 100
ACCOUNT_INPUT: Final = "account"
"""The usual name of the input field for the account, which `ringback hubspot project` writes."""

_LONGEST_CURSOR: Final = 9


class Option(NamedTuple):
    """An option: the value that the action sends, and the text that the user sees."""

    value: str
    label: str


def options_reply(delivery: Delivery, routes: Sequence[Route]) -> Reply:
    """Return a page of at most MOST_OPTIONS options. `routes` are the routes of the source.

    Raise UnreadableError or UnsupportedTypeError if the body is not a request for options.
    """
    body = json_of(delivery)
    name = body.get("inputFieldName") if isinstance(body, dict) else None
    if not isinstance(name, str):
        raise UnreadableError("inputFieldName", "not a text", "the name of the input field")
    search, start = _fetch_options(body.get("fetchOptions"))
    found = [
        option
        for option in options_of(name, routes)
        if search in option.value.casefold() or search in option.label.casefold()
    ]
    # The vendor's sample has the three keys in each option.
    options = [
        {"label": option.label, "description": option.label, "value": option.value}
        for option in found[start : start + MOST_OPTIONS]
    ]
    page: dict[str, Any] = {"options": options, "searchable": True}
    if start + MOST_OPTIONS < len(found):
        page["after"] = str(start + MOST_OPTIONS)
    return as_json(200, page)


def options_of(name: str, routes: Sequence[Route]) -> tuple[Option, ...]:
    """Return the values that an input field may have, in the order of the routes, without duplicates.

    They are the accounts of the routes that read the field in `account`, else the texts with which `when`
    compares it. A field of another kind has none, except ACCOUNT_INPUT, which then has the accounts of all
    routes.
    """
    for key, provide in _OPTIONS_BY_ROUTE_KEY.items():
        reading = [route for route in routes if name in under(ACTION_INPUTS, read_by([route], key))]
        if options := tuple(dict.fromkeys(provide(name, reading))):
            return options
    return tuple(dict.fromkeys(_accounts(name, routes))) if name == ACCOUNT_INPUT else ()


def _accounts(_name: str, routes: Sequence[Route]) -> Iterable[Option]:
    return (Option(account, account) for route in routes for account in route.account_names)


def _compared_texts(name: str, routes: Sequence[Route]) -> Iterable[Option]:
    return (Option(text, text) for text in compared_with(routes, f"{ACTION_INPUTS}.{name}"))


_OPTIONS_BY_ROUTE_KEY: Final[Mapping[str, Callable[[str, Sequence[Route]], Iterable[Option]]]] = {
    "account": _accounts,
    "when": _compared_texts,
}
"""The functions that list the options of an input field, by the route key whose template reads the field.

A function is called with the field's name and the routes that read it. The first non-empty list is used.
"""


def account_inputs(routes: Sequence[Route]) -> tuple[str, ...]:
    """Return the names of the input fields that the templates of `account` read."""
    return under(ACTION_INPUTS, read_by(routes, "account"))


def _fetch_options(value: Any) -> tuple[str, int]:
    """Return the case-folded text to search for, and the index of the first option.

    The text is "" if all options are requested. Raise UnreadableError for an invalid cursor.
    """
    options = value if isinstance(value, dict) else {}
    search, after = options.get("q"), options.get("after")
    if after is not None and not _is_cursor(after):
        raise UnreadableError(
            "fetchOptions.after", "not a cursor", "the cursor that the previous page returned"
        )
    return search.strip().casefold() if isinstance(search, str) else "", int(after or 0)


def _is_cursor(value: Any) -> bool:
    return isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= _LONGEST_CURSOR
