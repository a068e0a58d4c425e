"""What several test files need: a configuration, a services on a real store, signed deliveries."""

from __future__ import annotations

import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from integration.domain.delivery import Delivery
from integration.mapping.planner import plan_delivery
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.webhooks.providers import SOURCES

ENVIRON = {
    "HUBSPOT_SECRET": "hubspot-client-secret-1",
    "FORMS_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "URL_KEY": "k-9f27c1d0a4b84f7e-2b",
    "ZAPIER_KEY": "zapier-key-0123456789abcdef",
    "PARTNER_KEY": "partner-key-0123456789abcdef",
    "TOKEN_BOGOTA": "token-of-bogota-3f9a",
    "TOKEN_LIMA": "token-of-lima-77c1",
}

ACCOUNT = """
[accounts.{name}]
base_url = "{base_url}"
token = "{token}"
timezone = "America/{zone}"
country = "{country}"
max_days_ahead = 36500
{more}
"""

SOURCES_AND_ROUTES = """
[api_keys]
zapier = "env:ZAPIER_KEY"
partner = { key = "env:PARTNER_KEY", accounts = ["lima"] }

[sources.hubspot]
kind = "hubspot"
secrets = ["env:HUBSPOT_SECRET"]

[sources.salesforce]
kind = "salesforce"
url_key = "env:URL_KEY"
organization_id = "00Dxx0000000000EAA"

[sources.forms]
kind = "json"
verify = "standard-webhooks"
secrets = ["env:FORMS_SECRET"]

[[routes]]
name = "callback date on a contact"
source = "hubspot"
account = "bogota"
when = "event.propertyName == 'callback_at' and event.propertyValue"
campaign_id = "10"
customer_id = "{{ event.objectId }}"
recall_telephone = "3001112233"
recall_date = "{{ event.propertyValue }}"

[[routes]]
name = "callback taken back"
source = "hubspot"
account = "bogota"
when = "event.propertyName == 'callback_at' and not event.propertyValue"
action = "cancel"
campaign_id = "10"
customer_id = "{{ event.objectId }}"

[[routes]]
name = "salesforce lead"
source = "salesforce"
account = "lima"
campaign_id = "{{ event.Wolkvox_Campaign__c }}"
customer_id = "{{ event.Id }}"
recall_telephone = "{{ event.MobilePhone }}"
recall_date = "{{ event.Callback_At__c }}"

[[routes]]
name = "form"
source = "forms"
account = "bogota"
when = "event.phone != 'ignore me'"
campaign_id = "{{ event.campaign | default('10') }}"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
"""

# The ways in which people type 3001112233, a number of Colombia.
ELEVEN_SPELLINGS = (
    *("3001112233", "300 111 2233", "300-111-2233", "(300) 111-2233", "300.111.2233", "573001112233"),
    *(
        "+573001112233",
        "+57 300 111 2233",
        "0057 300 1112233",
        "tel:+57-300-111-2233",
        "３００１１１２２３３",
    ),
)


def account(name, base_url="http://127.0.0.1:9", *, token=None, zone="Bogota", country="CO", more=""):
    return ACCOUNT.format(
        name=name,
        base_url=base_url,
        token=token or f"env:TOKEN_{name.upper()}",
        zone=zone,
        country=country,
        more=more,
    )


def two_accounts(base_url="http://127.0.0.1:9", more=""):
    return account("bogota", base_url, more=more) + account(
        "lima", base_url, zone="Lima", country="PE", more=more
    )


def on_one_token(text):
    """The configuration with both accounts on the token of Bogotá, and no API key for one of them alone."""
    return text.replace("env:TOKEN_LIMA", "env:TOKEN_BOGOTA").replace(', accounts = ["lima"] }', " }")


def write_config(folder: Path, text: str | None = None) -> Path:
    path = folder / "ringback.toml"
    path.write_text(two_accounts() + SOURCES_AND_ROUTES if text is None else text, "utf-8")
    return path


def make_services(folder: Path, client, text: str | None = None) -> Services:
    """A services on the store of a test, over a connection as the web has it."""
    store = Store(connect(url_of(client)))
    watch = watch_config(write_config(folder, text), ENVIRON)
    return Services(watch, store, WakeUpPublisher.silent())


def parked_events(services: Services):
    """The parked events of a services's store, newest first."""
    found, following = services.parked.records.page(limit=1000)
    assert following is None
    return found


def url_of(client) -> str:
    where = client.connection_pool.connection_kwargs
    return f"redis://{where['host']}:{where['port']}/{where.get('db', 0)}"


class NoRates:
    """Lets everything pass."""

    def over(self, name, per_minute):
        return None


def sign(settings, body, *, url, message_id=None, now=None):
    """The headers with which the sender of a source with these settings would send this body."""
    return SOURCES[settings.kind].sign(
        body,
        settings,
        url=url,
        method="POST",
        message_id=message_id or f"msg_{secrets.token_hex(8)}",
        now=now or datetime.now(UTC),
    )


def signed(services, source, body, **more):
    return sign(services.config.sources[source], body, **more)


def form_delivery(services, customer, *, message_id=None):
    """A signed form of one customer as it is delivered: the delivery, what follows from it, and its body."""
    body = as_bytes({"customer": customer, "phone": "3001112233", "at": "2030-01-01T10:00:00-05:00"})
    headers = signed(services, "forms", body, url="u", message_id=message_id)
    now = datetime.now(UTC)
    delivery = Delivery(
        id=f"dl_{customer}",
        source="forms",
        method="POST",
        url="u",
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=now,
    )
    events = SOURCES["json"].read(delivery, services.config.sources["forms"])
    return delivery, plan_delivery(services.routes, delivery, events, now), body


def hubspot_event(customer, value, *, occurred_at=None, event_id=None, name="callback_at"):
    occurred = occurred_at or datetime.now(UTC)
    return {
        "eventId": event_id or secrets.randbelow(10**9),
        "subscriptionId": 25,
        "portalId": 33,
        "appId": 1160452,
        "occurredAt": round(occurred.timestamp() * 1000),
        "subscriptionType": "contact.propertyChange",
        "attemptNumber": 0,
        "objectId": customer,
        "propertyName": name,
        "propertyValue": value,
        "changeSource": "CRM",
    }


def as_bytes(value) -> bytes:
    return json.dumps(value).encode()
