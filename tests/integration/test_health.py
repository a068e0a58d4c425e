"""/healthz, /readyz, /metrics on a real store, also when it is away, hangs or may forget."""

from __future__ import annotations

import os
import signal
import time
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.delivery import Delivery
from integration.mapping.planner import plan_delivery
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.heartbeat import Heartbeat
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.telemetry.counters import ADMIT
from integration.web import metrics
from integration.web.health import StoreProbe
from integration.web.metrics import gauges
from integration.webhooks.providers import SOURCES
from support import ENVIRON, SOURCES_AND_ROUTES, as_bytes, make_services, two_accounts, write_config
from support.metrics_client import client_of, figures
from support.waiting import AT_ONCE_SECONDS

GOOD = two_accounts() + SOURCES_AND_ROUTES
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


def services_at(folder, url, *, text=GOOD):
    watch = watch_config(write_config(folder, text), ENVIRON, every_seconds=0)
    store = Store(connect(url, timeout_seconds=1.2, connect_seconds=0.4))
    return Services(watch, store, WakeUpPublisher.silent())


def planned(services, event):
    """A delivery of the source `forms` and what is to become of it."""
    now = datetime.now(UTC)
    delivery = Delivery(
        id="dl_1", source="forms", method="POST", url="", received_at=now, body=as_bytes(event),
        headers={"content-type": "application/json"},
    )  # fmt: skip
    events = SOURCES["json"].read(delivery, services.config.sources["forms"])
    return delivery, plan_delivery(services.routes, delivery, events, now)


# --- alive and ready ---------------------------------------------------------------------------


def test_alive_asks_nobody(tmp_path, start_valkey):
    server = start_valkey()
    client = client_of(services_at(tmp_path, server.url))
    server.kill()
    (tmp_path / "ringback.toml").write_text("not good")
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json) == (200, {"status": "ok"})


def test_ready_with_a_store_and_a_good_configuration(services):
    answer = client_of(services).get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ready", "store": {"ready": True}, "warnings": []}


def test_not_ready_while_the_store_is_away_and_ready_again_after(tmp_path, start_valkey):
    server = start_valkey()
    client = client_of(services_at(tmp_path, server.url))
    server.kill()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content_type) == (503, "application/problem+json")
    assert answer.json["store"]["ready"] is False
    assert answer.json["warnings"] == []
    server.start()
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/readyz", 503), ("/metrics", 200)])
def test_a_store_that_hangs_is_told_within_two_seconds(tmp_path, start_valkey, path, status):
    server = start_valkey()
    client = client_of(make_services(tmp_path, server.client()))
    assert client.get(path).status_code == 200
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert client.get(path).status_code == status
    assert time.monotonic() - started < AT_ONCE_SECONDS


def test_a_store_that_may_forget_makes_it_not_ready(tmp_path, start_valkey):
    server = start_valkey("--appendonly", "no")
    answer = client_of(services_at(tmp_path, server.url)).get("/readyz")
    assert answer.status_code == 503
    assert "lose" in answer.json["store"]["why"]


def test_a_store_that_may_forget_is_good_enough_where_that_is_accepted(tmp_path, start_valkey):
    server = start_valkey("--appendonly", "no")
    text = GOOD + "\n[store]\naccept_loss = true\n"
    assert client_of(services_at(tmp_path, server.url, text=text)).get("/readyz").status_code == 200


