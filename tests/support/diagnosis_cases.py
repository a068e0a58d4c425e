"""Deliveries that are really signed, refused for real, and diagnosed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import SecretStr

from integration.config.models import Config
from integration.dashboard.presenting.reason_labels import reason_text
from integration.domain.delivery import Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.diagnosis import diagnose
from integration.webhooks.providers import SOURCES
from support.source_cases import NOW

URL = "https://hooks.example.com/hooks/hubspot"


BODY = b'[{"eventId":1,"objectId":51201,"propertyName":"callback_at","propertyValue":"1772463600000"}]'


OTHER = "the-secret-of-another-source"


def refusal(delivery, settings, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        SOURCES[settings.kind].verify(delivery, settings, now)
    return caught.value


def seen(delivery, settings, *others, now=NOW, retired=()):
    """Refuse a delivery for real, and diagnose it."""
    config = Config(sources={one.name: one for one in (settings, *others)})
    delivery = replace(delivery, source=settings.name)
    error = refusal(delivery, settings, now)
    past = {settings.name: [SecretStr(one) for one in retired]}
    found = diagnose(delivery, error, config, now, retired=past)
    assert "%(" not in str([reason_text(finding.cause, finding.facts) for finding in found.findings])
    return found


def causes(found):
    return [finding.cause for finding in found.findings]


def delivered(settings, body=BODY, *, url=URL, signed=None, url_key=None, more=None, **sign):
    """What `settings` signs of `signed` (the body unless given), arriving with `body`."""
    headers = SOURCES[settings.kind].sign(
        body if signed is None else signed,
        settings,
        **{"url": url, "method": "POST", "message_id": "msg_1", "now": NOW} | sign,
    )
    lower = {name.lower(): value for name, value in headers.items()}
    return Delivery(
        id="d",
        source=settings.name,
        method="POST",
        url=url,
        headers={**lower, "host": "hooks.example.com", **(more or {})},
        body=body,
        received_at=NOW,
        url_key=url_key,
    )


HMAC = {"header": "X-Sig"}


VALUE = {"name": "José Peña / Co", "items": [1, 2.5, None, True], "nested": {"b": "1", "a": "x"}}


COMPACT = json.dumps(VALUE, separators=(",", ":"), ensure_ascii=False).encode()
