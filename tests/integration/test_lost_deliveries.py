"""Deliveries that were not stored and that their sender does not send again: they are counted for each source."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.monitor import AlertMonitor
from integration.app import compose
from integration.asgi import WsgiBridge
from integration.config.source_models.preset_files import presets
from integration.domain.errors import StoreAwayError
from integration.web.request_threads import RequestThreads
from support import make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import AT, HookClient
from support.metrics_client import client_of, figures
from support.reporters import SilentReporter

SECRET = "a-bearer-secret-of-s-0123"
SOURCE = """
[sources.s]
kind = "json"
verify = "bearer"
secrets = "{secret}"
rate_per_minute = 5
{keys}

[[routes]]
name = "r"
source = "s"
account = "bogota"
campaign_id = "12345"
customer_id = "{{{{ event.id }}}}"
recall_telephone = "3001112233"
recall_date = "{{{{ event.at }}}}"
"""
RULE = '[[alerts.rules]]\nkind = "deliveries-lost"\n'
LOST = "ringback_deliveries_lost_total{{result={},source=s}}"
UNSAVED = "ringback_deliveries_lost_unsaved{source=s}"


class Over:
    """A limit that is reached."""

    def over(self, name, per_minute):
        return 7


def receiver(folder, client, keys, rates=None):
    text = two_accounts() + SOURCE.format(secret=SECRET, keys=keys) + RULE
    return HookClient(make_services(folder, client, text), rates)


def post(web, *, secret=SECRET):
    body = json.dumps({"id": "c1", "at": AT})
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    return web.client.post("/hooks/s", data=body, headers=headers).status_code


@pytest.mark.parametrize(("keys", "lost"), [("resends = false", 2), ("", 0), ("resends = true", 0)])
def test_while_the_store_is_away_losses_are_counted_and_written_when_it_is_back(
    tmp_path, start_valkey, keys, lost
):
    server = start_valkey()
    web = receiver(tmp_path, server.client(), keys)
    services, metrics = web.services, client_of(web.services)
    assert post(web) == 202
    services.counter_flusher.flush()
    server.kill()
    assert [post(web), post(web)] == [503, 503]
    assert services.counter_flusher.unsaved_losses() == ({"s": lost} if lost else {})
    with pytest.raises(StoreAwayError):
        services.counter_flusher.flush()
    assert figures(metrics).get(UNSAVED, 0) == lost, "the metric survives a flush that failed"
    server.start()
    services.counter_flusher.flush()
    found = figures(metrics)
    assert found.get(LOST.format("not stored"), 0) == lost
    assert found.get(UNSAVED, 0) == 0
    activity = services.source_status.activity(["s"])["s"]
    assert (activity.losses, activity.lost is None) == (lost, not lost)
    assert sum(hour.lost for hour in services.source_status.day(["s"], datetime.now(UTC))["s"]) == lost


@pytest.mark.parametrize(("keys", "lost"), [("resends = false", 1), ("retry_status = 503", 0)])
def test_over_the_rate_a_sender_that_does_not_resend_loses_deliveries(tmp_path, store, keys, lost):
    web = receiver(tmp_path, store, keys, Over())
    assert post(web) in {429, 503}
    web.services.counter_flusher.flush()
    assert figures(client_of(web.services)).get(LOST.format("too many"), 0) == lost


@pytest.mark.parametrize(
    ("keys", "status", "lost"),
    [
        ("resends = false", 503, 1),
        ("", 503, 0),
        ("retry_status = 429", 429, 0),
        ("resends = false\nretry_status = 429", 429, 1),
    ],
)
def test_a_delivery_that_gets_no_thread_is_counted_and_answered_as_its_sender_expects(
    tmp_path, store, keys, status, lost
):
    web = receiver(tmp_path, store, keys)
    assert statuses_of_an_overloaded_web(web.services, "/hooks/s") == [status]
    web.services.counter_flusher.flush()
    found = figures(client_of(web.services))
    assert found["ringback_deliveries_total{result=overloaded,source=s}"] == 1
    assert found.get(LOST.format("overloaded"), 0) == lost


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/hooks/s"),
        ("POST", "/hooks/unknown"),
        ("POST", "/hooks/s/key"),
        ("POST", "/hooks/s/key/options"),
        ("POST", "/v1/recalls"),
    ],
)
def test_what_is_no_delivery_of_a_source_is_not_counted_under_load(tmp_path, store, method, path):
    services = receiver(tmp_path, store, "resends = false").services
    assert statuses_of_an_overloaded_web(services, path, method=method) == [503]
    assert services.counters.counted("counts") == {}


def statuses_of_an_overloaded_web(services, path, *, method="POST"):
    """Return the statuses of a request to a web that takes no more requests."""
    web = compose(services, Over())
    threads = RequestThreads(web, threads=0, most_waiting=0)
    gate = WsgiBridge(lambda _path: threads, web.count_overload)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"hooks.example.com")],
    }
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(message):
        sent.append(message)

    asyncio.run(gate(scope, receive, send))
    return [message["status"] for message in sent if message["type"] == "http.response.start"]


def test_a_delivery_that_was_not_verified_is_not_lost(tmp_path, store):
    web = receiver(tmp_path, store, "resends = false", Over())
    assert post(web, secret="wrong") == 401
    web.services.counter_flusher.flush()
    found = figures(client_of(web.services))
    assert (found[LOST.format("too many")], found[LOST.format("not stored")]) == (0, 0), (
        "zeros, so that a rule on an increase sees the first loss"
    )


def test_losses_after_a_day_without_any_begin_a_new_count(tmp_path, store):
    services = receiver(tmp_path, store, "resends = false").services

    def losses(number):
        for _ in range(number):
            services.counters.delivery("s", "not stored", lost=True)
        services.counter_flusher.flush()
        return services.source_status.activity(["s"])["s"]

    first = losses(2)
    second = losses(3)
    assert (second.losses, second.lost_since) == (5, first.lost_since)
    earlier = datetime.now(UTC) - timedelta(hours=25)
    store.hset("{ringback}:source:s", "lost", int(earlier.timestamp() * 1000))
    third = losses(1)
    assert third.losses == 1
    assert third.lost_since >= second.lost_since


def test_the_alert_and_the_page_of_the_source_say_what_was_lost(tmp_path, store):
    services = receiver(tmp_path, store, "resends = false").services
    assert "This sender does not send again" in text_of(Pages(services).get("/sources/s"))
    for _ in range(3):
        services.counters.delivery("s", "not stored", lost=True)
    services.counter_flusher.flush()
    AlertMonitor(services, "web:1", SilentReporter()).evaluate()
    assert "Source s: deliveries are lost" in text_of(Pages(services).get("/alerts"))
    spanish = Pages(services, language="es")
    assert "Origen s: se pierden entregas" in text_of(spanish.get("/alerts"))
    page = text_of(Pages(services).get("/sources/s"))
    assert "3 deliveries were lost" in page
    assert "deliveries-lost 60 minutes" in page
    assert "Se perdieron 3 entregas" in text_of(spanish.get("/sources/s"))


def test_the_alert_ends_an_hour_after_the_latest_loss(tmp_path, store):
    services = receiver(tmp_path, store, "resends = false").services
    services.counters.delivery("s", "too many", lost=True)
    services.counter_flusher.flush()

    def holds(minutes):
        later = datetime.now(UTC) + timedelta(minutes=minutes)
        AlertMonitor(services, "web:1", SilentReporter(), lambda: later).evaluate()
        return [alert.kind for alert in services.alerts.holding() if alert.on]

    assert holds(59) == ["deliveries-lost"]
    assert holds(70) == ["deliveries-lost"], "it is over a minute after its cause"
    assert holds(72) == []


def test_presets_of_senders_that_never_resend_say_so():
    """By the vendors' pages, or because no page says that they send again."""
    never = {name for name, preset in presets().items() if preset.source.get("resends") is False}
    assert never >= {"odoo", "kommo", "freshsales", "woocommerce", "elementor", "contact-form-7", "wpforms"}
    assert not never & {"calendly", "shopify", "gohighlevel", "zendesk", "monday", "whatsapp-cloud"}
