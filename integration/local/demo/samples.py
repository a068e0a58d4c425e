"""The demo's samples: what each sends, and how each must end.

A sample is sent over HTTP with the signature its sender would make; how it ends is read from /v1 and
from what the sandbox received, as a user would.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from integration.local.demo.stage import client_of
from integration.webhooks.providers import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

    from integration.local.demo.stage import DemoStack

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
    """One line of the story: what was sent, what must happen, what did."""

    what: str
    must: str
    happened: str = "waiting"
    ok: bool | None = None
    customer: str | None = None
    states: tuple[str, ...] = ()


@dataclass
class Story:
    """The samples of one run. `run` is a number of its own, so that customers are new every time."""

    stage: DemoStack
    run: int
    rows: list[SampleRow] = field(default_factory=list)
    expected_calls: dict[str, int] = field(default_factory=dict)

    def customer(self, number: int) -> str:
        """Give a customer id of this run."""
        return f"{self.run}{number:02d}"

    def rules(self) -> list[dict[str, Any]]:
        """Give the faults that the sandbox shall show in this run."""
        refused = {"status": 400, "code": 400, "error": "BAD REQUEST", "msg": "SOME PARAMETERS ARE REQUIRED"}
        failing = {"status": 500, "code": 500, "error": "INTERNAL", "msg": "TRY LATER", "times": 2}
        return [
            {"action": "answer", "customer_id": self.customer(5), **refused},
            {"action": "answer", "customer_id": self.customer(6), **failing},
        ]

    def tell(self) -> None:
        """Send all samples, in order, and note what was answered at once."""
        for sample in (_hubspot, _salesforce, _form, _api):
            sample(self)

    def call(self, send: Callable[[httpx.Client], httpx.Response]) -> httpx.Response:
        """Make one request to the web."""
        with client_of(self.stage.web) as client:
            return send(client)

    def post_signed(self, source: str, body: bytes, *, forged: bool = False) -> httpx.Response:
        """Post a body to a source as its CRM would; forged: changed after it was signed."""
        settings = self.stage.config.sources[source]
        key = f"/{settings.url_key.get_secret_value()}" if settings.url_key else ""
        path = f"/hooks/{source}{key}"
        headers = SOURCES[settings.kind].sign(
            body,
            settings,
            url=self.stage.web + path,
            method="POST",
            message_id=f"msg_{self.run}",
            now=datetime.now(UTC),
        )
        sent = body.replace(b"3", b"4") if forged else body
        return self.call(lambda client: client.post(path, content=sent, headers=headers))

    def note(self, what: str, must: str, happened: str, *, ok: bool) -> None:
        """Add a line that is settled at once."""
        self.rows.append(SampleRow(what, must, happened, ok))

    def await_states(self, what: str, customer: str, *states: str, calls: int) -> None:
        """Add a line that is settled when the customer's recalls, newest first, have ended so."""
        self.rows.append(SampleRow(what, " + ".join(states), customer=customer, states=states))
        self.expected_calls[customer] = calls

    def look(self) -> bool:
        """See what became of the customers' recalls. True when every line is settled."""
        for row in self.rows:
            if row.ok is None and row.customer is not None:
                self._look_at(row)
        return all(row.ok is not None for row in self.rows)

    def _look_at(self, row: SampleRow) -> None:
        found = self.recalls_of(row.customer or "")
        states = tuple(recall["state"] for recall in found)
        tries = max((len(recall["attempts"]) for recall in found), default=0)
        row.happened = " + ".join(states) or "not there yet"
        if tries > 1:
            row.happened += f" after {tries} attempts"
        if len(states) >= len(row.states) and set(states) <= ENDED:
            row.ok = states == row.states

    def recalls_of(self, customer: str) -> list[dict[str, Any]]:
        """Ask /v1 for a customer's recalls, newest first."""
        key = self.stage.config.api_keys["demo"].key.get_secret_value()
        answer = self.call(
            lambda client: client.get(
                "/v1/recalls", params={"customer_id": customer}, headers={"Authorization": f"Bearer {key}"}
            )
        )
        answer.raise_for_status()
        return list(answer.json()["items"])


