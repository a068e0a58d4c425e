"""What a recall remembers of where it came from: enough to tell its whole story later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.recall import Filter
from integration.services.parked import ParkedFilter
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    as_bytes,
    hubspot_event,
    make_services,
    signed,
    two_accounts,
)
from support.hook_client import HookClient

ROTATING = SOURCES_AND_ROUTES.replace(
    'secrets = ["env:HUBSPOT_SECRET"]', 'secrets = ["a-new-secret-of-hubspot", "env:HUBSPOT_SECRET"]'
)


def soon():
    """Give a date earlier than the account's lead allows; asked for by each test, for the suite may take long."""
    return (datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)).isoformat()


@pytest.fixture
def services(tmp_path, store):
    return make_services(tmp_path, store, two_accounts() + ROTATING)


def recalls_of(services):
    return list(services.recalls.records.every(Filter()))[::-1]


def test_a_recall_knows_its_delivery_place_proof_record_and_configuration(services):
    events = [hubspot_event(7, ""), hubspot_event(77, soon()), hubspot_event(78, soon())]
    told = HookClient(services).post("hubspot", events).json
    first, second = recalls_of(services)
    assert (first.delivery, first.place, second.place) == (told["delivery"], 1, 2)
    assert first.proof == "signature v3, secret 1 of 2"
    assert services.config.digest.startswith(first.digest)
    assert len(first.digest) == 8
    assert first.notes == ("earlier than min_lead_minutes allows: moved to 30 minutes from now",)
    # The record is the customer here, and need not be kept twice.
    assert first.record is None
    assert services.recalls.records.search.find(Filter(customer_id="77"), limit=5).ids == (first.id,)


def test_which_of_several_secrets_signed_is_told_and_no_secret(services, monkeypatch):
    settings = services.config.sources["hubspot"]
    older = settings.model_copy(update={"secrets": settings.secrets[::-1]})
    monkeypatch.setitem(services.config.sources, "hubspot", older)
    body = as_bytes([hubspot_event(77, soon())])
    url = "http://localhost/hooks/hubspot"
    headers = signed(services, "hubspot", body, url=url)
    monkeypatch.setitem(services.config.sources, "hubspot", settings)
    HookClient(services).post("hubspot", body, headers=headers)
    (recall,) = recalls_of(services)
    assert recall.proof == "signature v3, secret 2 of 2"
    assert ENVIRON["HUBSPOT_SECRET"] not in str(
        services.store.client.hgetall(services.store.key(f"recall:{recall.id}"))
    )


def test_a_record_of_the_crm_that_is_not_the_customer_finds_the_recall(services):
    event = {"customer": "80123456", "phone": "3001112233", "at": soon()}
    HookClient(services).post("forms", event, message_id="msg_lead-4711")
    (recall,) = recalls_of(services)
    assert (recall.record, recall.customer_id) == ("msg_lead-4711", "80123456")
    assert services.recalls.records.search.find(Filter(record="msg_lead-4711"), limit=5).ids == (recall.id,)


def test_a_parked_event_keeps_its_place_and_proof_until_it_is_mapped(services, tmp_path):
    bad = {**hubspot_event(77, "next week"), "objectId": 77}
    HookClient(services).post("hubspot", [hubspot_event(5, soon()), bad])
    mended = two_accounts() + ROTATING.replace(
        'recall_date = "{{ event.propertyValue }}"', f'recall_date = "{soon()}"'
    )
    services = make_services(tmp_path, services.store.client, mended)
    assert services.parked.remap(ParkedFilter(), datetime.now(UTC)).recalls
    mapped = recalls_of(services)[-1]
    assert (mapped.customer_id, mapped.place, mapped.proof) == ("77", 1, "signature v3, secret 1 of 2")
