"""Texts of configurations for the tests of the configuration, and what is wrong with them."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from integration.domain.errors import ConfigError
from integration.services.configuration import load_config

EXAMPLE = Path(__file__).parent.parent.parent / "ringback.example.toml"
EXAMPLE_ENVIRON = {
    "WOLKVOX_TOKEN": "wolkvox-token-bogota",
    "WOLKVOX_TOKEN_LIMA": "wolkvox-token-lima",
    "RINGBACK_KEY_ZAPIER": "key-of-zapier-0123456789",
    "RINGBACK_KEY_PARTNER": "key-of-partner-0123456789",
    "HUBSPOT_CLIENT_SECRET": "hubspot-client-secret",
    "HUBSPOT_TOKEN": "hubspot-private-app-token",
    "SALESFORCE_URL_KEY": "salesforce-url-key-0123456789",
    "FORMS_SECRET": "whsec_" + base64.b64encode(b"forms secret of 24 bytes").decode(),
    "TIENDA_SECRET": "tienda-secret-0123456789",
    "OIDC_CLIENT_SECRET": "oidc-client-secret",
    "SMTP_PASSWORD": "smtp-password",
    "SLACK_WEBHOOK_URL": "https://hooks.slack.example.com/services/T0/B0/secretpart",
    "PAGER_URL": "https://pager.example.com/ringback",
    "ALERTS_SECRET": "whsec_" + base64.b64encode(b"alerts secret of 24 byte").decode(),
}

ACCOUNT = '[accounts.a]\nserver = "0003"\ntoken = "token-a"\ntimezone = "America/Bogota"\n'
HASH = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
OIDC = '[oidc]\nissuer = "https://id.example.com"\nclient_id = "x"\nclient_secret = "client-secret-x"\nroles = { it = "admin" }\n'
SITE = '[dashboard]\npublic_url = "https://ringback.example.com"\n'
ROUTE = (
    '[[routes]]\nname = "r"\nsource = "s"\naccount = "a"\ncampaign_id = "1"\ncustomer_id = "{{ event.id }}"\n'
)
RECALL = 'recall_telephone = "{{ event.phone }}"\nrecall_date = "{{ event.date }}"\n'
HUBSPOT = '[sources.s]\nkind = "hubspot"\nsecrets = ["client-secret"]\n'
SALESFORCE = (
    '[sources.s]\nkind = "salesforce"\nurl_key = "0123456789abcdef"\norganization_id = "00Dxx0000000000EAA"\n'
)
JSON = '[sources.s]\nkind = "json"\n'
BEARER = JSON + 'verify = "bearer"\nsecrets = ["bearer-secret-of-s"]\n'

GOOD = '[vars]\nventas = "1"\n' + ACCOUNT + BEARER + '[api_keys]\nk = "key-of-k"\n' + ROUTE + RECALL


def written(folder: Path, text: str) -> Path:
    path = folder / "ringback.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)
    return path


def faults_of(path: Path, environ: dict[str, str] | None = None) -> dict[str, tuple[str, str]]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ or {})
    assert {fault.file for fault in caught.value.faults} == {str(path)}
    return {fault.key: (fault.found, fault.allowed) for fault in caught.value.faults}
