"""POST /hooks: verification, storage, responses, and hostile requests."""

from __future__ import annotations

import json
import os
import signal
import time
import zlib
from datetime import UTC, datetime, timedelta

import pytest
import redis
import structlog
from werkzeug.test import Client

from integration.app import make_web
from integration.domain.delivery import signed_url
from integration.domain.errors import StoreAwayError
from integration.services.parked import ParkedFilter
from integration.store.client import Store
from integration.telemetry import logging
from support import (
    ENVIRON,
    SOURCES_AND_ROUTES,
    as_bytes,
    hubspot_event,
    make_services,
    parked_events,
    signed,
    two_accounts,
    write_config,
)
from support.hook_client import AT, TOMORROW, HookClient
from support.waiting import AT_ONCE_SECONDS


def test_a_verified_event_becomes_a_queued_recall(web):
    answer = web.post("hubspot", [hubspot_event(77, AT)])
    assert answer.status_code == 202
    told = answer.json
    assert (told["ignored"], told["parked"], len(told["recalls"])) == (0, 0, 1)
    recall = web.recall(told["recalls"][0])
    assert (recall.state, recall.customer_id, recall.account) == ("queued", "77", "bogota")
    assert recall.recall_date == TOMORROW


def test_a_forged_delivery_is_refused_and_leaves_nothing(web, store):
    answer = web.post("hubspot", [hubspot_event(77, AT)], headers={"X-HubSpot-Signature-v3": "forged"})
    assert answer.status_code == 401
    assert "detail" not in answer.json
    assert "signature" not in answer.text.lower()
    assert store.keys("*") == []


def test_one_bad_event_among_99_good_is_parked_alone(web):
    events = [hubspot_event(n, AT) for n in range(100)]
    events[40]["propertyValue"] = "when it suits you"
    answer = web.post("hubspot", events)
    assert answer.status_code == 202
    assert (len(answer.json["recalls"]), answer.json["parked"]) == (99, 1)
    assert parked_events(web.services)[0]["field"] == "recall_date"


def test_events_without_a_route_are_ignored_and_counted(web):
    answer = web.post("hubspot", [hubspot_event(1, "x", name="email")])
    assert answer.json["ignored"] == 1
    assert answer.json["recalls"] == []


def test_a_delivery_sent_twice_gets_its_old_answer(web):
    events = [hubspot_event(1, AT), hubspot_event(2, "x", name="email"), hubspot_event(3, "never")]
    first, second = web.post("hubspot", events), web.post("hubspot", events)
    assert first.status_code == 202
    assert second.json == first.json


def test_an_ignored_delivery_sent_twice_gets_its_old_answer(web):
    events = [hubspot_event(1, "x", name="email")]
    assert web.post("hubspot", events).json == web.post("hubspot", events).json


def test_an_event_repeated_in_another_delivery_contributes_its_old_id(web):
    old, new = hubspot_event(1, AT), hubspot_event(2, AT)
    first = web.post("hubspot", [old]).json
    second = web.post("hubspot", [{**old, "attemptNumber": 3}, new]).json
    assert second["recalls"][0] == first["recalls"][0]
    assert len(set(second["recalls"])) == 2


def test_a_cancel_event_takes_back_the_queued_recall(web):
    recall = web.post("hubspot", [hubspot_event(5, AT)]).json["recalls"][0]
    answer = web.post("hubspot", [hubspot_event(5, "")])
    assert answer.json["cancelled"] == [recall]
    assert web.recall(recall).state == "cancelled"


def test_the_newest_by_the_crms_time_wins_whatever_comes_first(web):
    now = datetime.now(UTC)
    new = web.post("hubspot", [hubspot_event(5, AT, occurred_at=now)]).json["recalls"][0]
    older = hubspot_event(5, AT, occurred_at=now - timedelta(minutes=1))
    old = web.post("hubspot", [older]).json["recalls"][0]
    assert (web.recall(new).state, web.recall(old).state) == ("queued", "superseded")


def test_a_time_in_the_future_counts_as_five_minutes_from_arrival_at_most(web):
    far = hubspot_event(5, AT, occurred_at=datetime.now(UTC) + timedelta(days=400))
    web.post("hubspot", [far])
    version = int(
        web.services.store.client.hvals(web.services.store.key(f"queue:{queue(web)}:newest"))[0].split("|")[0]
    )
    assert version <= (datetime.now(UTC) + timedelta(minutes=5, seconds=1)).timestamp() * 1000


def queue(web, account="bogota"):
    return web.services.queues.bound()[account]


SOAP = """<?xml version="1.0"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">
<soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound">
<OrganizationId>00Dxx0000000000EAA</OrganizationId><ActionId>04kxx0000000000AAA</ActionId>
<SessionId>00D!session-of-a-user</SessionId>
<Notification><Id>04lxx000000000AAAA</Id><sObject xmlns:sf="urn:sobject.enterprise.soap.sforce.com">
<sf:Id>00Qxx000001aBcDEAA</sf:Id><sf:Callback_At__c>{at}</sf:Callback_At__c>
<sf:MobilePhone>+51987654321</sf:MobilePhone><sf:Wolkvox_Campaign__c>1234</sf:Wolkvox_Campaign__c>
</sObject></Notification></notifications></soapenv:Body></soapenv:Envelope>"""


