"""Lookups that fail: where an operator sees that events wait, why, and until when."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.monitor import AlertMonitor
from integration.cli import check as cli_check
from support import ENVIRON, hubspot_event, url_of
from support.cli_runner import Ringback
from support.dashboard_client import Pages, text_of
from support.hubspot_stub import TOKEN, HubspotFault, rate_limited
from support.lookup_installation import LookupInstallation, config_text, with_nine_contacts
from support.metrics_client import client_of, figures
from support.reporters import SilentReporter

AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
RULE = '[[alerts.rules]]\nkind = "lookups-failing"\nminutes = 5\n'
DROP = HubspotFault(act="drop")
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


def run(installation, tmp_path, *args):
    environ = {**ENVIRON, "REDIS_URL": url_of(installation.services.store.client)}
    return Ringback(tmp_path / "ringback.toml", environ)(*args)


@pytest.mark.parametrize("command", ["recalls", "parked"])
def test_the_command_line_says_that_events_wait_why_and_until_when(failing, tmp_path, command):
    found = run(failing, tmp_path, command)
    assert f"3 events wait for HubSpot (source hubspot): {REASON}. The source waits until its" in found.stderr
    assert "ringback check --online" in found.stderr
    assert "ext try" not in found.stderr
    (status,) = json.loads(run(failing, tmp_path, command, "--json").stdout)["lookups"]
    assert (status["source"], status["provider"], status["events"]) == ("hubspot", "HubSpot", 3)
    assert (status["failure"]["kind"], status["failure"]["reason"]) == ("refused", REASON)
    assert status["failure"]["next_try"] is None


@pytest.mark.parametrize("command", ["recalls", "parked"])
def test_the_command_line_says_when_the_next_try_is(installation, tmp_path, command):
    installation.hubspot.faults.append(rate_limited("SECONDLY", Retry_After="30"))
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    found = run(installation, tmp_path, command)
    assert "1 event waits for HubSpot (source hubspot): HubSpot's rate limit" in found.stderr
    assert "Next try at 20" in found.stderr
    assert "until its lookup is changed" not in found.stderr
    (status,) = json.loads(run(installation, tmp_path, command, "--json").stdout)["lookups"]
    assert status["failure"]["next_try"].startswith("20")


def test_an_online_check_that_succeeds_ends_the_wait_of_a_refused_token(failing, tmp_path, monkeypatch):
    monkeypatch.setattr(cli_check, "check_queues", lambda _config, _store: [])
    refused = run(failing, tmp_path, "check", "--online")
    assert f"hubspot: FAILED: {REASON}" in refused.stdout
    assert not failing.is_due
    failing.hubspot.token = TOKEN
    accepted = run(failing, tmp_path, "check", "--online")
    assert "HubSpot accepts the lookup's credentials. Its waiting events are looked up now" in accepted.stdout
    assert failing.is_due
    failing.look_up()
    assert set(failing.customers()) == {"1", "2", "3"}
    assert "looked up now" not in run(failing, tmp_path, "check", "--online").stdout


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
    assert "The source waits until its lookup is changed in ringback.toml" in page
    assert "next try" not in page
    page = text_of(Pages(failing.services, language="es").get("/sources/hubspot"))
    assert "3 eventos esperan a HubSpot" in page
    assert "HubSpot rechaza el token" in page
    assert "El origen espera hasta que se cambie su consulta" in page
    assert "próximo intento" not in page


def test_the_first_page_has_the_source_among_what_requires_attention(failing):
    page = text_of(Pages(failing.services).get("/"))
    assert "Source hubspot: lookups in HubSpot fail" in page
    assert "HubSpot rejects the token" in page
    assert "Waiting events: 3, since" in page
    assert "They wait until the lookup of the source is changed." in page
    assert "Next try" not in page
    assert "All quiet" not in page
    page = text_of(Pages(failing.services, language="es").get("/"))
    assert "Origen hubspot: fallan las consultas a HubSpot" in page
    assert "HubSpot rechaza el token" in page
    assert "Esperan hasta que se cambie la consulta (lookup) del origen." in page
    assert "Próximo intento" not in page


def test_the_first_page_says_when_a_source_is_tried_again(installation):
    installation.hubspot.faults.append(DROP)
    installation.post(hubspot_event(1, AT))
    installation.look_up()
    page = text_of(Pages(installation.services).get("/"))
    assert "Next try: 20" in page
    assert "They wait until" not in page


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
    assert "next try" in page
    installation.make_due()
    installation.hubspot.faults.clear()
    installation.services.lookup_status.succeeded("hubspot", installation.lookup.digest)
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
    failing.services.lookup_status.succeeded("hubspot", failing.lookup.digest)
    assert holds(7) == ["lookups-failing"], "it is over a minute after its cause"
    assert holds(9) == []
