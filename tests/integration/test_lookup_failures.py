"""Lookups that fail: when they are tried again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.clients.lookups import hubspot
from integration.clients.lookups.requests import REQUEST_SECONDS
from integration.services.parked import ParkedFilter
from support import hubspot_event, parked_events
from support.counting import counts
from support.hubspot_stub import TOKEN, HubspotFault, rate_limited
from support.lookup_installation import LookupInstallation, config_text, with_nine_contacts
from workers.lookups import LONGEST_RECORD_WAIT_SECONDS, MOST_TRIES, wait_after

AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
REFUSED = HubspotFault(status=401, body=b"{}")
DROP = HubspotFault(act="drop")
UNREADABLE = HubspotFault(status=400, body=b"{}")
REASON = "HubSpot rejects the token: check the lookup's token (401)"


@pytest.fixture
def installation(tmp_path, store):
    with with_nine_contacts(tmp_path, store) as found:
        yield found


@pytest.fixture
def failing(installation):
    """An installation whose token HubSpot refused, while three events wait."""
    installation.refuse_the_token(AT)
    return installation


def seconds_until(moment):
    return (moment - datetime.now(UTC)).total_seconds()


@pytest.mark.parametrize("fault", [REFUSED, DROP, HubspotFault(status=503), rate_limited("DAILY")])
def test_while_a_source_waits_no_event_of_it_is_looked_up(installation, fault):
    installation.hubspot.faults.append(fault)
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    installation.post(hubspot_event(2, AT))
    assert not installation.is_due
    installation.look_up()
    assert len(installation.hubspot.asked) == 1
    installation.make_due()
    assert installation.is_due
    installation.hubspot.faults.clear()
    assert installation.status.failure.is_held


def test_after_the_wait_all_events_are_looked_up_and_the_failure_is_over(installation):
    installation.hubspot.faults.append(DROP)
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    installation.post(hubspot_event(2, AT))
    installation.make_due()
    installation.look_up()
    assert set(installation.customers()) == {"1", "2"}
    assert (installation.status.events, installation.status.failure) == (0, None)
    assert not installation.services.store.client.exists(installation.key("lookup_failure:hubspot"))


def test_a_refused_token_is_not_tried_again(failing):
    failure = failing.status.failure
    assert (failure.kind, failure.reason, failure.failures) == ("refused", REASON, 1)
    assert (failure.is_held, failure.next_try) == (True, None)
    asked = len(failing.hubspot.asked)
    failing.post(hubspot_event(4, AT))
    other = another_process(failing)
    in_a_year = round((datetime.now(UTC) + timedelta(days=365)).timestamp() * 1000)
    for process in (failing, other):
        process.services.store._protocol.clock = lambda: in_a_year
        assert not process.is_due
        process.look_up()
    assert len(failing.hubspot.asked) == asked
    assert failing.status.events == 4


def another_process(installation, token=TOKEN):
    """Return another process of the installation, which read the configuration with this token."""
    text, client = config_text(installation.hubspot.base_url, token), installation.services.store.client
    return LookupInstallation(installation.folder, client, installation.hubspot, text)


def test_a_changed_token_is_tried_at_once(failing):
    changed = another_process(failing, "pat-another")
    assert changed.status.failure is None
    assert changed.is_due
    changed.look_up()
    assert set(changed.customers()) == {"1", "2", "3"}


def test_a_token_that_is_refused_between_two_objects_is_not_tried_again(installation):
    installation.hubspot.add("7", "deals", phone="3001110007")
    installation.hubspot.faults_of_objects["deals"] = REFUSED
    installation.post(hubspot_event(1, AT), deal_event(7))
    installation.look_up()
    assert set(installation.customers()) == {"1"}
    assert (installation.status.failure.is_held, installation.status.failure.next_try) == (True, None)
    assert not installation.is_due
    asked = len(installation.hubspot.asked)
    installation.look_up()
    assert len(installation.hubspot.asked) == asked
    installation.hubspot.token = "pat-another"
    installation.hubspot.faults_of_objects.clear()
    changed = another_process(installation, "pat-another")
    assert changed.is_due, "the event waits no longer than for the change"
    changed.look_up()
    assert (changed.status.events, changed.status.failure) == (0, None)


def test_the_store_keeps_no_token(failing):
    client = failing.services.store.client
    stored = b"".join(client.dump(key) for key in client.scan_iter("*"))
    assert TOKEN.encode() not in stored


def test_a_success_with_other_settings_does_not_end_the_wait(failing):
    assert not failing.services.lookup_status.succeeded("hubspot", "settings of another process")
    assert failing.status.failure.is_held
    assert failing.services.lookup_status.succeeded("hubspot", failing.lookup.digest)
    assert failing.status.failure is None


def test_a_429_waits_as_long_as_hubspot_says(installation):
    installation.hubspot.faults.append(rate_limited("SECONDLY", Retry_After="30"))
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    assert installation.status.failure.kind == "rate_limited"
    assert 25 < seconds_until(installation.status.failure.next_try) <= 30


def test_the_waits_of_a_source_grow_with_its_failures(installation):
    waits = []
    installation.post(hubspot_event(1, AT))
    for _ in range(4):
        installation.hubspot.faults.append(DROP)
        installation.look_up()
        waits.append(seconds_until(installation.status.failure.next_try))
        installation.make_due()
    assert [round(wait / 2) for wait in waits] == [1, 2, 4, 8]
    assert installation.status.failure.failures == 4


def test_a_failure_about_single_records_does_not_hold_the_source(installation):
    installation.hubspot.faults.append(UNREADABLE)
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    installation.post(hubspot_event(2, AT))
    assert installation.is_due
    installation.look_up()
    assert set(installation.customers()) == {"2"}
    assert installation.status.events == 1
    assert "rejects the request" in installation.status.failure.reason
    installation.make_due()
    installation.look_up()
    assert set(installation.customers()) == {"1", "2"}
    assert installation.status.failure is None


def test_a_record_that_cannot_be_read_waits_alone(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(*(hubspot_event(contact, AT) for contact in (1, 2, 99)))
    installation.look_up()
    assert set(installation.customers()) == {"1"}
    assert len(parked_events(installation.services)) == 1
    assert (installation.status.events, installation.status.failure.kind) == (1, "unreadable")
    assert not installation.is_due
    installation.hubspot.unreadable.clear()
    installation.make_due()
    installation.look_up()
    assert set(installation.customers()) == {"1", "2"}
    assert (installation.status.events, installation.status.failure) == (0, None)


def test_the_waits_of_a_record_that_cannot_be_read_grow(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    waits = []
    for _ in range(4):
        installation.look_up()
        ((_, due),) = installation.waiting()
        waits.append(round((due / 1000 - datetime.now(UTC).timestamp()) / 2))
        installation.make_due()
    assert waits == [1, 2, 4, 8]


def test_an_event_whose_lookup_is_tried_again_is_counted_once(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    for _ in range(3):
        installation.look_up()
        installation.make_due()
    counted = counts(installation.services.store.client)
    assert {name: times for name, times in counted.items() if ":pending" in name} == {
        "events:hubspot:pending": 1
    }


def test_a_record_that_cannot_be_read_keeps_the_beginning_of_its_failure(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    installation.look_up()
    first = installation.status.failure
    client, key = installation.services.store.client, installation.key("lookup_failure:hubspot")
    client.hincrby(key, "since", -60_000)
    for lookup, _ in installation.waiting():
        client.zadd(installation.key("lookups:hubspot"), {lookup: 0})
    installation.look_up()
    again = installation.status.failure
    assert again.failures == 2
    assert again.since < first.since


def test_failures_of_single_records_do_not_lengthen_the_waits_of_the_source(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    for _ in range(3):
        installation.look_up()
        for lookup, _ in installation.waiting():
            installation.services.store.client.zadd(installation.key("lookups:hubspot"), {lookup: 0})
    assert installation.status.failure.failures == 3
    installation.hubspot.faults.append(DROP)
    installation.look_up()
    failure = installation.status.failure
    assert (failure.is_held, failure.failures) == (True, 1)
    assert seconds_until(failure.next_try) <= 2


def test_a_record_that_spoils_an_answer_delays_no_other_delivery(installation):
    installation.hubspot.spoiling.add("2")
    for contact in (1, 2, 3):
        installation.post(hubspot_event(contact, AT))
    installation.look_up()
    assert set(installation.customers()) == {"1", "3"}
    assert (installation.status.events, installation.status.failure.is_held) == (1, False)
    assert not installation.is_due


def test_a_source_that_fails_between_single_deliveries_is_held(installation):
    for contact in (1, 2, 3):
        installation.post(hubspot_event(contact, AT))
    installation.hubspot.faults.extend([UNREADABLE, UNREADABLE, DROP])
    installation.look_up()
    assert len(installation.hubspot.asked) == 3
    assert (installation.status.events, installation.status.failure.is_held) == (3, True)


def test_a_failure_about_single_records_is_over_when_it_is_not_reported_again(installation):
    installation.hubspot.faults.append(UNREADABLE)
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    client, key = installation.services.store.client, installation.key("lookup_failure:hubspot")
    until = int(client.hget(key, "until"))
    client.hset(key, "until", until - 130_000)
    assert installation.status.failure is None


MISSING_SCOPES = json.dumps(
    {
        "status": "error",
        "message": "This app hasn't been granted all required scopes to make this call.",
        "errors": [
            {
                "message": "One or more of the following scopes are required.",
                "context": {"requiredGranularScopes": ["crm.objects.deals.read", "<b>", 7]},
            }
        ],
        "category": "MISSING_SCOPES",
    }
).encode()


def deal_event(deal):
    return {**hubspot_event(deal, AT), "subscriptionType": "deal.propertyChange"}


@pytest.fixture
def without_deals(installation):
    """An installation whose token has no scope for deals, while two of them wait."""
    installation.hubspot.faults_of_objects["deals"] = HubspotFault(status=403, body=MISSING_SCOPES)
    installation.post(deal_event(7))
    installation.post(deal_event(8))
    installation.look_up()
    return installation


def test_events_of_an_object_whose_scope_is_missing_wait_alone(without_deals):
    failure = without_deals.status.failure
    assert failure.reason.endswith("it may lack the scope crm.objects.deals.read (403)")
    assert (failure.kind, failure.is_held, without_deals.status.events) == ("forbidden", False, 2)
    without_deals.post(hubspot_event(1, AT))
    assert without_deals.is_due
    without_deals.look_up()
    assert set(without_deals.customers()) == {"1"}
    assert without_deals.status.events == 2


def test_an_object_whose_scope_is_missing_is_asked_for_once_in_five_minutes(without_deals, monkeypatch):
    without_deals.post(deal_event(9))
    without_deals.make_due()
    without_deals.look_up()
    assert len(without_deals.hubspot.asked) == 1
    monkeypatch.setattr(hubspot, "_TOKEN_LIMITS", hubspot._LimitsByToken())
    without_deals.make_due()
    without_deals.look_up()
    assert len(without_deals.hubspot.asked) == 2


def test_deals_are_read_once_the_token_has_their_scope(without_deals, monkeypatch):
    monkeypatch.setattr(hubspot, "FORBIDDEN_SECONDS", 0.0)
    without_deals.hubspot.faults_of_objects.clear()
    monkeypatch.setattr(hubspot, "_TOKEN_LIMITS", hubspot._LimitsByToken())
    without_deals.make_due()
    without_deals.look_up()
    assert without_deals.status.failure is None
    assert without_deals.status.events == 0


def give_up(installation):
    for _ in range(MOST_TRIES):
        installation.look_up()
        installation.make_due()


@pytest.mark.parametrize(
    "fault",
    [HubspotFault(status=404, body=b"{}"), HubspotFault(status=403, body=MISSING_SCOPES)],
    ids=["unknown object", "missing scope"],
)
def test_an_event_whose_record_stays_unreadable_is_parked_with_the_reason(installation, fault):
    installation.hubspot.faults_of_objects["deals"] = fault
    installation.post(deal_event(7), hubspot_event(1, AT))
    give_up(installation)
    (parked,) = parked_events(installation.services)
    assert parked["field"] == "record"
    assert parked["found"].endswith(f"({fault.status})")
    assert (installation.status.events, installation.status.failure) == (0, None)
    assert set(installation.customers()) == {"1"}


def test_a_parked_event_whose_record_was_unreadable_is_looked_up_again_by_a_remap(installation):
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    give_up(installation)
    installation.hubspot.unreadable.clear()
    remapped = installation.services.parked.remap(ParkedFilter(), datetime.now(UTC))
    assert remapped.pending == 1
    installation.look_up()
    assert set(installation.customers()) == {"2"}
    assert parked_events(installation.services) == []


@pytest.mark.parametrize("fault", [DROP, REFUSED, rate_limited("DAILY")], ids=["drop", "401", "429"])
def test_failures_of_the_source_are_no_tries_of_a_record(installation, fault, monkeypatch):
    monkeypatch.setattr(hubspot, "DAILY_WAIT_SECONDS", 0.0)
    installation.hubspot.unreadable.add("2")
    installation.post(hubspot_event(2, AT))
    for _ in range(MOST_TRIES):
        installation.hubspot.faults.append(fault)
        installation.look_up()
        installation.make_due()
    installation.look_up()
    assert parked_events(installation.services) == []
    assert installation.status.events == 1


def test_records_for_which_hubspot_had_no_time_are_never_parked(installation, monkeypatch):
    monkeypatch.setattr(hubspot, "CALL_SECONDS", REQUEST_SECONDS)
    installation.hubspot.merged |= {"55": "1", "56": "2"}
    installation.post(hubspot_event(55, AT), hubspot_event(56, AT))
    give_up(installation)
    assert parked_events(installation.services) == []
    assert installation.status.events == 2


def test_the_tries_of_a_record_take_about_a_day():
    waits = [wait_after(tries, None, LONGEST_RECORD_WAIT_SECONDS) for tries in range(1, MOST_TRIES)]
    assert 23 * 3600 < sum(waits) < 25 * 3600


def test_the_events_that_wait_are_counted(failing):
    client = failing.services.store.client
    assert failing.status.events == 3
    lookup = failing.waiting()[0][0]
    events = json.loads(client.hget(failing.key(f"lookup:{lookup}"), "events"))
    failing.services.store.call("forget_lookup", lookup, json.dumps(events[:1]))
    assert failing.status.events == 3 - len(events) + 1
    failing.services.store.call("forget_lookup", lookup, "[]")
    assert failing.status.events == 3 - len(events)
    (other,) = [one for one, _ in failing.waiting()]
    failing.services.store.call("forget_lookup", other, "[]")
    assert (failing.status.events, failing.status.failure) == (0, None)
    assert not client.exists(failing.key("lookup_events"))


def test_lookups_of_a_source_that_waits_do_not_look_due_to_drains(failing):
    failing.post(hubspot_event(4, AT))
    client = failing.services.store.client
    now = datetime.now(UTC).timestamp() * 1000
    assert client.zcount(failing.key("lookups"), "-inf", now) == 0