def soap(web, *, key=ENVIRON["URL_KEY"], at=AT):
    return web.client.post(
        f"/hooks/salesforce/{key}", data=SOAP.format(at=at), headers={"Content-Type": "text/xml"}
    )


def test_a_salesforce_message_gets_its_ack(web):
    answer = soap(web)
    assert answer.status_code == 200
    assert "<Ack>true</Ack>" in answer.text
    assert answer.content_type.startswith("text/xml")
    assert web.services.accounts.all(["lima"])[0].queued == 1


def test_salesforce_with_another_key_gets_a_fault(web):
    answer = soap(web, key="k-0000000000000000-00")
    assert answer.status_code == 401
    assert "Fault" in answer.text


def test_a_session_id_is_kept_nowhere(web, store):
    soap(web)
    client = web.services.store.client
    hashes = [key for key in client.keys("*") if client.type(key) == "hash"]
    values = [value.encode("utf-8", "surrogateescape") for key in hashes for value in client.hvals(key)]
    bodies = [zlib.decompress(value) for value in values if value[:1] == b"x" and value[1:2] in b"\x01\x9c"]
    assert any(b"Notification" in body for body in bodies)
    assert not [value for value in values + bodies if b"session-of-a-user" in value]


def test_an_unknown_source_is_404(web):
    assert web.client.post("/hooks/nobody", data="{}").status_code == 404


def test_a_key_where_none_is_configured_is_404(web):
    assert web.client.post("/hooks/hubspot/some-key", data="[]").status_code == 404


def test_another_method_is_405(web):
    answer = web.client.get("/hooks/hubspot")
    assert answer.status_code == 405
    assert "POST" in answer.headers["Allow"]


def test_more_than_a_mebibyte_is_413(web):
    assert web.post("forms", b"x" * (1 << 20)).status_code == 400
    assert web.post("forms", b"x" * ((1 << 20) + 1)).status_code == 413


def test_another_content_type_is_415(web):
    body = as_bytes({"a": 1})
    headers = signed(web.services, "forms", body, url="x")
    headers["Content-Type"] = "image/png"
    headers.pop("content-type", None)
    assert web.post("forms", body, headers=headers).status_code == 415


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"a": NaN}', b"\x00"])
def test_what_cannot_be_read_is_400_and_leaves_nothing(web, store, body):
    answer = web.post("forms", body)
    assert answer.status_code == 400
    assert answer.content_type == "application/problem+json"
    assert store.keys("*seen*") == []


def test_over_its_rate_a_source_gets_429_with_retry_after(tmp_path, store):
    class Full:
        def over(self, name, per_minute):
            assert (name, per_minute) == ("source:forms", 5)
            return 7

    text = two_accounts() + SOURCES_AND_ROUTES.replace(
        'secrets = ["env:FORMS_SECRET"]', 'secrets = ["env:FORMS_SECRET"]\nrate_per_minute = 5'
    )
    web = HookClient(make_services(tmp_path, store, text), Full())
    answer = web.form()
    assert answer.status_code == 429
    assert answer.headers["Retry-After"] == "7"
    assert web.post("forms", b"{}", headers={"webhook-id": "x"}).status_code == 401


def test_with_the_store_away_the_sender_gets_503_with_retry_after(tmp_path, web):
    away = redis.Redis(port=9, socket_connect_timeout=0.2)
    web.services.store.client = away
    web.services.binding._bound = web.services.config
    answer = web.form()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_nothing_is_stored_in_a_store_that_may_lose_data(tmp_path, store):
    store.config_set("appendfsync", "everysec")
    try:
        assert HookClient(make_services(tmp_path, store)).form().status_code == 503
    finally:
        store.config_set("appendfsync", "always")


def test_a_store_that_was_emptied_is_bound_anew(web, store):
    assert web.form("c1").status_code == 202
    store.flushall()
    assert web.form("c2").status_code == 202


def test_a_full_store_stores_nothing_of_a_delivery(web, store):
    assert web.form("c0").status_code == 202
    before = store.dbsize()
    store.config_set("maxmemory", "1")
    try:
        assert web.post("hubspot", [hubspot_event(n, AT) for n in range(10)]).status_code == 503
        assert store.dbsize() == before
    finally:
        store.config_set("maxmemory", "0")


