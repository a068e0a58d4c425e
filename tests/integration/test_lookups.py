"""Lookups: events that carry an id only wait in the store until their contact was read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support import hubspot_event, parked_events
from support.hubspot_stub import HubspotFault, HubspotStub, rate_limited
from support.lookup_installation import LookupInstallation
from workers.lookups import wait_after

AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()


@pytest.fixture
def installation(tmp_path, store):
    with HubspotStub() as hubspot:
        yield LookupInstallation(tmp_path, store, hubspot)


def test_an_event_waits_for_its_contact_and_is_then_mapped(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    told = installation.post(hubspot_event(7, AT))
    assert (told["pending"], told["recalls"]) == (1, [])
    installation.look_up()
    assert installation.customers()["7"].recall_telephone == "3001112233"
    assert installation.waiting() == []


def test_what_needs_no_contact_does_not_wait(installation):
    told = installation.post(hubspot_event(7, ""), hubspot_event(8, "x", name="email"))
    assert (told["pending"], told["ignored"]) == (0, 1)
    assert installation.waiting() == []


def test_a_hundred_events_are_one_question(installation):
    for contact in range(100):
        installation.hubspot.add(str(contact), phone=f"300111{contact:04d}")
    installation.post(*(hubspot_event(contact, AT) for contact in range(100)))
    installation.look_up()
    assert len(installation.hubspot.asked) == 1
    assert len(installation.customers()) == 100


def test_a_contact_with_an_old_number_is_called_and_one_with_no_real_number_is_parked(installation):
    installation.hubspot.add("7", phone="+57 1 411 1899")
    installation.hubspot.add("8", phone="30011122330")
    installation.post(hubspot_event(7, AT), hubspot_event(8, AT))
    installation.look_up()
    numbers = {customer: recall.recall_telephone for customer, recall in installation.customers().items()}
    assert numbers == {"7": "6014111899"}
    assert "does not exist" in parked_events(installation.services)[0]["found"]


def test_a_contact_that_does_not_exist_parks_its_event_alone(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    installation.post(hubspot_event(7, AT), hubspot_event(8, AT))
    installation.look_up()
    assert set(installation.customers()) == {"7"}
    assert parked_events(installation.services)[0]["field"] == "recall_telephone"


@pytest.mark.parametrize(
    "fault",
    [
        HubspotFault(status=500),
        HubspotFault(act="drop"),
        HubspotFault(status=401, body=b"{}"),
        rate_limited("SECONDLY"),
    ],
)
def test_a_lookup_that_fails_waits_and_loses_nothing(installation, fault):
    installation.hubspot.add("7", phone="300 111 2233")
    installation.post(hubspot_event(7, AT))
    installation.hubspot.faults.append(fault)
    installation.look_up()
    assert not installation.is_due
    installation.look_up()
    assert len(installation.hubspot.asked) == 1
    assert (len(installation.waiting()), installation.customers()) == (1, {})


def test_after_its_wait_a_lookup_is_made_again(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    installation.post(hubspot_event(7, AT))
    installation.hubspot.faults.append(HubspotFault(status=503))
    installation.look_up()
    installation.make_due()
    installation.look_up()
    assert set(installation.customers()) == {"7"}


def test_a_lookup_whose_worker_died_comes_back_by_itself(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    installation.post(hubspot_event(7, AT))
    assert (
        len(installation.services.deliveries.take_lookups("hubspot", most_events=100, lease_seconds=60)) == 1
    )
    installation.look_up()
    assert installation.customers() == {}
    installation.make_due()
    installation.look_up()
    assert set(installation.customers()) == {"7"}


def test_the_newest_wins_also_when_it_had_to_wait_less(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    now = datetime.now(UTC)
    installation.post(hubspot_event(7, AT, occurred_at=now - timedelta(minutes=2)))
    installation.post(hubspot_event(7, "", occurred_at=now))
    installation.look_up()
    assert set(installation.customers("cancelled")) == {"7"}


def test_an_event_sent_again_while_it_waits_is_one_event(installation):
    installation.hubspot.add("7", phone="300 111 2233")
    event = hubspot_event(7, AT)
    first = installation.post(event)
    assert installation.post(event) == first
    assert len(installation.waiting()) == 1
    installation.look_up()
    assert len(installation.customers()) == 1
    assert installation.post({**event, "attemptNumber": 1}, hubspot_event(9, "x", name="email"))[
        "recalls"
    ] == [installation.customers()["7"].id]


def test_waits_grow_are_bounded_and_honour_what_the_crm_asks():
    waits = [wait_after(tries, None) for tries in range(1, 12)]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (2.0, 300.0)
    assert wait_after(1, 40.0) == 40.0
    assert wait_after(1, 10**9) == 3600.0
