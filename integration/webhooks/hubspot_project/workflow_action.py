"""The custom workflow action "Schedule a callback" of a HubSpot project app. Pure.

Source: developers.hubspot.com/docs/apps/developer-platform/add-features/custom-workflow-actions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from integration.mapping.route_reads import EVENT_FIELD, compared_with, fields_of, texts_of, under

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.config.models import Route

_LABELS: Final = {
    "account": ("Account", "The wolkvox account that makes the call"),
    "campaign": ("Campaign", "The id of a predictive campaign in wolkvox"),
    "customer": ("Customer", "The customer's id, as it was loaded into the campaign"),
    "telephone": ("Telephone", "The number to call"),
    "date": ("Date", "The time of the callback"),
}
_OUTPUTS: Final = {"delivery": "Delivery", "recall_id": "Callback id", "outcome": "Outcome"}
_INPUTS: Final = "inputFields"


@dataclass(frozen=True, slots=True)
class ActionInput:
    """A field that the user of a workflow fills in. With `options` it is a drop-down."""

    name: str
    is_date: bool = False
    options: tuple[str, ...] = ()


def reads_inputs(routes: Sequence[Route]) -> bool:
    """Return True if a route reads a field of a custom workflow action."""
    return bool(under(_INPUTS, fields_of(routes)))


def routes_for_action(source: str, accounts: Sequence[str]) -> str:
    """Return the `[[routes]]` tables that read the action's fields, one for each account."""
    return "\n\n".join(
        f"""[[routes]]
name = "callback from a workflow: {account}"
source = "{source}"
account = "{account}"
when = "event.inputFields.account == '{account}'"
campaign_id = "{{{{ event.inputFields.campaign }}}}"
customer_id = "{{{{ event.inputFields.customer }}}}"
recall_telephone = "{{{{ event.inputFields.telephone }}}}"
recall_date = "{{{{ event.inputFields.date }}}}\""""
        for account in accounts
    )


def workflow_action(uid: str, url: str, routes: Sequence[Route], accounts: Sequence[str]) -> dict[str, Any]:
    """Return the definition of the action.

    Its fields are those that the routes read. If they read none, the fields are account, campaign, customer,
    telephone and date, as `routes_for_action` reads them.
    """
    inputs = _inputs(routes) or _usual_inputs(accounts)
    config: dict[str, Any] = {
        "actionUrl": url,
        "isPublished": True,
        "supportedClients": [{"client": "WORKFLOWS"}],
        "inputFields": [_input_field(each) for each in inputs],
        "outputFields": [
            {"typeDefinition": {"name": name, "type": "string", "fieldType": "text"}} for name in _OUTPUTS
        ],
        "labels": {"en": _labels(inputs)},
        "objectTypes": ["CONTACT"],
    }
    # HubSpot sends only the contact's properties that are named here.
    if properties := under("object.properties", fields_of(routes)):
        config["objectRequestOptions"] = {"properties": list(properties)}
    return {"uid": uid, "type": "workflow-action", "config": config}


def _inputs(routes: Sequence[Route]) -> list[ActionInput]:
    dates = {
        path[1:] for route in routes for path in EVENT_FIELD.findall(texts_of(route).get("recall_date", ""))
    }
    return [
        ActionInput(
            name,
            is_date=f"{_INPUTS}.{name}" in dates,
            options=compared_with(routes, f"{_INPUTS}.{name}"),
        )
        for name in under(_INPUTS, fields_of(routes))
    ]


def _usual_inputs(accounts: Sequence[str]) -> list[ActionInput]:
    return [
        ActionInput(name, is_date=name == "date", options=tuple(accounts) if name == "account" else ())
        for name in _LABELS
    ]


def _input_field(field: ActionInput) -> dict[str, Any]:
    definition: dict[str, Any] = {"name": field.name, "type": "string", "fieldType": "text"}
    values = ["STATIC_VALUE", "OBJECT_PROPERTY"]
    if field.options:
        options = [{"label": option, "value": option} for option in field.options]
        definition.update(type="enumeration", fieldType="select", options=options)
        values = ["STATIC_VALUE"]
    elif field.is_date:
        definition.update(type="datetime", fieldType="date")
    return {"typeDefinition": definition, "supportedValueTypes": values, "isRequired": True}


def _labels(inputs: Sequence[ActionInput]) -> dict[str, Any]:
    texts = {each.name: _LABELS.get(each.name, (each.name, each.name)) for each in inputs}
    return {
        "actionName": "Schedule a callback",
        "actionDescription": "Asks wolkvox to call the customer at a date.",
        "actionCardContent": "Schedule a callback",
        "inputFieldLabels": {name: label for name, (label, _) in texts.items()},
        "inputFieldDescriptions": {name: description for name, (_, description) in texts.items()},
        "outputFieldLabels": dict(_OUTPUTS),
    }
