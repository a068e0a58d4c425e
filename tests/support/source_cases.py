"""Deliveries as senders make them, one per shape, with what must be read from each.

The bodies are files in samples/<kind>/; every customer, id and number in them is made up. `provenance`
says where the shape is known from: `documented` by the vendor, `seen` in published captures, or `inferred`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from integration.config.source_models import HubspotSource, JsonSource, SalesforceSource
from integration.domain.delivery import Delivery
from integration.webhooks.providers import SOURCES

SAMPLES = Path(__file__).parent.parent / "samples"
NOW = datetime(2026, 3, 1, 14, 15, 30, 250_000, tzinfo=UTC)
URL_KEY = "k-9f27c1d0a4b84f7e"
SECRET = "the-secret-of-this-source"
STANDARD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FORM = "application/x-www-form-urlencoded"

HUBSPOT_OCCURRED = datetime(2026, 3, 1, 14, 15, tzinfo=UTC)


@dataclass(frozen=True)
class Expected:
    """What one event must be; of `data` the given fields (all of it where it is not a mapping)."""

    data: Any
    dedup_key: str | None = None
    occurred_at: datetime | None = None
    lookup_id: str | None = None


@dataclass(frozen=True)
class SourceCase:
    """One delivery. `covers_body` and `covers_time`: what the sender's proof covers."""

    id: str
    file: str
    settings: Any
    events: tuple[Expected, ...]
    provenance: str
    url: str = "https://hooks.example.com/hooks/source"
    url_key: str | None = None
    covers_body: bool = True
    covers_time: bool = False
    extra_headers: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self):
        return SOURCES[self.settings.kind]

    @property
    def body(self) -> bytes:
        return (SAMPLES / self.settings.kind / self.file).read_bytes()

    def signed(self, **changes: Any) -> dict[str, str]:
        """The proof, as the sender would make it, with the given parts changed."""
        given = {
            "body": self.body,
            "settings": self.settings,
            "url": self.url,
            "method": "POST",
            "message_id": "msg_1",
            "now": NOW,
        } | changes
        return {name.lower(): value for name, value in self.kind.sign(**given).items()}

    @property
    def proof_headers(self) -> list[str]:
        return [name for name in self.signed() if name not in {"content-type", "soapaction"}]

    def delivery(self, **changes: Any) -> Delivery:
        made = Delivery(
            id="d-1",
            source=self.settings.name,
            method="POST",
            url=self.url,
            headers={**self.signed(), **self.extra_headers},
            body=self.body,
            received_at=NOW,
            url_key=self.url_key,
        )
        return replace(made, **changes)


def hubspot(**changes: Any) -> HubspotSource:
    return HubspotSource.model_validate(
        {"name": "hubspot", "kind": "hubspot", "secrets": (SECRET,)} | changes
    )


def salesforce(**changes: Any) -> SalesforceSource:
    base = {
        "name": "salesforce",
        "kind": "salesforce",
        "url_key": URL_KEY,
        "organization_id": "00D5f000000AbCdEAK",
    }
    return SalesforceSource.model_validate(base | changes)


def forms(verify: str = "bearer", **changes: Any) -> JsonSource:
    secret = {"basic": "wolkvox:pass:word", "standard-webhooks": STANDARD_SECRET}.get(verify, SECRET)
    base = {"name": "forms", "kind": "json", "verify": verify, "secrets": (secret,)}
    return JsonSource.model_validate(base | changes)


LOOKUP = {"token": "pat-token", "properties": ("phone",)}


def _key(event_id: int, subscription: int, object_id: int, prop: str, at: int) -> str:
    return f"hs:9090901:44556677:{subscription}:{event_id}:{object_id}:{prop}:{at}::"


