"""The demo's samples: requests and their expected results.

Each request is sent over HTTP, signed as the sender signs it or with an API key. Results are read from
/v1 and from the sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from integration.local.demo.installation import client_of
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from integration.local.demo.installation import DemoStack

ENDED = frozenset({"accepted", "dead", "superseded", "cancelled", "expired", "simulated"})

SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">
 <soapenv:Body>
  <notifications xmlns="http://soap.sforce.com/2005/09/outbound">
   <OrganizationId>00Dxx0000000000EAA</OrganizationId>
   <ActionId>04kxx0000000000AAA</ActionId>
   <Notification>
    <Id>{notification}</Id>
    <sObject xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
     <sf:Id>00Qxx000001aBcDEAA</sf:Id>
     <sf:Documento__c>{customer}</sf:Documento__c>
     <sf:Callback_At__c>{date}</sf:Callback_At__c>
     <sf:MobilePhone>+51 987 654 321</sf:MobilePhone>
     <sf:Wolkvox_Campaign__c>777</sf:Wolkvox_Campaign__c>
    </sObject>
   </Notification>
  </notifications>
 </soapenv:Body>
</soapenv:Envelope>"""


@dataclass
class SampleRow:
    """One sample: its name, its expected result and its actual result.

    `ok` is None until the result is known. `states` are the expected states of the customer's recalls.
    """

    name: str
    expected: str
    actual: str = "waiting"
    ok: bool | None = None
    customer: str | None = None
    states: tuple[str, ...] = ()


@dataclass
class SampleSet:
    """The samples of one run. `run_id` makes the customer ids unique to the run."""

    stack: DemoStack
    run_id: int
    rows: list[SampleRow] = field(default_factory=list)
    expected_calls: dict[str, int] = field(default_factory=dict)

    def customer(self, number: int) -> str:
        """Return the id of customer `number` (0 to 99), which is unique to this run."""
        return f"{self.run_id}{number:02d}"

    def sandbox_rules(self) -> list[dict[str, Any]]:
        """Return the sandbox rules for the faults of this run."""
        refused = {"status": 400, "code": 400, "error": "BAD REQUEST", "msg": "SOME PARAMETERS ARE REQUIRED"}
        failing = {"status": 500, "code": 500, "error": "INTERNAL", "msg": "TRY LATER", "times": 2}
        return [
            {"action": "answer", "customer_id": self.customer(5), **refused},
            {"action": "answer", "customer_id": self.customer(6), **failing},
        ]

    def send_all(self) -> None:
        """Send all samples in order, and add their rows."""
        for sample in (_hubspot, _salesforce, _form, _api):
            sample(self)

    def call(self, send: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        """Call `send` with a client for the web server. Return the response."""
        with client_of(self.stack.web) as client:
            return send(client)

    def post_signed(self, source: str, body: bytes, *, forged: bool = False) -> httpx.Response:
        """Post a body to a source, signed as its CRM signs. `forged` changes the body after signing."""
        settings = self.stack.config.sources[source]
        key = f"/{settings.url_key.get_secret_value()}" if settings.url_key else ""
        path = f"/hooks/{source}{key}"
        headers = SOURCES[settings.kind].sign(
            body,
            settings,
            url=self.stack.web + path,
            method="POST",
            message_id=f"msg_{self.run_id}",
            now=datetime.now(UTC),
        )
        sent = body.replace(b"3", b"4") if forged else body
        return self.call(lambda client: client.post(path, content=sent, headers=headers))

    def add_result(self, name: str, expected: str, actual: str, *, ok: bool) -> None:
        """Add a sample whose result is already known."""
        self.rows.append(SampleRow(name, expected, actual, ok))

    def expect_states(self, name: str, customer: str, *states: str, calls: int) -> None:
        """Add a sample that succeeds when the customer's recalls, newest first, have these states.

        `calls` is the expected number of calls to wolkvox.
        """
        self.rows.append(SampleRow(name, " + ".join(states), customer=customer, states=states))
        self.expected_calls[customer] = calls

    def update(self) -> bool:
        """Update the results from the customers' recalls. Return True if all results are known."""
        for row in self.rows:
            if row.ok is None and row.customer is not None:
                self._update_row(row)
        return all(row.ok is not None for row in self.rows)

    def _update_row(self, row: SampleRow) -> None:
        found = self.recalls_of(row.customer or "")
        states = tuple(recall["state"] for recall in found)
        tries = max((len(recall["attempts"]) for recall in found), default=0)
        row.actual = " + ".join(states) or "no recall yet"
        if tries > 1:
            row.actual += f" after {tries} attempts"
        if len(states) >= len(row.states) and set(states) <= ENDED:
            row.ok = states == row.states

    def recalls_of(self, customer: str) -> list[dict[str, Any]]:
        """Return the recalls of a customer from /v1, newest first."""
        key = self.stack.config.api_keys["demo"].key.get_secret_value()
        answer = self.call(
            lambda client: client.get(
                "/v1/recalls", params={"customer_id": customer}, headers={"Authorization": f"Bearer {key}"}
            )
        )
        answer.raise_for_status()
        return list(answer.json()["items"])


def _date(hours: int) -> datetime:
    return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)


