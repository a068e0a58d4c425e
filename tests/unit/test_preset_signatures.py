"""The proof of each preset that signs, against a signature that was computed outside of this project."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from integration.config.source_models import JsonSource, presets, with_preset
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.providers import SOURCES
from support.source_cases import NOW

WPFORMS_AT = datetime.fromtimestamp(1777662311, UTC)
CALENDLY_AT = datetime.fromtimestamp(1492774577, UTC)
META = (
    '{"object":"page","entry":[{"id":"1","time":1,"changes":[{"field":"leadgen","value":'
    '{"leadgen_id":"999","page_id":"1","form_id":"2","ad_id":"3","created_time":1}}]}]}'
)
META_VALUE = "sha256=dac6a9aa7936136ee729129180207fdd9ab4296706c64eb7d795adbd07673245"
CASES = {
    "woocommerce": (
        "wc_secret",
        '{"id":727,"billing":{"phone":"3001234567"}}',
        {"X-WC-Webhook-Signature": "sP9Jv5LxTQk2TDhkPlqqwg+tnaOdHmrJabUIx48Elto="},
        NOW,
    ),
    "shopify": (
        "shpss_secret",
        '{"id":594,"customer":{"phone":"+573001234567"}}',
        {"X-Shopify-Hmac-SHA256": "RmBLlsY83afp2xLSjUdFxeW00E78gm8Ii1UdYXX5jao="},
        NOW,
    ),
    "wpforms": (
        "wpforms_secret",
        '{"name":"Ana","phone":"+573001234567"}',
        {
            "X-WPForms-Webhook-Signature": "t=1777662311,"
            "v=0d66c9c4e4936f58b6ae5b06a7609994819aa13c4711af429a6df6b6188ad6f3"
        },
        WPFORMS_AT,
    ),
    "typeform": (
        "abc123",
        '{"event_id":"LtWXD3crgy"}',
        {"Typeform-Signature": "sha256=LTaEhxBUuQCEg941tEr+tMfmmskyyhBUnsnxP0bCXas="},
        NOW,
    ),
    "calendly": (
        "calendly_key",
        '{"event":"invitee.created"}',
        {
            "Calendly-Webhook-Signature": "t=1492774577,"
            "v1=8d2270716ee7dcb4cff0fd77fde0a6f4cb5f9d17ee2a190034ab38f069d2a774"
        },
        CALENDLY_AT,
    ),
    "intercom": (
        "secret",
        '{"type":"notification_event"}',
        {"X-Hub-Signature": "sha1=f3d8e3f3fd442fb2f093e5d59714a8d1b27ba426"},
        NOW,
    ),
    "meta-lead-ads": ("meta_app_secret", META, {"X-Hub-Signature-256": META_VALUE}, NOW),
    "whatsapp-cloud": ("meta_app_secret", META, {"X-Hub-Signature-256": META_VALUE}, NOW),
    "zendesk": (
        "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==",
        '{"event":"ticket.updated","id":123}',
        {
            "X-Zendesk-Webhook-Signature": "S/RDdU2ERmj7LHDDoWJ2onPYH+t7/f2+LTM4dL7UiLM=",
            "X-Zendesk-Webhook-Signature-Timestamp": "2021-03-25T05:09:27Z",
        },
        datetime(2021, 3, 25, 5, 9, 27, tzinfo=UTC),
    ),
}
each = pytest.mark.parametrize("name", sorted(CASES))


def prepared(name):
    secret, body, headers, now = CASES[name]
    table = {"name": name, "kind": "json", "preset": name, "secrets": secret}
    if presets()[name].source.get("handshake") == "hub-challenge":
        table |= {"verify_token": "verify-token"}
    if "lookup" in presets()[name].source:
        table |= {"lookup": {"token": "a-token-0123456789"}}
    settings = JsonSource.model_validate(with_preset(table, presets()[name]))
    lower = {header.lower(): value for header, value in headers.items()}
    made = Delivery(
        id="d",
        source=name,
        method="POST",
        url=f"https://hooks.example.com/hooks/{name}",
        headers=lower | {"content-type": "application/json"},
        body=body.encode(),
        received_at=now,
    )
    return made, settings, now


@each
def test_a_preset_verifies_the_signature_of_its_sender(name):
    made, settings, now = prepared(name)
    SOURCES["json"].verify(made, settings, now)


@each
def test_a_preset_rejects_the_signature_with_another_secret(name):
    made, settings, now = prepared(name)
    other = settings.model_validate(settings.model_dump() | {"secrets": ("another-secret-0123456789",)})
    with pytest.raises(NotVerifiedError):
        SOURCES["json"].verify(made, other, now)