def test_no_secret_and_no_number_is_in_any_log_line(web, capfd, caplog):
    logging.configure("DEBUG", json=True)
    web.form("customer-4711", phone="3009998877")
    web.form("customer-4711", phone="not a phone 3009998877")
    soap(web)
    soap(web, key="k-wrong-wrong-wrong-00")
    web.post("hubspot", [hubspot_event(77, AT)], headers={"X-HubSpot-Signature-v3": "forged-signature"})
    said = "".join(capfd.readouterr()) + caplog.text
    assert "delivery" in said
    for word in (
        "3009998877",
        "987654321",
        "customer-4711",
        "forged-signature",
        *ENVIRON.values(),
        "k-wrong",
    ):
        assert word not in said


def test_remap_makes_parked_events_into_recalls_once_the_configuration_is_mended(tmp_path, store):
    broken = two_accounts() + SOURCES_AND_ROUTES.replace("{{ event.at }}", "{{ event.when }}")
    web = HookClient(make_services(tmp_path, store, broken))
    assert web.form("c1").json["parked"] == 1
    mended = make_services(tmp_path, store)
    result = mended.parked.remap(ParkedFilter(source="forms"), datetime.now(UTC))
    assert (result.looked_at, len(result.recalls), result.still_parked) == (1, 1, 0)
    assert mended.recalls.records.get(result.recalls[0]).customer_id == "c1"
    assert parked_events(mended) == []


def test_a_parked_event_sent_again_after_the_configuration_changed_is_looked_at_anew(tmp_path, store):
    broken = two_accounts() + SOURCES_AND_ROUTES.replace("{{ event.at }}", "{{ event.when }}")
    web = HookClient(make_services(tmp_path, store, broken))
    first = web.form("c1", message_id="m1").json
    assert web.form("c1", message_id="m1").json == first
    web = HookClient(make_services(tmp_path, store))
    assert len(web.form("c1", message_id="m1").json["recalls"]) == 1
    assert parked_events(web.services) == []


def test_the_signed_url_is_the_public_one_else_what_the_proxy_says():
    url = {"scheme": "http", "path": "/hooks/hubspot", "query": ""}
    assert signed_url("https://a.example/x", {}, **url) == "https://a.example/x"
    assert signed_url("https://a.example/x", {}, **{**url, "query": "a=b"}) == "https://a.example/x?a=b"
    assert signed_url(None, {"host": "b.example"}, **url) == "http://b.example/hooks/hubspot"
    proxied = {"host": "10.0.0.1", "x-forwarded-host": "c.example", "x-forwarded-proto": "https"}
    assert signed_url(None, proxied, **url) == "https://c.example/hooks/hubspot"


def test_an_account_not_bound_yet_stores_nothing(web, store):
    class Storeless(Store):
        def call(self, command, *args):
            return 0 if command == "bind" else super().call(command, *args)

    web.services.queues._store = Storeless(store)
    with pytest.raises(StoreAwayError):
        delivery_that_cannot_be_bound(web)
    assert store.keys("*recall*") == []


def delivery_that_cannot_be_bound(web):
    from integration.domain.delivery import Delivery, Event
    from integration.mapping.planner import plan_event

    delivery = Delivery(
        id="dl_1",
        source="forms",
        method="POST",
        url="",
        headers={},
        body=b"{}",
        received_at=datetime.now(UTC),
    )
    event = Event(data=json.loads(json.dumps({"customer": "c", "phone": "3001112233", "at": AT})))
    outcome = plan_event(web.services.routes, delivery, event, datetime.now(UTC))
    return web.services.admission.admit(delivery, [outcome], b"")


def test_secrets_of_a_changed_configuration_are_masked_too(tmp_path, web, capfd):
    logging.configure("INFO", json=True)
    path = tmp_path / "ringback.toml"
    path.write_text(path.read_text("utf-8").replace("env:TOKEN_LIMA", "changed-token-abcdef"), "utf-8")
    os.utime(path, (time.time() + 5, time.time() + 5))
    while web.services.config.accounts["lima"].token.get_secret_value() != "changed-token-abcdef":
        time.sleep(0.2)
    structlog.get_logger("test").info("what a library might say: changed-token-abcdef")
    assert "changed-token-abcdef" not in "".join(capfd.readouterr())


def test_a_store_that_hangs_is_answered_within_seconds(tmp_path, start_valkey):
    server = start_valkey()
    environ = {**ENVIRON, "RINGBACK_CONFIG": str(write_config(tmp_path)), "REDIS_URL": server.url}
    client = Client(make_web(environ)[1])
    services = make_services(tmp_path, server.client())
    body = as_bytes({"customer": "c1", "phone": "3001112233", "at": AT})
    headers = {
        **signed(services, "forms", body, url="http://localhost/hooks/forms"),
        "Content-Type": "application/json",
    }
    assert client.post("/hooks/forms", data=body, headers=headers).status_code == 202
    os.kill(server.pid, signal.SIGSTOP)
    began = time.monotonic()
    answer = client.post("/hooks/forms", data=body, headers=headers)
    os.kill(server.pid, signal.SIGCONT)
    assert answer.status_code == 503
    assert time.monotonic() - began < AT_ONCE_SECONDS
