"""Signed sample webhooks, encoded as HTTP requests."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bench.load import request_bytes
from bench.stage import ORGANIZATION, SECRETS
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from integration.config.models import Config

HOST = "bench"
BATCH = 100


class Sender:
    """Generates webhooks for the sources of a configuration. `chance` is a seeded random generator."""

    def __init__(self, config: Config, chance: random.Random) -> None:
        self._config = config
        self._chance = chance

    def single(self, number: int) -> Iterator[bytes]:
        """Yield deliveries with one JSON event each, signed according to Standard Webhooks."""
        for _ in range(number):
            yield self.form(f"C{self._chance.randrange(10**9)}")

    def form(self, customer: str) -> bytes:
        """Return a delivery with one JSON event for a customer."""
        event = {
            "id": f"evt_{self._chance.randrange(2**60):015x}",
            "customer": customer,
            "phone": f"300{self._chance.randrange(10**7):07d}",
            "at": self._date().isoformat(),
            "campaign": "10",
            "name": "Ana María Pérez",
            "email": "ana@example.com",
        }
        return self._signed("forms", json.dumps(event).encode())

    def duplicates(self, number: int) -> Iterator[bytes]:
        """Return the same delivery `number` times."""
        one = self.form("C1")
        return (one for _ in range(number))

    def hubspot(self, number: int) -> Iterator[bytes]:
        """Yield batches of 100 HubSpot events, signed with v3."""
        for _ in range(number):
            body = json.dumps([self._hubspot_event() for _ in range(BATCH)]).encode()
            yield self._signed("hubspot", body)

    def salesforce(self, number: int) -> Iterator[bytes]:
        """Yield Salesforce outbound messages with 100 notifications."""
        for _ in range(number):
            notifications = "".join(self._notification() for _ in range(BATCH))
            body = _ENVELOPE.format(organization=ORGANIZATION, notifications=notifications).encode()
            path = f"/hooks/salesforce/{SECRETS['SALESFORCE_KEY']}"
            headers = [("Content-Type", "text/xml; charset=utf-8"), ("SOAPAction", '""')]
            yield request_bytes(path, headers, body, HOST)

    def _date(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0) + timedelta(hours=self._chance.randrange(24, 240))

    def _hubspot_event(self) -> dict[str, Any]:
        return {
            "eventId": self._chance.randrange(10**9),
            "subscriptionId": 25,
            "portalId": 33,
            "appId": 1160452,
            "occurredAt": round(datetime.now(UTC).timestamp() * 1000),
            "subscriptionType": "contact.propertyChange",
            "attemptNumber": 0,
            "objectId": self._chance.randrange(10**9),
            "propertyName": "callback_at",
            "propertyValue": str(round(self._date().timestamp() * 1000)),
            "changeSource": "CRM",
        }

    def _notification(self) -> str:
        return _NOTIFICATION.format(
            notification=f"04l{self._chance.randrange(10**15):015d}",
            lead=f"00Q{self._chance.randrange(10**15):015d}",
            phone=f"300{self._chance.randrange(10**7):07d}",
            date=self._date().isoformat(),
        )

    def _signed(self, source: str, body: bytes) -> bytes:
        settings = self._config.sources[source]
        headers = SOURCES[settings.kind].sign(
            body,
            settings,
            url=f"http://{HOST}/hooks/{source}",
            method="POST",
            message_id=f"msg_{self._chance.randrange(2**60):015x}",
            now=datetime.now(UTC),
        )
        return request_bytes(f"/hooks/{source}", [*headers.items(), ("User-Agent", "bench")], body, HOST)


_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>\
<notifications xmlns="http://soap.sforce.com/2005/09/outbound">\
<OrganizationId>{organization}</OrganizationId><ActionId>04k5f000000PqRsAAK</ActionId>\
<SessionId xsi:nil="true"/>\
<EnterpriseUrl>https://acme.my.salesforce.com/services/Soap/c/60.0/00D5f000000AbCd</EnterpriseUrl>\
<PartnerUrl>https://acme.my.salesforce.com/services/Soap/u/60.0/00D5f000000AbCd</PartnerUrl>\
{notifications}</notifications></soapenv:Body></soapenv:Envelope>"""

_NOTIFICATION = """<Notification><Id>{notification}</Id>\
<sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com">\
<sf:Id>{lead}</sf:Id><sf:Campaign__c>10</sf:Campaign__c><sf:MobilePhone>{phone}</sf:MobilePhone>\
<sf:Callback_At__c>{date}</sf:Callback_At__c></sObject></Notification>"""
