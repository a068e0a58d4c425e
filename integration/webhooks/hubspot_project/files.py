"""The files of a HubSpot project app, derived from a source and its routes. Pure.

Sources, at developers.hubspot.com/docs/apps/developer-platform: build-apps/app-configuration and
add-features/configure-webhooks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from integration.clients.lookups.hubspot import scope_of
from integration.config.source_models import HUBSPOT_CONTACTS, hubspot_object
from integration.domain.errors import RingbackError
from integration.mapping.route_reads import compared_with
from integration.webhooks.hubspot_project.workflow_action import workflow_action

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from integration.config.models import Route
    from integration.config.source_models import HubspotSource

PROJECT_FILE: Final = "hsproject.json"
APP_FILE: Final = "src/app/app-hsmeta.json"
WEBHOOKS_FILE: Final = "src/app/webhooks/webhooks-hsmeta.json"
ACTION_FILE: Final = "src/app/workflow-actions/schedule-callback-hsmeta.json"

PLATFORM_VERSION: Final = "2026.09"
# The objects' names in subscriptions, by their names in paths. Custom objects have their type id in both.
_OBJECT_TYPES: Final = {
    "contacts": "contact",
    "companies": "company",
    "deals": "deal",
    "tickets": "ticket",
    "products": "product",
    "line_items": "line_item",
}
_PROPERTY_CHANGE: Final = "propertyChange"
_ANY_OBJECT: Final = "object"
_LONGEST_NAME: Final = 40  # a uid has 64 characters at most (@hubspot/project-parsing-lib)


def project_files(source: HubspotSource, routes: Sequence[Route]) -> dict[str, dict[str, Any]]:
    """Return the JSON of each file by its path in the project.

    There is no webhooks file if no route needs subscriptions. Raise RingbackError if the source has no
    `public_url` that starts with https.
    """
    url = source.public_url
    if url is None or not url.startswith("https://"):
        raise RingbackError(
            f"sources.{source.name} has no public_url that starts with https://. HubSpot posts to this "
            f'address. Add: public_url = "https://HOST/hooks/{source.name}"'
        )
    name = source.name
    uid = f"ringback-{name[:_LONGEST_NAME]}"
    subscriptions = _subscriptions(source, routes)
    files = {
        PROJECT_FILE: {"name": f"ringback-{name}", "srcDir": "src", "platformVersion": PLATFORM_VERSION},
        APP_FILE: _app(f"{uid}-app", name, _scopes(source, subscriptions)),
        ACTION_FILE: workflow_action(f"{uid}-callback", url, routes),
    }
    if any(subscriptions.values()):
        files[WEBHOOKS_FILE] = _webhooks(f"{uid}-webhooks", url, subscriptions)
    return files


def _app(uid: str, name: str, scopes: Sequence[str]) -> dict[str, Any]:
    return {
        "uid": uid,
        "type": "app",
        "config": {
            "name": f"Ringback {name}",
            "description": "Schedules callbacks in wolkvox.",
            "distribution": "private",
            "auth": {
                "type": "static",
                "requiredScopes": list(scopes),
                "optionalScopes": [],
                "conditionallyRequiredScopes": [],
            },
            "permittedUrls": {"fetch": [], "iframe": [], "img": []},
        },
    }


def _webhooks(uid: str, url: str, subscriptions: Mapping[str, Sequence[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "uid": uid,
        "type": "webhooks",
        "config": {
            "settings": {"targetUrl": url, "maxConcurrentRequests": 10},
            "subscriptions": {**subscriptions, "hubEvents": []},
        },
    }


def _subscriptions(source: HubspotSource, routes: Sequence[Route]) -> dict[str, list[dict[str, Any]]]:
    """Return the subscriptions without duplicates, by the name of their list in the file.

    Types of the form `object.…` belong to HubSpot's newer format, `crmObjects`.
    """
    found: dict[str, list[dict[str, Any]]] = {"crmObjects": [], "legacyCrmObjects": []}
    for subscription in (each for route in routes for each in _of_route(source, route)):
        newer = subscription["subscriptionType"].startswith(f"{_ANY_OBJECT}.")
        place = found["crmObjects" if newer else "legacyCrmObjects"]
        if subscription not in place:
            place.append(subscription)
    return found


def _of_route(source: HubspotSource, route: Route) -> Iterator[dict[str, Any]]:
    """Yield the subscriptions for the types and properties in a route's `when`.

    If `when` has no type, the type is `object.propertyChange`. A property change needs a property in
    `when`.
    """
    properties = compared_with([route], "propertyName")
    types = (*compared_with([route], "subscriptionType"), *compared_with([route], "eventType"))
    for kind in dict.fromkeys(types or (f"{_ANY_OBJECT}.{_PROPERTY_CHANGE}",)):
        newer = kind.startswith(f"{_ANY_OBJECT}.")
        for about in ({"objectType": each} for each in _object_types(source, route)) if newer else ({},):
            if not kind.endswith(f".{_PROPERTY_CHANGE}"):
                yield {"subscriptionType": kind, **about, "active": True}
                continue
            for name in properties:
                yield {"subscriptionType": kind, **about, "propertyName": name, "active": True}


def _object_types(source: HubspotSource, route: Route) -> list[str]:
    """Return the objects whose type ids are in `when`, else the lookup's object, else contacts.

    The names are those in subscriptions.
    """
    looked_up = None if source.lookup is None else source.lookup.object
    named = compared_with([route], "objectTypeId") or (looked_up or HUBSPOT_CONTACTS,)
    return [_OBJECT_TYPES.get(hubspot_object(each), each) for each in named]


def _scopes(source: HubspotSource, subscriptions: Mapping[str, Sequence[dict[str, Any]]]) -> list[str]:
    """Return the scopes for contacts, for the records of the lookup, and for the subscriptions."""
    looked_up = () if source.lookup is None else (source.lookup.object, source.lookup.associated)
    newer = (hubspot_object(each["objectType"]) for each in subscriptions["crmObjects"])
    older = (each["subscriptionType"].partition(".")[0] for each in subscriptions["legacyCrmObjects"])
    # Some older types do not concern an object of the CRM, for example conversation.creation.
    known = (name for each in older if (name := hubspot_object(each)) in _OBJECT_TYPES)
    objects = (HUBSPOT_CONTACTS, *filter(None, looked_up), *newer, *known)
    return list(dict.fromkeys(map(scope_of, objects)))
