"""A route as it might be: faults by field, what would change, and the TOML to paste."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.domain.delivery import Delivery, Event
from integration.mapping.route_draft import (
    FIELDS,
    NEW,
    Draft,
    DraftError,
    as_toml,
    compare,
    route_of,
    routes_of,
)
from integration.mapping.routes import CompiledRoutes
from integration.services.configuration import watch_config
from support import ENVIRON, SOURCES_AND_ROUTES, two_accounts, write_config

NOW = datetime(2026, 6, 1, 15, tzinfo=UTC)
AT = "2026-06-02T10:00:00-05:00"
FORM = {
    "name": "form",
    "account": "bogota",
    "when": "event.phone != 'ignore me'",
    "action": "recall",
    "campaign_id": "{{ event.campaign | default('10') }}",
    "customer_id": "{{ event.customer }}",
    "recall_telephone": "{{ event.phone }}",
    "recall_date": "{{ event.at }}",
}
PLACE = 3


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = write_config(tmp_path_factory.mktemp("trial"), two_accounts() + SOURCES_AND_ROUTES)
    return watch_config(path, ENVIRON).current


def draft(place=PLACE, **changes):
    return Draft("forms", place, FORM | changes)


def came(**data):
    delivery = Delivery(id="d", source="forms", method="POST", url="", headers={}, body=b"", received_at=NOW)
    return delivery, Event(data={"customer": "c1", "phone": "3001112233", "at": AT} | data)


def verdict(config, tried, **data):
    return compare(CompiledRoutes.of(config), routes_of(config, tried), *came(**data), NOW)


def faults(config, tried):
    with pytest.raises(DraftError) as caught:
        routes_of(config, tried)
    return {one.name: (one.found, one.allowed) for one in caught.value.faults}


def test_the_route_as_it_is_changes_nothing(config):
    assert verdict(config, draft()).verdict == "same"
    assert {name: getattr(route_of(draft()), name) for name in FORM} == FORM


def test_a_change_is_told_with_its_lines(config):
    found = verdict(config, draft(campaign_id="77"))
    assert found.verdict == "changed"
    assert ("-", "campaign_id = 10") in found.diff
    assert ("+", "campaign_id = 77") in found.diff
    assert (" ", "customer_id = c1") in found.diff


def test_a_mended_field_maps_what_was_parked(config):
    tried = draft(recall_date='{{ event.at | date("%d/%m/%Y %H:%M") }}')
    found = verdict(config, tried, at="02/06/2026 10:00")
    assert found.verdict == "newly mapped"
    assert any("recall_date is" in line for mark, line in found.diff if mark == "-")


def test_a_broken_field_parks_what_was_mapped(config):
    assert verdict(config, draft(customer_id="{{ event.nowhere }}")).verdict == "newly parked"


def test_a_narrower_when_ignores_what_was_mapped(config):
    assert verdict(config, draft(when="event.phone == '1'")).verdict == "newly ignored"


def test_a_new_route_comes_after_those_there_are(config):
    tried = draft(NEW, name="late", when="")
    assert verdict(config, tried).verdict == "same"
    assert verdict(config, tried, phone="ignore me").verdict == "newly parked"
    assert (
        verdict(
            config, draft(NEW, name="late", when="", recall_telephone="3001112233"), phone="ignore me"
        ).verdict
        == "newly mapped"
    )


def test_what_is_not_looked_up_is_not_known(config):
    tried = Draft("hubspot", 0, FORM | {"name": "callback date on a contact"})
    delivery = Delivery(
        id="d", source="hubspot", method="POST", url="", headers={}, body=b"", received_at=NOW
    )
    assert faults(config, Draft("hubspot", 0, FORM | {"customer_id": "{{ contact.id }}"}))["customer_id"]
    event = Event(data={"propertyName": "email"})
    assert (
        compare(CompiledRoutes.of(config), routes_of(config, tried), delivery, event, NOW).verdict
        == "newly parked"
    )


def test_other_sources_routes_are_left_alone(config):
    assert set(routes_of(config, draft()).routes["hubspot"]) == set()
    assert len(config.routes_by_source["hubspot"]) == 2, "the configuration itself is as it was"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"when": "event.phone =="}, "when"),
        ({"customer_id": "{{ event.x"}, "customer_id"),
        ({"customer_id": "{{ nonsense }}"}, "customer_id"),
        ({"recall_date": "{{ vars.unknown }}"}, "recall_date"),
        ({"campaign_id": ""}, "campaign_id"),
        ({"recall_telephone": ""}, "recall_telephone"),
        ({"account": "nowhere"}, "account"),
        ({"account": "{{ event.account }}"}, "accounts"),
        ({"account": "{{ event.account }}", "accounts": "bogota, nowhere"}, "accounts"),
        ({"account": "{{ event.account", "accounts": "bogota"}, "account"),
        ({"accounts": "bogota"}, "accounts"),
        ({"action": "call"}, "action"),
        ({"name": ""}, "name"),
        ({"recall_date": "x" * 5000}, "recall_date"),
    ],
)
def test_a_fault_names_its_field_and_what_is_allowed(config, changes, field):
    found = faults(config, draft(**changes))
    assert set(found) == {field}
    assert all(found[field])


def test_a_template_chooses_among_the_listed_accounts(config):
    tried = draft(account="{{ event.operation }}", accounts="bogota, lima")
    assert verdict(config, tried, operation="lima", phone="999 888 777").after[:2] == (
        "recall",
        "account = lima",
    )
    assert verdict(config, tried, operation="cali").verdict == "newly parked"
    (route,) = tomllib.loads(as_toml(tried))["routes"]
    assert route["accounts"] == ["bogota", "lima"]


def test_a_cancel_needs_neither_number_nor_date(config):
    tried = draft(action="cancel", recall_telephone="", recall_date="")
    assert verdict(config, tried).after[0] == "cancel"
    assert "recall_date" not in as_toml(draft(action="cancel"))


def test_the_toml_reads_back_as_the_draft():
    written = tomllib.loads(as_toml(draft()))
    (route,) = written["routes"]
    assert route == {"source": "forms", **{name: text for name, text in FORM.items() if name != "action"}}


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(min_size=1, max_size=60)))
def test_whatever_is_written_into_a_field_the_toml_reads_back(values):
    (route,) = tomllib.loads(as_toml(Draft("forms", NEW, values)))["routes"]
    for name, text in values.items():
        kept = text if name == "name" else text.strip()
        if name in route:
            assert route[name] == (kept.replace(",", " ").split() if name == "accounts" else kept)