def test_a_faulty_file_is_a_warning_with_its_keys_and_never_its_values(tmp_path, valkey, store):
    client = client_of(services_at(tmp_path, valkey.url))
    bad = GOOD.replace('country = "CO"', 'country = "no-such-value"').replace(
        "[sources.forms]", "[sources.forms]\nnope = 7"
    )
    (tmp_path / "ringback.toml").write_text(bad)
    answer = client.get("/readyz")
    assert answer.status_code == 200
    (warning,) = answer.json["warnings"]
    faults = "ringback.toml: accounts.bogota.country; ringback.toml: sources.forms.nope"
    assert f"the last valid version stays in use. Faults: {faults}. Run `ringback check`" in warning
    assert "no-such-value" not in answer.text
    assert answer.json["store"] == {"ready": True}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "ringback.toml is without sources and accounts"),
        (GOOD + "\n[store\n", "ringback.toml: line "),
        (None, "ringback.toml is missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_the_warning(tmp_path, valkey, store, text, fault):
    client = client_of(services_at(tmp_path, valkey.url))
    file = tmp_path / "ringback.toml"
    file.unlink() if text is None else file.write_text(text)
    (warning,) = client.get("/readyz").json["warnings"]
    assert f"Faults: {fault}" in warning


def test_a_store_on_a_unix_socket_is_asked_too(valkey):
    assert StoreProbe(connect(valkey.unix_url)).answers()


# --- metrics -----------------------------------------------------------------------------------


def test_an_empty_store_has_figures_for_every_account(services):
    found = figures(client_of(services))
    assert found["ringback_store_up{}"] == 1
    assert found["ringback_config_faults{}"] == 0
    assert found["ringback_recalls_queued{account=bogota}"] == 0
    assert found["ringback_parked_events{}"] == 0
    assert found["ringback_lookups_waiting{}"] == 0
    assert found["ringback_due_lag_seconds{}"] == 0


def test_what_is_admitted_by_one_process_is_shown_by_another(tmp_path, services, installation, valkey):
    installation.ask()
    installation.ask("c2")
    services.recalls.cancel(installation.ask(account="lima"), "for the test")
    found = figures(client_of(services_at(tmp_path, valkey.url)))
    assert found["ringback_recalls_queued{account=bogota}"] == 2
    assert found["ringback_recalls_queued{account=lima}"] == 0
    assert found["ringback_recalls_admitted_total{source=api:test}"] == 3
    assert found["ringback_events_total{route=,source=api:test,what=recall}"] == 3
    assert found["ringback_recalls_ended_total{state=cancelled}"] == 1
    assert found["ringback_oldest_queued_seconds{account=bogota}"] >= 0
    assert "ringback_oldest_queued_seconds{account=lima}" not in found


def test_a_queue_is_in_one_state(services):
    services.binding.bind()
    services.accounts.pause("bogota", "for the test")
    found = figures(client_of(services))
    states = {
        state: found[f"ringback_queue_state{{account=bogota,state={state}}}"]
        for state in metrics.QUEUE_STATES
    }
    assert states == {"idle": 0, "busy": 0, "waiting": 0, "paused": 1, "stopped": 0}


def test_a_queue_that_waits_for_a_worker_lags(services, installation, store):
    installation.ask()
    (queue,) = store.zrange("{ringback}:due", 0, -1)
    store.zadd("{ringback}:due", {queue: (time.time() - 100) * 1000})
    assert figures(client_of(services))["ringback_due_lag_seconds{}"] == pytest.approx(100, abs=20)


def test_the_daily_limit_is_shown_where_there_is_one(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts(more="daily_limit = 3000") + SOURCES_AND_ROUTES)
    assert figures(client_of(services))["ringback_daily_limit{account=lima}"] == 3000


def test_counts_of_the_store_become_counters(services, store):
    counts = {"pushes:accepted": 4, "pushes:worker lost": 1, "cancel too late": 2, "events:forms:parked": 3}
    store.hset("{ringback}:counts", mapping={**counts, "of tomorrow:x": 1})
    found = figures(client_of(services))
    assert found["ringback_pushes_total{verdict=accepted}"] == 4
    assert found["ringback_pushes_total{verdict=worker lost}"] == 1
    assert found["ringback_cancels_too_late_total{}"] == 2
    assert found["ringback_events_total{route=,source=forms,what=parked}"] == 3
    assert not [name for name in found if "tomorrow" in name]


def test_processes_and_the_stalled_among_them_are_counted(services, store):
    first, second = (Heartbeat(services.processes, f"worker:{n}") for n in range(2))
    for each in (first, second, Heartbeat(services.processes, "web:1")):
        each.send()
    found = figures(client_of(services))
    assert found["ringback_processes{kind=web}"] == 1
    assert found["ringback_processes{kind=worker}"] == 2
    assert found["ringback_workers_stalled{}"] == 0
    first.consumer_health.stalled_since = time.monotonic()
    first.consumer_health.untaken()
    with second.consumer_health.taking():
        pass
    for each in (first, second):
        each.send()
    found = figures(client_of(services))
    assert found["ringback_workers_stalled{}"] == 1
    assert found["ringback_drains_total{by=sweep}"] == 1
    assert found["ringback_drains_total{by=wake_up}"] == 1


def test_with_the_store_away_the_metrics_say_so(tmp_path, start_valkey):
    server = start_valkey()
    client = client_of(services_at(tmp_path, server.url))
    server.kill()
    started = time.monotonic()
    found = figures(client)
    assert time.monotonic() - started < AT_ONCE_SECONDS
    assert found["ringback_store_up{}"] == 0
    assert not [name for name in found if name.startswith("ringback_recalls")]


def test_a_faulty_configuration_is_counted(tmp_path, valkey, store):
    client = client_of(services_at(tmp_path, valkey.url))
    (tmp_path / "ringback.toml").write_text(GOOD + "\n[nonsense]\n")
    assert figures(client)["ringback_config_faults{}"] == 1


def test_what_one_process_counted_another_shows(tmp_path, services, valkey):
    services.counters.delivery("forms", "not verified")
    services.counters.delivery("forms", "admitted")
    for seconds in (0.002, 0.003, 9.0):
        services.counters.observe(ADMIT, seconds)
    services.counters.pushed("bogota", 0.2)
    services.counter_flusher.flush()
    client = client_of(services_at(tmp_path, valkey.url))
    found = figures(client)
    assert found["ringback_deliveries_total{result=not verified,source=forms}"] == 1
    assert found["ringback_deliveries_total{result=admitted,source=forms}"] == 1
    buckets = [
        found[f"ringback_admit_seconds_bucket{{le={le}}}"]
        for le in ("0.001", "0.0025", "0.005", "5.0", "+Inf")
    ]
    assert buckets == [0, 1, 2, 2, 3]
    assert found["ringback_admit_seconds_count{}"] == 3
    assert found["ringback_admit_seconds_sum{}"] == pytest.approx(9.005)
    assert found["ringback_push_seconds_count{}"] == 1
    assert "process=" not in client.get("/metrics").text


def test_events_are_shown_by_route_also_of_routes_and_keys_with_any_name(services, store):
    counts = {
        "events:forms:ignored": 1,
        "events:forms:recall:form: new: one": 2,
        "events:recall:parked:recall": 3,
        "events:api:recall:recall": 4,
        "events:forms:recall:other": 5,
        "admitted": 11,
        "admitted:forms": 7,
    }
    store.hset("{ringback}:counts", mapping=counts)
    found = figures(client_of(services))
    assert found["ringback_events_total{route=,source=forms,what=ignored}"] == 1
    assert found["ringback_events_total{route=form: new: one,source=forms,what=recall}"] == 2
    assert found["ringback_events_total{route=recall,source=recall,what=parked}"] == 3
    assert found["ringback_events_total{route=,source=api:recall,what=recall}"] == 4
    admitted = {
        name: value for name, value in found.items() if name.startswith("ringback_recalls_admitted_total")
    }
    assert admitted == {
        "ringback_recalls_admitted_total{source=forms}": 7,
        "ringback_recalls_admitted_total{source=api:recall}": 4,
    }


def test_the_route_of_an_event_is_counted_when_it_is_admitted(services):
    delivery, outcomes = planned(services, {"customer": "7", "phone": "3001112233", "at": TOMORROW})
    services.admission.admit(delivery, outcomes, b"")
    assert figures(client_of(services))["ringback_events_total{route=form,source=forms,what=recall}"] == 1


def test_queues_and_recalls_are_counted_whatever_their_number(services, installation, monkeypatch):
    monkeypatch.setattr(gauges, "MOST_ACCOUNTS", 1)
    installation.ask(account="lima")
    services.accounts.pause("lima", "for the test")
    found = figures(client_of(services))
    assert (found["ringback_queues{state=paused}"], found["ringback_queues{state=idle}"]) == (1, 1)
    assert found["ringback_recalls{state=queued}"] == 1
    assert found["ringback_recalls_queued{account=lima}"] == 1
    assert "ringback_recalls_queued{account=bogota}" not in found, "bogota needs no look"


def test_dates_that_a_paused_queue_cannot_keep_are_at_risk(services, installation):
    installation.ask()
    assert figures(client_of(services))["ringback_dates_at_risk{}"] == 0
    services.accounts.pause("bogota", "for the test")
    found = figures(client_of(services))
    assert found["ringback_dates_at_risk{}"] == 1
    assert found["ringback_account_dates_at_risk{account=bogota}"] == 1


def test_memory_versions_and_the_last_delivery_of_a_source_are_shown(services):
    services.counters.delivery("forms", "admitted")
    services.counters.delivery("hubspot", "not verified")
    services.counter_flusher.flush()
    found = figures(client_of(services))
    assert found["ringback_store_memory_bytes{}"] > 100_000
    assert found["ringback_store_memory_limit_bytes{}"] == 0
    assert [name for name in found if name.startswith("ringback_build_info{python=3.")]
    last = found["ringback_source_last_taken_timestamp_seconds{source=forms}"]
    assert last == pytest.approx(time.time(), abs=60)
    assert "ringback_source_last_taken_timestamp_seconds{source=hubspot}" not in found


def test_no_label_holds_a_token_a_customer_or_a_number(services, installation):
    installation.ask("customer-8123")
    services.accounts.pause("bogota", "for customer-8123 at 3001112233")
    text = client_of(services).get("/metrics").text
    for secret in ("customer-8123", "3001112233", *ENVIRON.values(), *services.queues.bound().values()):
        assert secret not in text