def _date(hours: int) -> datetime:
    return (datetime.now(UTC) + timedelta(hours=hours)).replace(microsecond=0)


def _hubspot_event(story: Story, contact: int, value: str, name: str = "callback_at") -> dict[str, Any]:
    now = round(datetime.now(UTC).timestamp() * 1000)
    return {
        "eventId": story.run * 100 + contact,
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


def _hubspot(story: Story) -> None:
    for contact in (1, 2, 3):
        story.stage.contacts.add(contact, phone=f"300 111 220{contact}", documento=story.customer(contact))
    events = [
        _hubspot_event(story, 1, _date(24).isoformat()),
        _hubspot_event(story, 2, _date(48).isoformat()),
        {**_hubspot_event(story, 2, _date(25).isoformat()), "eventId": story.run * 100 + 50},
        _hubspot_event(story, 3, "as soon as you can"),
        {**_hubspot_event(story, 3, "new@example.com", name="email"), "eventId": story.run * 100 + 60},
    ]
    body = orjson.dumps(events)
    first = story.post_signed("hubspot", body)
    told = first.json()
    counted = f"{first.status_code}: {told.get('pending')} to look up, {told.get('ignored')} ignored"
    good = first.status_code == 202 and told["pending"] == 4 and told["ignored"] == 1
    story.note("HubSpot: a signed batch of 5 events", "202: 4 to look up, 1 ignored", counted, ok=good)
    story.await_states("  a callback for tomorrow", story.customer(1), "accepted", calls=1)
    story.await_states(
        "  two dates for one customer: the newest counts",
        story.customer(2),
        "accepted",
        "superseded",
        calls=1,
    )
    story.rows.append(SampleRow("  a date nobody can read", "parked", customer=None))
    again = story.post_signed("hubspot", body)
    same = again.status_code == 202 and again.json() == told
    happened = f"{again.status_code}, {'the old answer' if same else 'another answer'}"
    story.note("HubSpot: the same batch once more", "the old answer", happened, ok=same)
    forged = story.post_signed("hubspot", body, forged=True)
    happened = str(forged.status_code)
    story.note("HubSpot: a forged body", "401", happened, ok=forged.status_code == 401)


def _salesforce(story: Story) -> None:
    notification = f"04l{story.run:015d}"
    body = SOAP.format(notification=notification, customer=story.customer(4), date=_date(26).isoformat())
    answer = story.post_signed("salesforce", body.encode())
    acked = answer.status_code == 200 and "<Ack>true</Ack>" in answer.text
    happened = f"{answer.status_code}, {'Ack' if acked else 'no Ack'}"
    story.note("Salesforce: an outbound message", "200, Ack", happened, ok=acked)
    story.await_states("  its lead", story.customer(4), "accepted", calls=1)


def _form(story: Story) -> None:
    date = (datetime.now(UTC) + timedelta(days=2)).strftime("%d/%m/%Y 10:30")
    body = orjson.dumps({"documento": story.customer(5), "telefono": "987 654 322", "fecha": date})
    answer = story.post_signed("forms", body)
    ok = answer.status_code == 202
    story.note("Form: Standard Webhooks", "202", str(answer.status_code), ok=ok)
    story.await_states("  wolkvox refuses this one", story.customer(5), "dead", calls=1)


def _api(story: Story) -> None:
    key = story.stage.config.api_keys["demo"].key.get_secret_value()
    recall = {
        "account": "bogota",
        "campaign_id": "12345",
        "customer_id": story.customer(6),
        "recall_telephone": "601 234 5678",
        "recall_date": _date(27).isoformat(),
    }
    answer = story.call(
        lambda client: client.post("/v1/recalls", json=recall, headers={"Authorization": f"Bearer {key}"})
    )
    ok = answer.status_code == 202
    story.note("API: POST /v1/recalls", "202", str(answer.status_code), ok=ok)
    story.await_states("  wolkvox fails twice, then takes it", story.customer(6), "accepted", calls=3)
