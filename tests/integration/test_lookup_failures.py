"""Lookups that fail: when they are tried again, and where an operator sees that events wait."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.monitor import AlertMonitor
from integration.clients.lookups import hubspot
from integration.clients.lookups.requests import REQUEST_SECONDS
from integration.services.parked import ParkedFilter
from support import ENVIRON, hubspot_event, parked_events, url_of
from support.cli_runner import Ringback
from support.counting import counts
from support.dashboard_client import Pages, text_of
from support.hubspot_stub import HubspotFault, HubspotStub, rate_limited
from support.lookup_installation import LookupInstallation, config_text
from support.metrics_client import client_of, figures
from support.reporters import SilentReporter
from workers.lookups import LONGEST_RECORD_WAIT_SECONDS, MOST_TRIES, wait_after

AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
RULE = '[[alerts.rules]]\nkind = "lookups-failing"\nminutes = 5\n'
REFUSED = HubspotFault(status=401, body=b"{}")
DROP = HubspotFault(act="drop")
UNREADABLE = HubspotFault(status=400, body=b"{}")
REASON = "HubSpot rejects the token: check the lookup's token (401)"


@pytest.fixture
def installation(tmp_path, store):
    with HubspotStub() as stub:
        found = LookupInstallation(tmp_path, store, stub)
        for contact in range(1, 10):
            stub.add(str(contact), phone=f"300111000{contact}")
        yield found


@pytest.fixture
def failing(installation):
    """An installation whose token HubSpot refused, while three events wait."""
    installation.hubspot.token = "pat-another"
    installation.post(hubspot_event(1, AT), hubspot_event(2, AT))
    installation.post(hubspot_event(3, AT))
    installation.look_up()
    return installation


def seconds_until(moment):
    return (moment - datetime.now(UTC)).total_seconds()


# --- when it is tried again ----------------------------------------------------------------------


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


def test_a_refused_token_waits_an_hour(failing):
    failure = failing.status.failure
    assert (failure.kind, failure.reason, failure.failures) == ("refused", REASON, 1)
    assert 3500 < seconds_until(failure.next_try) <= 3600


def test_a_changed_token_is_tried_at_once(failing, tmp_path, store):
    changed = LookupInstallation(
        tmp_path, store, failing.hubspot, config_text(failing.hubspot.base_url, "pat-another")
    )
    assert changed.status.failure is None
    assert changed.is_due
    changed.look_up()
    assert set(changed.customers()) == {"1", "2", "3"}


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


# --- where it is seen ------------------------------------------------------------------------------


def run(installation, tmp_path, *args):
    environ = {**ENVIRON, "REDIS_URL": url_of(installation.services.store.client)}
    return Ringback(tmp_path / "ringback.toml", environ)(*args)


@pytest.mark.parametrize("command", ["recalls", "parked"])
def test_the_command_line_says_that_events_wait_why_and_until_when(failing, tmp_path, command):
    found = run(failing, tmp_path, command)
    assert f"3 events wait for HubSpot (source hubspot): {REASON}. Next try at 20" in found.stderr
    assert "or when you change the lookup of the source" in found.stderr
    (status,) = json.loads(run(failing, tmp_path, command, "--json").stdout)["lookups"]
    assert (status["source"], status["provider"], status["events"]) == ("hubspot", "HubSpot", 3)
    assert (status["failure"]["kind"], status["failure"]["reason"]) == ("refused", REASON)


def test_events_that_wait_without_a_failure_are_counted_without_a_reason(installation, tmp_path):
    installation.post(hubspot_event(1, AT))
    found = run(installation, tmp_path, "parked")
    assert "1 event waits for HubSpot (source hubspot).\n" in found.stderr


@pytest.mark.parametrize("command", ["recalls", "parked"])
def test_nothing_is_said_when_none_waits(installation, tmp_path, command):
    assert run(installation, tmp_path, command).stderr == ""


def test_the_page_of_a_source_says_that_events_wait_and_why(failing):
    page = text_of(Pages(failing.services).get("/sources/hubspot"))
    assert "3 events wait for HubSpot" in page
    assert "HubSpot rejects the token" in page
    assert "next try" in page
    page = text_of(Pages(failing.services, language="es").get("/sources/hubspot"))
    assert "3 eventos esperan a HubSpot" in page
    assert "HubSpot rechaza el token" in page


def test_the_first_page_has_the_source_among_what_requires_attention(failing):
    page = text_of(Pages(failing.services).get("/"))
    assert "Source hubspot: lookups in HubSpot fail" in page
    assert "HubSpot rejects the token" in page
    assert "Waiting events: 3, since" in page
    assert "All quiet" not in page
    page = text_of(Pages(failing.services, language="es").get("/"))
    assert "Origen hubspot: fallan las consultas a HubSpot" in page
    assert "HubSpot rechaza el token" in page


def test_the_list_of_sources_shows_the_one_that_cannot_be_read(failing):
    assert "HubSpot cannot be read" in text_of(Pages(failing.services).get("/sources"))
    assert "no se puede leer HubSpot" in text_of(Pages(failing.services, language="es").get("/sources"))


def test_the_page_of_a_delivery_says_why_it_waits(installation):
    delivery = installation.post(hubspot_event(1, AT))["delivery"]
    assert "Its record is read from HubSpot" in text_of(
        Pages(installation.services).get(f"/deliveries/{delivery}")
    )
    installation.hubspot.faults.append(rate_limited("SECONDLY", Retry_After="30"))
    installation.look_up()
    page = text_of(Pages(installation.services).get(f"/deliveries/{delivery}"))
    assert "1 event waits for HubSpot" in page
    assert "rate limit is reached (429)" in page
    installation.make_due()
    installation.hubspot.faults.clear()
    installation.services.lookup_status.succeeded("hubspot")
    installation.look_up()


def test_the_metrics_have_the_events_and_the_reason(failing):
    found = figures(client_of(failing.services))
    assert found["ringback_lookup_events_waiting{source=hubspot}"] == 3
    assert found["ringback_lookup_failing{reason=refused,source=hubspot}"] == 1
    assert found["ringback_lookup_failing{reason=unreachable,source=hubspot}"] == 0


def test_the_alert_begins_after_its_minutes_and_ends_with_the_failure(failing, tmp_path, store):
    failing = LookupInstallation(
        tmp_path, store, failing.hubspot, RULE + config_text(failing.hubspot.base_url)
    )

    def holds(minutes):
        later = datetime.now(UTC) + timedelta(minutes=minutes)
        AlertMonitor(failing.services, "web:1", SilentReporter(), lambda: later).evaluate()
        return [alert.kind for alert in failing.services.alerts.holding() if alert.on]

    assert holds(4) == []
    assert holds(6) == ["lookups-failing"]
    page = text_of(Pages(failing.services).get("/alerts"))
    assert "Source hubspot: lookups in HubSpot fail" in page
    assert "Waiting events: 3" in page
    assert "fallan las consultas a HubSpot" in text_of(Pages(failing.services, language="es").get("/alerts"))
    assert "lookups-failing 5 minutes" in text_of(Pages(failing.services).get("/sources/hubspot"))
    failing.services.lookup_status.succeeded("hubspot")
    assert holds(7) == ["lookups-failing"], "it is over a minute after its cause"
    assert holds(9) == []
