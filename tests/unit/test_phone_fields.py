"""The telephone of an event, of a looked-up contact and of a `/v1` request are read by the same rules."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from integration.config.models import Config, Route
from integration.config.source_models import HubspotLookup, HubspotSource
from integration.domain.account import Account
from integration.domain.delivery import Delivery, Event
from integration.domain.errors import UnmappableError
from integration.mapping.planner import Parked, RecallWanted, plan_event, request_from_fields
from integration.mapping.routes import CompiledRoutes

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
FIELDS = {"campaign_id": "12345", "customer_id": "80123456", "recall_date": "2026-06-04T15:30:00"}


def account(country="CO", **rules):
    return Account(
        name="bogota", server="0003", token="t" * 20, timezone="America/Bogota", country=country, **rules
    )


def from_route(telephone, rules, value):
    source = HubspotSource(
        name="crm",
        kind="hubspot",
        secrets=("s" * 20,),
        lookup=HubspotLookup(token="t" * 20, properties=("phone",)),
    )
    route = Route(name="r", source="crm", account="bogota", recall_telephone=telephone, **FIELDS)
    compiled_routes = CompiledRoutes.of(
        Config(accounts={"bogota": rules}, sources={"crm": source}, routes=(route,), vars={})
    )
    delivery = Delivery(
        id="d", source="crm", method="POST", url="https://h/hooks/crm", headers={}, body=b"", received_at=NOW
    )
    event = Event(data={"phone": value}, lookup_id="7")
    contact = {"id": "7", "properties": {"phone": value}}
    outcome = plan_event(compiled_routes, delivery, event, NOW, {"contact": contact})
    if isinstance(outcome, Parked):
        raise UnmappableError(outcome.field, outcome.found, outcome.allowed)
    assert isinstance(outcome, RecallWanted)
    return outcome.request.recall_telephone


def from_event(rules, value):
    return from_route("{{ event.phone }}", rules, value)


def from_contact(rules, value):
    return from_route("{{ contact.properties.phone }}", rules, value)


def from_request(rules, value):
    planned = request_from_fields(rules, **FIELDS, recall_telephone=value, now=NOW, source="api:k")
    return planned.recall_telephone


each_way = pytest.mark.parametrize("telephone_of", [from_event, from_contact, from_request])


@each_way
@pytest.mark.parametrize(
    ("country", "value", "dialled"),
    [
        ("CO", "3001112233.0", "3001112233"),
        ("CO", 3001112233.0, "3001112233"),
        ("CO", "+57 (0) 300 111 2233", "3001112233"),
        ("CO", "0573001112233", "3001112233"),
        ("CO", "+57 1 411 1899", "6014111899"),
        ("CO", "300\u200b1112233\u200e", "3001112233"),
        ("AR", "(011) 15 5744-7700", "1157447700"),
        ("AR", "+54 9 351 15 512 3456", "3515123456"),
        ("CL", "09 8765 4321", "987654321"),
        ("BR", "11 8123-4567", "11981234567"),
    ],
)
def test_a_certain_number_is_dialled(telephone_of, country, value, dialled):
    assert telephone_of(account(country), value) == dialled


@each_way
@pytest.mark.parametrize(
    ("country", "value", "found"),
    [
        ("CO", "601 743 2100 - 5", "extension"),
        ("CO", "30011122330", "does not exist"),
        ("CO", "+52 55 1234 5678", "does not dial"),
        ("MX", "15512345678", "country code 1"),
        ("BR", "11 9123-4567", "digit missing"),
        ("CL", 98765432, "digit missing"),
        ("PE", "0805 12345", "premium"),
    ],
)
def test_a_number_that_cannot_exist_is_not_dialled(telephone_of, country, value, found):
    with pytest.raises(UnmappableError, match=found) as caught:
        telephone_of(account(country), value)
    assert caught.value.field == "recall_telephone"


@each_way
@pytest.mark.parametrize("value", [3.00111e9, 5.73001e11])
def test_a_float_of_six_digits_is_not_dialled(telephone_of, value):
    """The same digits as a whole number are those that the sender has."""
    with pytest.raises(UnmappableError, match="scientific notation"):
        telephone_of(account(), value)
    assert telephone_of(account(), int(value)).startswith("3001")
    assert telephone_of(account(), 3001112230.0) == "3001112230"


@each_way
def test_the_accounts_rules_are_applied(telephone_of):
    assert telephone_of(account("AR", dial_format="9{dial}"), "11 15 5744 7700") == "90111557447700"
    assert telephone_of(account(countries=("MX",), dial_format="{e164}"), "+525512345678") == "525512345678"
    assert telephone_of(account(phone_check="possible"), "12345678") == "12345678"
    assert telephone_of(account(toll_free=True), "01 8000 123456") == "18000123456"
