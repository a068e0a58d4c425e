"""Secrets and customers that must not leave for Sentry, and a configuration that holds the secrets."""

from __future__ import annotations

import json

from integration.config.models import ApiKey, Config
from integration.config.source_models import HubspotLookup, HubspotSource, JsonSource, SalesforceSource
from integration.domain.account import Account

TELEPHONE = "+57 300 111 2233"
DIGITS = "573001112233"
CUSTOMER = "1020304050"
NAME = "Jacinta Quispe"
DOCUMENT = "C-17"
SECRETS = {
    "account": "wolkvox-7d9f0c1b2a",
    "api": "key-1f2e3d4c5b6a",
    "client": "hubspot-client-9a8b",
    "rotated": "hubspot-client-old1",
    "lookup": "pat-na1-6f2c1a0e",
    "url": "url-key-A1b2C3d4E5f6",
    "basic": "robot:p@ss/w0rd&more",
    "short": "Ab3$x",
}
PRIVATE = (
    TELEPHONE,
    DIGITS,
    "3001112233",
    CUSTOMER,
    *SECRETS.values(),
    "p@ss/w0rd&more",
    "p%40ss%2Fw0rd%26more",
)
PLANTED = f"{TELEPHONE} {DIGITS} {CUSTOMER} {' '.join(SECRETS.values())} p%40ss%2Fw0rd%26more"
ANY = {
    "text": PLANTED,
    "number": int(DIGITS),
    "float": float(DIGITS),
    PLANTED: PLANTED,
    "deep": [{"list": [PLANTED]}],
}


def config() -> Config:
    return Config(
        accounts={
            "bogota": Account(
                name="bogota", server="0003", token=SECRETS["account"], timezone="America/Bogota"
            )
        },
        api_keys={"zapier": ApiKey(name="zapier", key=SECRETS["api"])},
        sources={
            "hubspot": HubspotSource(
                name="hubspot",
                kind="hubspot",
                secrets=(SECRETS["client"], SECRETS["rotated"]),
                lookup=HubspotLookup(token=SECRETS["lookup"], properties=("phone",)),
            ),
            "salesforce": SalesforceSource(
                name="salesforce",
                kind="salesforce",
                url_key=SECRETS["url"],
                organization_id="00D000000000001",
            ),
            "forms": JsonSource(
                name="forms", kind="json", verify="basic", secrets=(SECRETS["basic"], SECRETS["short"])
            ),
        },
    )


def assert_clean(text: str) -> None:
    found = [private for private in PRIVATE if private in text or json.dumps(private)[1:-1] in text]
    assert not found, found
    assert "3001112233" not in text.replace(" ", "").replace("-", "")