CASES = (
    SourceCase(
        "hubspot-subscriptions",
        "subscriptions.json",
        hubspot(lookup=LOOKUP),
        (
            Expected(
                {"objectId": 51201, "propertyValue": "1772463600000", "eventType": "contact.propertyChange"},
                _key(100200301, 2210881, 51201, "callback_at", 1772374500123),
                HUBSPOT_OCCURRED.replace(microsecond=123_000),
                "51201",
            ),
            Expected(
                {"objectId": 51202, "propertyValue": ""},
                _key(100200302, 2210881, 51202, "callback_at", 1772374500456),
                HUBSPOT_OCCURRED.replace(microsecond=456_000),
                "51202",
            ),
            Expected(
                {"objectId": 81203, "subscriptionType": "company.creation"},
                _key(100200303, 2210882, 81203, "", 1772374500789),
                HUBSPOT_OCCURRED.replace(microsecond=789_000),
                "companies/81203",
            ),
        ),
        "seen: captured deliveries and the sample of the page on validating requests",
        covers_time=True,
    ),
    SourceCase(
        "hubspot-event-type",
        "event_type.json",
        hubspot(signatures=("v1",)),
        (
            Expected(
                {"eventType": "contact.propertyChange", "subscriptionType": "contact.propertyChange"},
                "hs:1160452:33:25:3816279340:1246965:callback_at:1772374500000::",
                HUBSPOT_OCCURRED,
            ),
        ),
        "documented: guide to webhooks, which names the field eventType",
    ),
    SourceCase(
        "hubspot-object-types",
        "object_types.json",
        hubspot(lookup=LOOKUP, secrets=("the-new-secret-of-this-source", SECRET)),
        (
            Expected(
                {"objectTypeId": "0-1"},
                _key(7001, 9001, 51201, "callback_at", 1772374500000),
                HUBSPOT_OCCURRED,
                "51201",
            ),
            Expected(
                {"objectTypeId": "0-3"},
                _key(7002, 9001, 61201, "callback_at", 1772374500000),
                HUBSPOT_OCCURRED,
                "deals/61201",
            ),
        ),
        "documented: subscription types of the webhooks API's specification; the body is inferred",
        covers_time=True,
    ),
    SourceCase(
        "hubspot-one-bad-element",
        "one_bad_element.json",
        hubspot(lookup=LOOKUP),
        (
            Expected(
                {"objectId": 51201},
                _key(5001, 2210881, 51201, "callback_at", 1772374500000),
                HUBSPOT_OCCURRED,
                "51201",
            ),
            Expected("not an event"),
            Expected(
                {"objectId": 51203},
                "hs:9090901:44556677:2210881:5003:51203:callback_at:soon::",
                None,
                "51203",
            ),
        ),
        "inferred: a subscription delivery that arrives damaged",
        covers_time=True,
    ),
    SourceCase(
        "hubspot-workflow-customised",
        "workflow_customised.json",
        hubspot(signatures=("v2",), lookup=LOOKUP),
        (Expected({"phone": "+57 300 111 2233", "campaign_id": "12345"}),),
        "documented: knowledge base on webhooks in workflows; the flat shape is inferred",
    ),
    SourceCase(
        "hubspot-workflow-full",
        "workflow_full.json",
        hubspot(signatures=("v2",)),
        (Expected({"vid": 51201}),),
        "inferred: the legacy contact object, which the legacy page says is sent",
    ),
    SourceCase(
        "hubspot-custom-action",
        "custom_action.json",
        hubspot(signatures=("v2",)),
        (
            Expected(
                {"inputFields": {"campaign": "12345", "callback_at": "1772463600000"}},
                "hs:callback:ap-44556677-56776413549-7-0",
            ),
        ),
        "documented: page on custom workflow actions",
    ),
    SourceCase(
        "salesforce-two-leads",
        "two_leads.xml",
        salesforce(),
        (
            Expected(
                {
                    "Id": "00Q5f00000bbbbBEAQ",
                    "Callback_At__c": "2026-03-02T15:30:00.000Z",
                    "Company": "Peña & Hijos",
                    "Description": "",
                    "Email": None,
                    "MailingAddress": {"city": "Bogotá", "country": "CO"},
                    "MobilePhone": "+57 300 111 2233",
                    "notification_id": "04l5f00000aaaaAAAQ",
                    "object_type": "Lead",
                    "organization_id": "00D5f000000AbCdEAK",
                },
                "sf:04l5f00000aaaaAAAQ",
            ),
            Expected({"Id": "00Q5f00000bbbbCEAQ"}, "sf:04l5f00000aaaaBAAQ"),
        ),
        "documented: WSDL of outbound messages; the envelope as in published captures",
        url_key=URL_KEY,
        covers_body=False,
    ),
    SourceCase(
        "salesforce-deleted-record",
        "deleted_record.xml",
        salesforce(organization_id="00D5f000000AbCd"),
        (
            Expected(
                {
                    "notification_id": "04l5f00000aaaaCAAQ",
                    "object_type": "Contact",
                    "organization_id": "00D5f000000AbCdEAK",
                },
                "sf:04l5f00000aaaaCAAQ",
            ),
        ),
        "documented: considerations for outbound messages, a deleted record has no data",
        url_key=URL_KEY,
        covers_body=False,
    ),
    SourceCase(
        "json-standard-webhooks",
        "form_answer.json",
        forms("standard-webhooks"),
        (Expected({"id": "sub_01HTZ3", "items": ["field named like a method"]}, "id:msg_1"),),
        "documented: Standard Webhooks 1.0.0; the body is our own",
        covers_time=True,
    ),
    SourceCase(
        "json-list-of-events",
        "list_of_leads.json",
        forms("standard-webhooks", events="body.items", dedup_key="{{ event.id }}"),
        (
            Expected({"id": "L-1"}, "key:L-1"),
            Expected({"id": "L-2"}, "key:L-2"),
            Expected({"phone": "+573001112255"}, "id:msg_1:2"),
        ),
        "inferred: an own script that sends leads in bundles",
        covers_time=True,
    ),
    SourceCase(
        "json-pipedrive",
        "pipedrive.json",
        forms("basic", dedup_key="{{ event.meta.id }}"),
        (
            Expected(
                {"previous": {"custom_fields": {"callback_at": None}}},
                "key:0d2b3c44-5e6f-4a70-8b91-a2b3c4d5e6f7",
            ),
        ),
        "documented: Pipedrive's guide to webhooks v2",
        covers_body=False,
    ),
    SourceCase(
        "json-typeform",
        "typeform.json",
        forms("hmac-sha256", header="Typeform-Signature", encoding="base64", prefix="sha256="),
        (Expected({"event_id": "01HTZ3Q9"}),),
        "documented: Typeform's page on securing webhooks; the body is inferred",
    ),
    SourceCase(
        "json-hub-signature",
        "odoo.json",
        forms("hmac-sha256", header="X-Hub-Signature-256", encoding="hex", prefix="sha256="),
        (Expected({"_id": 7, "_model": "crm.lead"}),),
        "documented: the scheme is GitHub's and Meta's",
    ),
    SourceCase(
        "json-odoo",
        "odoo.json",
        forms("url-key", secrets=(), url_key=URL_KEY),
        (Expected({"_id": 7, "_model": "crm.lead"}),),
        "seen: Odoo's own source writes this body",
        url_key=URL_KEY,
        covers_body=False,
    ),
    SourceCase(
        "json-kommo",
        "kommo.form",
        forms("url-key", secrets=(), url_key=URL_KEY, events="body.leads.status"),
        (
            Expected(
                {
                    "id": "25399013",
                    "custom_fields": [{"id": "661001", "values": [{"value": "+57 300 111 2233"}]}],
                }
            ),
            Expected({"id": "25399014"}),
        ),
        "seen: several public repositories read this form",
        url_key=URL_KEY,
        covers_body=False,
    ),
    SourceCase(
        "json-bitrix24",
        "bitrix24.form",
        forms("bearer"),
        (Expected({"event": "ONCRMDEALADD", "data": {"FIELDS": {"ID": "7405"}}}),),
        "documented: Bitrix24's page on events",
        covers_body=False,
    ),
    SourceCase(
        "json-zapier",
        "zapier.form",
        forms("header", header="X-Api-Key"),
        (
            Expected(
                {"nombre": "José Peña", "telefono": "+573001112233", "cuando": "2026-03-02T10:00"},
                "id:zap-77",
            ),
        ),
        "documented: Webhooks by Zapier, payload type Form",
        covers_body=False,
        extra_headers={"idempotency-key": "zap-77"},
    ),
)
