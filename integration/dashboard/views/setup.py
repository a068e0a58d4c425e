"""How a source's sender is set up: its address, the fields that the routes read, a sample, a command. Pure.

What a sender signs with stays out of it: commands read the secret from a variable of the shell.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import phonenumbers

from integration.telemetry.redaction import DOTS
from integration.webhooks.hook_urls import hook_path, public_url, secret_path

if TYPE_CHECKING:
    from datetime import datetime

    from integration.config.models import Config, Route
    from integration.config.source_models import JsonSource, Source
    from integration.domain.account import Account

_FIELD: Final = re.compile(r"\bevent((?:\.[A-Za-z_]\w*)+)")
_EQUALS: Final = re.compile(r"\bevent((?:\.[A-Za-z_]\w*)+)\s*==\s*['\"]([^'\"]*)['\"]")
_DATE_FORM: Final = re.compile(r"date\(\s*['\"]([^'\"]+)['\"]\s*\)")
_LIST: Final = re.compile(r"body((?:\.[A-Za-z_]\w*)+)")
_PROPERTY: Final = re.compile(r"event\.propertyName\s*==\s*['\"]([^'\"]+)['\"]")
# Beside a record's own fields every Salesforce event has these.
_OF_SUBSCRIPTIONS: Final = frozenset(
    {"appId", "eventId", "objectId", "occurredAt", "portalId", "propertyName", "propertyValue"}
    | {"subscriptionId", "subscriptionType", "attemptNumber", "changeSource", "sourceId"}
)
_GIVEN: Final = frozenset({"notification_id", "object_type", "organization_id"})


@dataclass(frozen=True, slots=True)
class Address:
    """A source's address: whole with `revealed`, else with dots in place of its key."""

    text: str
    has_key: bool


def address_of(source: Source, root: str, *, revealed: bool = False) -> Address:
    """Give the address that a sender posts to; `root` is ours, `https://HOST`, where none is configured."""
    known = public_url(source)
    if known is not None:
        return Address(known, has_key=False)
    has_key = source.url_key is not None
    path = secret_path(source) if revealed or not has_key else f"{hook_path(source)}/{DOTS}"
    return Address(root.rstrip("/") + path, has_key=has_key)


def texts_of(route: Route) -> dict[str, str]:
    """Give the templates of a route that there are, by their key."""
    # What a field is for says more of it than that a condition looks at it.
    keys = ("campaign_id", "customer_id", "recall_telephone", "recall_date", "when")
    return {key: text for key in keys if (text := getattr(route, key))}


def fields_of(routes: tuple[Route, ...]) -> tuple[str, ...]:
    """Name the fields of an event that the routes read, such as `inputFields.phone`, each once."""
    found = (
        path[1:] for route in routes for text in texts_of(route).values() for path in _FIELD.findall(text)
    )
    return tuple(dict.fromkeys(name for name in found if name not in _GIVEN))


def properties_of(routes: tuple[Route, ...]) -> tuple[str, ...]:
    """Name the HubSpot properties whose change the routes wait for."""
    found = (name for route in routes if route.when for name in _PROPERTY.findall(route.when))
    return tuple(dict.fromkeys(found))


def under(prefix: str, fields: tuple[str, ...]) -> tuple[str, ...]:
    """Name the fields that lie under a table of the event, without it."""
    return tuple(name.removeprefix(f"{prefix}.") for name in fields if name.startswith(f"{prefix}."))


def keys_of(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Name the fields that a HubSpot workflow has to send: no tables, and none that HubSpot sets itself."""
    return tuple(name for name in fields if "." not in name and name not in _OF_SUBSCRIPTIONS)


# --- a sample ----------------------------------------------------------------------------------


def sample_of(config: Config, source: Source, tomorrow: datetime) -> str:
    """Give a body that the source's first route takes, as far as its templates tell; JSON.

    `tomorrow` is a moment in the future, aware.
    """
    routes = config.routes_by_source.get(source.name, ())
    event: dict[str, Any] = {}
    if routes:
        account = config.accounts[routes[0].account]
        for key, text in texts_of(routes[0]).items():
            for path in _FIELD.findall(text):
                _put(event, path[1:], _value(key, text, account, tomorrow))
        for path, word in _EQUALS.findall(routes[0].when or ""):
            _put(event, path[1:], word, anew=True)
    events = getattr(source, "events", None)
    within = _LIST.fullmatch(events) if events else None
    body: dict[str, Any] = event
    if within:
        body = {}
        _put(body, within[1][1:], [event])
    return json.dumps(body, ensure_ascii=False)


def _put(table: dict[str, Any], path: str, value: Any, *, anew: bool = False) -> None:
    *way, last = path.split(".")
    for part in way:
        inner = table.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        table = inner
    if anew or last not in table:
        table[last] = value


def _value(key: str, text: str, account: Account, tomorrow: datetime) -> str:
    if key == "recall_telephone":
        return _telephone(account.country)
    if key == "recall_date":
        form = _DATE_FORM.search(text)
        moment = tomorrow.astimezone(account.timezone)
        return moment.strftime(form[1]) if form else moment.isoformat(timespec="seconds")
    return {"campaign_id": "12345", "customer_id": "80123456"}.get(key, "x")


def _telephone(country: str) -> str:
    example = phonenumbers.example_number_for_type(country, phonenumbers.PhoneNumberType.MOBILE)
    return "" if example is None else str(example.national_number)


# --- a command that sends it -------------------------------------------------------------------

_SIGNED_BODY: Final = {
    "hex": "od -An -v -tx1 | tr -d ' \\n'",
    "base64": "base64 | tr -d '\\n'",
}


def command_of(source: JsonSource, address: str, sample: str) -> str:
    """Give shell lines that post the sample as the sender would; `SECRET` is a variable of the shell."""
    lines = [f"body={_quoted(sample)}", *_proof(source)]
    headers = ["-H 'Content-Type: application/json'", *_headers(source)]
    call = " \\\n  ".join([f"curl -sS {_quoted(address)}", *headers, '--data-binary "$body"'])
    return "\n".join([*lines, call])


def _proof(source: JsonSource) -> list[str]:
    """Give the lines that work a signature out, where the scheme has one."""
    if source.verify == "hmac-sha256":
        written = _SIGNED_BODY[source.encoding]
        return [f'signature=$(printf %s "$body" | openssl dgst -sha256 -hmac "$SECRET" -binary | {written})']
    if source.verify != "standard-webhooks":
        return []
    return [
        'id="msg_$(date +%s)" now=$(date +%s)',
        "key=$(printf %s \"$SECRET\" | sed 's/^whsec_//' | base64 -d | od -An -v -tx1 | tr -d ' \\n')",
        'signature=$(printf %s "$id.$now.$body" \\',
        '  | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64)',
    ]


def _headers(source: JsonSource) -> list[str]:
    match source.verify:
        case "standard-webhooks":
            return [
                '-H "webhook-id: $id"',
                '-H "webhook-timestamp: $now"',
                '-H "webhook-signature: v1,$signature"',
            ]
        case "hmac-sha256":
            return [f'-H "{source.header}: {_escaped(source.prefix)}$signature"']
        case "bearer":
            return ['-H "Authorization: Bearer $SECRET"']
        case "basic":
            return ['-u "$SECRET"']
        case "header":
            return [f'-H "{source.header}: $SECRET"']
    return []


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _escaped(text: str) -> str:
    """Give a text for between double quotes of a shell."""
    return re.sub(r'([\\"$`])', r"\\\1", text)
