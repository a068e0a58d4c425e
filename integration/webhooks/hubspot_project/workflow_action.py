"""The custom workflow action "Schedule a callback" of a HubSpot project app. Pure.

Source: developers.hubspot.com/docs/apps/developer-platform/add-features/custom-workflow-actions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from integration.mapping.route_reads import ACTION_INPUTS, compared_with, fields_of, read_by, under
from integration.webhooks.hook_urls import options_url
from integration.webhooks.hubspot_options import ACCOUNT_INPUT, account_inputs

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


@dataclass(frozen=True, slots=True)
class ActionInput:
    """A field that the user of a workflow fills in.

    With `options` or `is_account` it is a drop-down, else with `is_date` a date and time. HubSpot
    requests the options of an `is_account` field from the receiver.
    """

    name: str
    is_date: bool = False
    is_account: bool = False
    options: tuple[str, ...] = ()


def reads_inputs(routes: Sequence[Route]) -> bool:
    """Return True if a route reads a field of a custom workflow action."""
    return bool(under(ACTION_INPUTS, fields_of(routes)))


def route_for_action(source: str, accounts: Sequence[str]) -> str:
    """Return the TOML text of a `[[routes]]` table that reads the fields of the action."""
    return f"""[[routes]]
name = "callback from a workflow"
source = "{source}"
account = "{{{{ event.inputFields.account }}}}"
accounts = {json.dumps(list(accounts))}
when = "event.inputFields"
campaign_id = "{{{{ event.inputFields.campaign }}}}"
customer_id = "{{{{ event.inputFields.customer }}}}"
recall_telephone = "{{{{ event.inputFields.telephone }}}}"
recall_date = "{{{{ event.inputFields.date }}}}\""""


def workflow_action(uid: str, url: str, routes: Sequence[Route]) -> dict[str, Any]:
    """Return the definition of the action, with the fields that the routes read.

    If the routes read no fields of an action, the fields are account, campaign, customer, telephone and
    date, as in `route_for_action`. `url` is the URL of the source's webhook.
    """
    inputs = _inputs(routes) or _usual_inputs()
    config: dict[str, Any] = {
        "actionUrl": url,
        "isPublished": True,
        "supportedClients": [{"client": "WORKFLOWS"}],
        "inputFields": [_input_field(each, url) for each in inputs],
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
    dates = under(ACTION_INPUTS, read_by(routes, "recall_date"))
    accounts = account_inputs(routes)
    return [
        ActionInput(
            name,
            is_date=name in dates,
            is_account=name in accounts,
            options=compared_with(routes, f"{ACTION_INPUTS}.{name}"),
        )
        for name in under(ACTION_INPUTS, fields_of(routes))
    ]


def _usual_inputs() -> list[ActionInput]:
    return [ActionInput(name, is_date=name == "date", is_account=name == ACCOUNT_INPUT) for name in _LABELS]


def _input_field(field: ActionInput, url: str) -> dict[str, Any]:
    definition: dict[str, Any] = {"name": field.name, "type": "string", "fieldType": "text"}
    values = ["STATIC_VALUE", "OBJECT_PROPERTY"]
    if field.is_account:
        definition.update(type="enumeration", fieldType="select", optionsUrl=options_url(url))
        values = ["STATIC_VALUE"]
    elif field.options:
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
        "actionDescription": "Asks wolkvox to call the customer at the given time.",
        "actionCardContent": "Schedule a callback",
        "inputFieldLabels": {name: label for name, (label, _) in texts.items()},
        "inputFieldDescriptions": {name: description for name, (_, description) in texts.items()},
        "outputFieldLabels": dict(_OUTPUTS),
    }
