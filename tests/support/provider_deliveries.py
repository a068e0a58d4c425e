"""Deliveries of HubSpot and Salesforce, and the answer of a delivery, for the tests of the sources."""

from __future__ import annotations

from dataclasses import replace

import pytest

from integration.domain.delivery import Answer, Delivery
from integration.domain.errors import NotVerifiedError
from integration.webhooks.providers import SOURCES
from support.source_cases import (
    CASES,
    NOW,
    SECRET,
    URL_KEY,
    SourceCase,
    hubspot,
)

cases = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])


def refused(case: SourceCase, delivery: Delivery, now=NOW) -> NotVerifiedError:
    with pytest.raises(NotVerifiedError) as caught:
        case.kind.verify(delivery, case.settings, now)
    assert SECRET not in str(caught.value)
    assert URL_KEY not in str(caught.value)
    return caught.value


def hubspot_delivery(body: bytes, kind_settings=None, **changes) -> Delivery:
    given = kind_settings or hubspot()
    url = changes.pop("url", "https://hooks.example.com/hooks/hubspot")
    headers = SOURCES["hubspot"].sign(body, given, url=url, method="POST", message_id="", now=NOW)
    made = Delivery(
        id="d-1",
        source="hubspot",
        method="POST",
        url=url,
        headers={name.lower(): value for name, value in headers.items()},
        body=body,
        received_at=NOW,
    )
    return replace(made, **changes)


def read_hubspot(body: bytes, **kind_settings):
    return SOURCES["hubspot"].read(hubspot_delivery(body), hubspot(**kind_settings))


ANSWER = Answer(delivery="d-1", recalls=("r-1", "r-2"), ignored=3, parked=1)


SALESFORCE = next(case for case in CASES if case.id == "salesforce-two-leads")