def _hubspot_event(samples: SampleSet, contact: int, value: str, name: str = "callback_at") -> dict[str, Any]:
    now = round(datetime.now(UTC).timestamp() * 1000)
    return {
        "eventId": samples.run_id * 100 + contact,
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": now,
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": contact,
        "propertyName": name,
        "propertyValue": value,
        "changeSource": "CRM",
    }


def _hubspot(samples: SampleSet) -> None:
    for contact in (1, 2, 3):
        samples.stack.contacts.add(
            contact, phone=f"300 111 220{contact}", documento=samples.customer(contact)
        )
    events = [
        _hubspot_event(samples, 1, _date(24).isoformat()),
        _hubspot_event(samples, 2, _date(48).isoformat()),
        {**_hubspot_event(samples, 2, _date(25).isoformat()), "eventId": samples.run_id * 100 + 50},
        _hubspot_event(samples, 3, "as soon as you can"),
        {**_hubspot_event(samples, 3, "new@example.com", name="email"), "eventId": samples.run_id * 100 + 60},
    ]
    body = orjson.dumps(events)
    first = samples.post_signed("hubspot", body)
    answer = first.json()
    counts = f"{first.status_code}: {answer.get('pending')} to look up, {answer.get('ignored')} ignored"
    good = first.status_code == 202 and answer["pending"] == 4 and answer["ignored"] == 1
    samples.add_result("HubSpot: a signed batch of 5 events", "202: 4 to look up, 1 ignored", counts, ok=good)
    samples.expect_states("  a callback for tomorrow", samples.customer(1), "accepted", calls=1)
    samples.expect_states(
        "  two dates for one customer: the newer is used",
        samples.customer(2),
        "accepted",
        "superseded",
        calls=1,
    )
    samples.rows.append(SampleRow("  a date in an unknown format", "parked", customer=None))
    again = samples.post_signed("hubspot", body)
    same = again.status_code == 202 and again.json() == answer
    actual = f"{again.status_code}, {'the same answer' if same else 'another answer'}"
    samples.add_result("HubSpot: the same batch again", "the same answer", actual, ok=same)
    forged = samples.post_signed("hubspot", body, forged=True)
    actual = str(forged.status_code)
    samples.add_result("HubSpot: a forged body", "401", actual, ok=forged.status_code == 401)


def _salesforce(samples: SampleSet) -> None:
    notification = f"04l{samples.run_id:015d}"
    body = SOAP.format(notification=notification, customer=samples.customer(4), date=_date(26).isoformat())
    answer = samples.post_signed("salesforce", body.encode())
    acked = answer.status_code == 200 and "<Ack>true</Ack>" in answer.text
    actual = f"{answer.status_code}, {'Ack' if acked else 'no Ack'}"
    samples.add_result("Salesforce: an outbound message", "200, Ack", actual, ok=acked)
    samples.expect_states("  its lead", samples.customer(4), "accepted", calls=1)


def _form(samples: SampleSet) -> None:
    date = (datetime.now(UTC) + timedelta(days=2)).strftime("%d/%m/%Y 10:30")
    body = orjson.dumps({"documento": samples.customer(5), "telefono": "987 654 322", "fecha": date})
    answer = samples.post_signed("forms", body)
    ok = answer.status_code == 202
    samples.add_result("Form: Standard Webhooks", "202", str(answer.status_code), ok=ok)
    samples.expect_states("  a callback that wolkvox refuses", samples.customer(5), "dead", calls=1)


def _api(samples: SampleSet) -> None:
    key = samples.stack.config.api_keys["demo"].key.get_secret_value()
    recall = {
        "account": "bogota",
        "campaign_id": "12345",
        "customer_id": samples.customer(6),
        "recall_telephone": "601 234 5678",
        "recall_date": _date(27).isoformat(),
    }
    answer = samples.call(
        lambda client: client.post("/v1/recalls", json=recall, headers={"Authorization": f"Bearer {key}"})
    )
    ok = answer.status_code == 202
    samples.add_result("API: POST /v1/recalls", "202", str(answer.status_code), ok=ok)
    samples.expect_states("  two faults of wolkvox, then success", samples.customer(6), "accepted", calls=3)
