"""Each preset and each case of a provider as a sender: its tables, its sample, and the request that it posts.

A configuration has all of them. What is known of a sender beside its preset is a row of a table here.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr

from integration.cli.webhooks.presets import toml_lines
from integration.config.source_models import JSON_LOOKUPS, presets
from integration.webhooks.providers import SOURCES
from support.source_cases import CASES, SourceCase

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from integration.config.source_models import Preset, Source

PRESET_SAMPLES = Path(__file__).parent.parent / "samples/presets"
ROOT_URL = "http://localhost"
# The token in the sample of bitrix24, whose body is its proof. The others have secrets of their own.
BODY_TOKEN = "sample-secret-0123456789"
PRIVATE, ANOTHER_PRIVATE = (Ed25519PrivateKey.from_private_bytes(bytes([n] * 32)) for n in (1, 2))
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

# The customer and the telephone in the sample of each preset, or in the record that its lookup finds.
RECALLS = {
    "activecampaign": ("123", "3001234567"),
    "bitrix24": ("7405", "3001234567"),
    "calendly": ("ana@example.com", "3001234567"),
    "contact-form-7": ("3001234567", "3001234567"),
    "dynamics-365": ("5d2b9d2e-0c1a-4f6b-8f5e-6f1d2c3b4a59", "3001234567"),
    "elementor": ("3001234567", "3001234567"),
    "freshsales": ("7000123", "3001234567"),
    "gohighlevel": ("nmFmQEsNgz6AVpgLVUJ0", "3001234567"),
    "gravity-forms": ("3-42", "3001234567"),
    "intercom": ("63a0", "3001234567"),
    "jotform": ("6483123456789012345", "3001234567"),
    "kommo": ("5", "3001234567"),
    "make": ("80123456", "3001234567"),
    "meta-lead-ads": ("444000111222333", "3001234567"),
    "monday": ("840", "3001234567"),
    "n8n": ("80123456", "3001234567"),
    "odoo": ("7", "3001234567"),
    "pipedrive": ("4521", "3001112233"),
    "rd-station": ("5408c5a3-4711-4f2e-8d0b-13407a3e30f3", "48996252598"),
    "salesforce-flow": ("80123456", "3001234567"),
    "shopify": ("594000000001", "3001234567"),
    "slack": ("3001234567", "3001234567"),
    "typeform": ("a3a12ec67a1365927098a606107fac15", "3001234567"),
    "whatsapp-cloud": ("573001234567", "3001234567"),
    "woocommerce": ("727", "3001234567"),
    "wpforms": ("573001234567", "3001234567"),
    "zapier": ("80123456", "3001234567"),
    "zendesk": ("35436", "3001234567"),
    "zoho-crm": ("5725767000000524157", "3001234567"),
}

# These senders, or the pages of their vendors, ask for exactly 200: another success is an error for them.
# Salesforce reads the Ack of a SOAP envelope, and HubSpot's workflow the output fields of an action.
EXACTLY_200 = frozenset({
    *("elementor", "kommo", "meta-lead-ads", "monday", "slack", "whatsapp-cloud", "woocommerce"),
    *("hubspot-custom-action", "salesforce-two-leads", "salesforce-deleted-record"),
})  # fmt: skip

# The proof of these senders has a time.
TIMED = frozenset({
    *("calendly", "monday-signed", "slack", "wpforms", "zendesk"),
    *(case.id for case in CASES if case.covers_time),
})  # fmt: skip


@dataclass(frozen=True)
class Sender:
    """A sender. `recalls` has the customer and the telephone of each recall that its sample asks for.

    `table` is its part of the configuration, and `parked` the number of events that cannot be mapped.
    """

    name: str
    body: bytes
    recalls: tuple[tuple[str, str], ...]
    answer_status: int
    table: str
    parked: int = 0


@dataclass(frozen=True)
class Request:
    """An HTTP request of a sender."""

    path: str
    body: bytes
    headers: dict[str, str]
    method: str = "POST"

    def sent_by(self, client: Any) -> Any:
        """Return the response."""
        return client.open(self.path, method=self.method, data=self.body, headers=self.headers)


@dataclass(frozen=True)
class Handshake:
    """The request by which a sender checks the address, and the body of the answer."""

    method: str
    query: str = ""
    body: bytes = b""
    content_type: str = ""
    answer: bytes = b""

    def request(self, path: str) -> Request:
        """Return the request for the path of a source."""
        headers = {"Content-Type": self.content_type} if self.content_type else {}
        return Request(path + self.query, self.body, headers, self.method)


def _subscribe(name: str) -> Handshake:
    query = f"?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={name}-verify-token-0123"
    return Handshake("GET", query, answer=b"1158201444")


_CHALLENGE = b'{"challenge":"3eZbrw1aBm2rZgRNFdxV"}'
HANDSHAKES = {
    "woocommerce": Handshake("POST", body=b"webhook_id=12", content_type="application/x-www-form-urlencoded"),
    "monday": Handshake("POST", body=_CHALLENGE, content_type="application/json", answer=_CHALLENGE),
    "monday-signed": Handshake("POST", body=_CHALLENGE, content_type="application/json", answer=_CHALLENGE),
    "intercom": Handshake("HEAD"),
    "rd-station": Handshake("GET"),
    "meta-lead-ads": _subscribe("meta-lead-ads"),
    "whatsapp-cloud": _subscribe("whatsapp-cloud"),
}


# --- requests --------------------------------------------------------------------------------------


def signed(sender: Sender, source: Source, now: datetime, *, private: Any = PRIVATE) -> Request:
    """Return the request that the sender posts at `now`, with the proof that the settings `source` ask for."""
    verify = getattr(source, "verify", "")
    path = path_of(source)
    if verify == "query-key":
        path += f"?{source.param}={source.secrets[0].get_secret_value()}"
    key = {"private_key": private} if verify == "ed25519" else {}
    headers = SOURCES[source.kind].sign(
        sender.body, source, url=ROOT_URL + path, method="POST", message_id="msg_1", now=now, **key
    )
    return Request(path, sender.body, headers)


def path_of(source: Source, *, with_key: bool = True) -> str:
    """Return the path of a source, with its key if it has one."""
    key = f"/{source.url_key.get_secret_value()}" if source.url_key and with_key else ""
    return f"/hooks/{source.name}{key}"


def wrongly_signed(sender: Sender, source: Source, now: datetime) -> Request:
    """Return the request of somebody who knows other secrets."""
    secrets = tuple(SecretStr(_another(each.get_secret_value())) for each in getattr(source, "secrets", ()))
    url_key = source.url_key and SecretStr(_another(source.url_key.get_secret_value()))
    changed = source.model_copy(update={"secrets": secrets, "url_key": url_key})
    made = signed(sender, changed, now, private=ANOTHER_PRIVATE)
    return _with_token(made, source, _another(BODY_TOKEN))


def unsigned(sender: Sender, source: Source, now: datetime) -> Request:
    """Return the request without its proof."""
    made = signed(sender, source, now)
    kept = {
        name: value for name, value in made.headers.items() if name.lower() in {"content-type", "soapaction"}
    }
    return _with_token(Request(path_of(source, with_key=False), made.body, kept), source, "")


def _another(secret: str) -> str:
    return secret[:-4] + "AAAA"


def _with_token(request: Request, source: Source, token: str) -> Request:
    """Return the request with another token in its body, if the body contains the proof."""
    if getattr(source, "verify", "") != "body-token":
        return request
    return Request(request.path, request.body.replace(BODY_TOKEN.encode(), token.encode()), request.headers)


# --- tables ----------------------------------------------------------------------------------------


def environ() -> dict[str, str]:
    """Return the environment that the tables of the presets read."""
    found = {}
    for preset in presets().values():
        name, variable, verify = preset.name, _variable(preset.name), preset.source["verify"]
        secret = BODY_TOKEN if verify == "body-token" else f"{name}-secret-0123456789"
        found[f"{variable}_SECRET"] = f"user:{secret}" if verify == "basic" else secret
        found[f"{variable}_URL_KEY"] = f"{name}-url-key-0123456789"
        found[f"{variable}_VERIFY_TOKEN"] = f"{name}-verify-token-0123"
    return found


def _variable(name: str) -> str:
    return name.upper().replace("-", "_")


def _of_preset(preset: Preset) -> Iterable[Sender]:
    (sample,) = PRESET_SAMPLES.glob(f"{preset.name}.*")
    lines = [line.replace('"bogota"', f'"{preset.country.lower()}"') for line in toml_lines(preset)]
    if preset.source["verify"] == "ed25519":  # only the sender has the private key of the preset
        lines.insert(3, f'public_keys = "{base64.b64encode(_SPKI + PUBLIC).decode()}"')
    lookup = preset.source.get("lookup")
    if lookup and "base_url" in JSON_LOOKUPS[lookup["kind"]].model_fields:
        place = lines.index(f"[sources.{preset.name}.lookup]")
        lines.insert(place + 1, f'base_url = "env:{_variable(preset.name)}_BASE_URL"')

    def sender(name: str, table: str) -> Sender:
        status = 200 if preset.name in EXACTLY_200 else preset.source.get("answer_status", 202)
        return Sender(name, sample.read_bytes(), (RECALLS[preset.name],), status, table)

    yield sender(preset.name, "\n".join(lines))
    if preset.with_secrets:
        variable = _variable(preset.name)
        table = "\n".join(lines)
        table = table.replace(f'url_key = "env:{variable}_URL_KEY"', f'secrets = "env:{variable}_SECRET"')
        table = table.replace(f"[sources.{preset.name}]", f"[sources.{preset.name}-signed]")
        table = table.replace(f'source = "{preset.name}"', f'source = "{preset.name}-signed"')
        table = table.replace(f'name = "{preset.name}"', f'name = "{preset.name}-signed"')
        yield sender(f"{preset.name}-signed", table)


# RFC 8410: the SubjectPublicKeyInfo of an Ed25519 key is this and the key.
_SPKI = bytes.fromhex("302a300506032b6570032100")


def _of_case(case: SourceCase) -> Sender:
    """Return the sender of a provider's case. Its route asks for the same callback for every event."""
    settings = case.settings.model_dump(exclude_defaults=True) | {"name": None, "kind": case.settings.kind}
    if case.url_key:  # a key in an address is used nowhere else
        settings["url_key"] = f"{case.url_key}-{case.id}"
    keys = "\n".join(f"{key} = {_toml(value)}" for key, value in settings.items() if value is not None)
    route = (
        f'[[routes]]\nname = "{case.id}"\nsource = "{case.id}"\naccount = "co"\ncampaign_id = "{case.id}"\n'
        'customer_id = "c1"\nrecall_telephone = "300 111 2233"\nrecall_date = "{{ now }}"\n'
    )
    parked = sum(not isinstance(event.data, dict) for event in case.events)
    return Sender(
        case.id,
        case.body,
        (("c1", "3001112233"),) * (len(case.events) - parked),
        200 if case.id in EXACTLY_200 else 202,
        f"[sources.{case.id}]\n{keys}\n\n{route}",
        parked,
    )


def _toml(value: Any) -> str:
    match value:
        case SecretStr():
            return json.dumps(value.get_secret_value())
        case dict():
            return "{" + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + "}"
        case tuple() | list():
            return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


SENDERS = {
    sender.name: sender
    for sender in (
        *(each for preset in presets().values() for each in _of_preset(preset)),
        *map(_of_case, CASES),
    )
}
