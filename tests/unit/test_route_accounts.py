"""A route whose account is a template: which account an event gets, and what becomes of one that names another."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from integration.config.models import Config, Route
from integration.config.source_models import JsonSource
from integration.config.warnings import config_warnings
from integration.domain.account import Account
from integration.domain.delivery import Delivery, Event
from integration.mapping.planner import CancelWanted, Ignored, Parked, RecallWanted, explain_event, plan_event
from integration.mapping.routes import CompiledRoutes, faults
from integration.webhooks.preview import preview_event

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)
ZONES = {
    "bogota": ("America/Bogota", "CO"),
    "cdmx": ("America/Mexico_City", "MX"),
    "lima": ("America/Lima", "PE"),
}
GOOD = {"operation": "cdmx", "id": "c1", "phone": "55 1234 5678", "at": "2026-03-02T15:00:00"}


def account(name):
    zone, country = ZONES[name]
    return Account(name=name, server="0003", token=f"token-{name}", timezone=zone, country=country)


def route(**changes):
    fields = {
        "name": "callback",
        "source": "crm",
        "account": "{{ event.operation }}",
        "accounts": ["bogota", "cdmx"],
        "campaign_id": "12345",
        "customer_id": "{{ event.id }}",
        "recall_telephone": "{{ event.phone }}",
        "recall_date": "{{ event.at }}",
        **changes,
    }
    return Route.model_validate(fields)


def config(*routes):
    source = JsonSource(name="crm", kind="json", verify="bearer", secrets=("s" * 20,), url_key="k" * 20)
    accounts = {name: account(name) for name in ZONES}
    return Config(accounts=accounts, vars={"default": "lima"}, sources={"crm": source}, routes=routes)


def delivery():
    return Delivery(id="d1", source="crm", method="POST", url="", headers={}, body=b"", received_at=NOW)


def plan(one_route, **changes):
    data = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return plan_event(CompiledRoutes.of(config(one_route)), delivery(), Event(data=data), NOW)


def test_the_number_and_the_date_are_read_as_those_of_the_named_account():
    mexican = plan(route())
    assert isinstance(mexican, RecallWanted)
    assert mexican.request.account == "cdmx"
    assert mexican.request.recall_telephone == "5512345678"
    assert mexican.request.recall_date == datetime(2026, 3, 2, 15, 0, tzinfo=ZoneInfo("America/Mexico_City"))
    colombian = plan(route(), operation=" bogota ", phone="300 111 2233")
    assert isinstance(colombian, RecallWanted)
    assert colombian.request.account == "bogota"
    assert (
        colombian.request.recall_date.utcoffset()
        == datetime(2026, 3, 2, tzinfo=ZoneInfo("America/Bogota")).utcoffset()
    )


def test_a_cancel_is_one_of_the_named_account():
    found = plan(route(action="cancel", recall_telephone=None, recall_date=None))
    assert isinstance(found, CancelWanted)
    assert found.request.account == "cdmx"


@pytest.mark.parametrize("named", ["lima", "nowhere", "CDMX", "bogota,cdmx", 5, None, "", [], {}, True])
def test_an_event_that_names_another_account_is_parked(named):
    found = plan(route(), operation=named)
    assert isinstance(found, Parked)
    assert (found.field, found.route, found.account) == ("account", "callback", None)


def test_the_reason_lists_the_accounts_of_the_route_alone():
    found = plan(route(), operation="lima")
    assert (found.found, found.allowed) == (
        "an account that this route may not use",
        "one of its accounts (bogota, cdmx)",
    )


def test_an_event_parked_for_another_field_knows_its_account():
    assert plan(route(), phone="none").account == "cdmx"
    assert plan(route(when="event.at > 5")).account is None, "its account is not known yet"


def test_a_route_for_one_account_parks_with_its_name_whatever_failed():
    found = plan(route(account="lima", accounts=None, when="event.at > 5"))
    assert (found.field, found.account) == ("when", "lima")


def test_a_route_that_does_not_match_does_not_read_the_account():
    assert isinstance(plan(route(when="event.kind == 'callback'"), operation=None), Ignored)


def test_a_template_may_have_a_default_and_variables():
    chosen = route(account="{{ event.operation | default(vars.default) }}", accounts=["lima", "bogota"])
    found = plan(chosen, operation=None, phone="999 888 777")
    assert isinstance(found, RecallWanted)
    assert found.request.account == "lima"


def test_the_preview_has_the_account_as_a_field():
    compiled = CompiledRoutes.of(config(route()))
    steps = preview_event(compiled, delivery(), Event(data=GOOD), NOW)
    assert steps["account"] == "cdmx"
    assert steps["fields"][0] == {
        "name": "account",
        "template": "{{ event.operation }}",
        "rendered": "cdmx",
        "value": "cdmx",
        "fault": None,
    }
    wrong = preview_event(compiled, delivery(), Event(data=GOOD | {"operation": "lima"}), NOW)
    assert [field["name"] for field in wrong["fields"]] == ["account"]
    assert wrong["parked"]["field"] == "account"
    assert wrong["account"] is None


def test_fields_of_other_templates_are_checked_in_the_account_as_well():
    (fault,) = faults(config(route(account="{{ evnt.operation }}")), "ringback.toml")
    assert fault.key == 'routes[1] ("callback").account'
    (unset,) = faults(config(route(account="{{ vars.city }}")), "ringback.toml")
    assert "vars.city" in unset.found


def test_an_account_of_a_list_is_not_idle():
    idle = [text for text in config_warnings(config(route())) if "no route and no API key" in text]
    assert [text.split()[0] for text in idle] == ["accounts.lima"]


def test_a_long_list_is_cut_in_the_reason():
    names = [f"account-{number}" for number in range(50)]
    accounts = {name: account("lima").model_copy(update={"name": name}) for name in names}
    many = config(route(accounts=names)).model_copy(update={"accounts": accounts})
    found = plan_event(CompiledRoutes.of(many), delivery(), Event(data=GOOD), NOW)
    assert "account-19, …)" in found.allowed
    assert "account-20" not in found.allowed


def test_explained_events_agree_with_planned_ones():
    compiled = CompiledRoutes.of(config(route()))
    for named in ("cdmx", "lima"):
        event = Event(data=GOOD | {"operation": named})
        assert explain_event(compiled, delivery(), event, NOW).plan == plan_event(
            compiled, delivery(), event, NOW
        )
