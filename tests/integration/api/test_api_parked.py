"""Parked events: listing, filtering and remapping."""

from __future__ import annotations

import pytest

from integration.api import parked as api_parked
from integration.domain.errors import ForkServerFailedError
from integration.mapping.planner import plan_event
from integration.mapping.routes import CompiledRoutes
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from support import ENVIRON, two_accounts, url_of, write_config
from support.api_cases import CONFIG, LIMITED, PHONE, parameters
from support.api_client import TOMORROW, ApiClient
from support.isolated_work_client import ISOLATED_WORK


def form(where, **fields):
    return {"where": where, "customer": "c9", "phone": PHONE, "at": "when it suits", **fields}


def test_a_parked_event_is_shown_with_its_reason_and_as_it_came(web):
    event = form("bogota")
    assert web.send_form(event).json["parked"] == 1
    page = web.get("/v1/parked").json
    (parked,) = page["items"]
    assert page["next"] is None
    assert (parked["source"], parked["route"], parked["account"]) == ("forms", "bogota form", "bogota")
    assert parked["reason"]["field"] == "recall_date"
    assert parked["reason"]["allowed"]
    assert parked["event"] == event


def test_parked_events_are_picked_by_source_and_route(web):
    web.send_form(form("bogota"))
    web.send_form(form("lima"))

    def routes(**which):
        return [parked["route"] for parked in web.get("/v1/parked", query_string=which).json["items"]]

    assert routes() == ["lima form", "bogota form"]
    assert routes(route="bogota form") == ["bogota form"]
    assert routes(source="forms", limit=1) == ["lima form"]
    assert routes(source="other") == []


def test_pages_of_parked_events_hold_each_once_newest_first(web, monkeypatch):
    from integration.store import parked as parking

    monkeypatch.setattr(parking, "STEP", 2)
    for n in range(7):
        web.send_form(form(("bogota", "lima")[n % 2], n=n))

    def pages(**which):
        found, cursor = [], None
        while True:
            asked_ = {**which, **({"cursor": cursor} if cursor else {})}
            page = web.get("/v1/parked", query_string=asked_).json
            found += [parked["event"]["n"] for parked in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    for limit in (1, 2, 3, 7, 50):
        assert pages(limit=limit) == [6, 5, 4, 3, 2, 1, 0]
        assert pages(limit=limit, route="lima form") == [5, 3, 1]


def test_parked_events_of_one_millisecond_are_neither_missed_nor_given_twice(web, store):
    for n in range(5):
        web.send_form(form("bogota", n=n))
    key = web.services.store.key("parked")
    for parked in store.zrange(key, 0, -1):
        store.zadd(key, {parked: 1_700_000_000_000})
    found, cursor = [], None
    while len(found) < 9:
        page = web.get("/v1/parked", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}).json
        found += [parked["event"]["n"] for parked in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert found == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("query", ["limit=0", "limit=x", "source=%20", "route=", "cursor=x"])
def test_a_bad_parameter_for_parked_events_is_refused_by_its_name(web, query):
    assert parameters(web.get(f"/v1/parked?{query}")) == {query.partition("=")[0]}


def test_a_limited_key_sees_only_parked_events_of_its_accounts(web):
    web.send_form(form("lima"))
    web.send_form(form("bogota"))
    web.send_form([1])
    items = web.get("/v1/parked?limit=1", key=LIMITED).json["items"]
    assert [parked["account"] for parked in items] == ["lima"]


def test_a_remap_makes_recalls_of_what_the_mended_configuration_can_map(tmp_path, store):
    path = write_config(tmp_path, two_accounts() + CONFIG)
    watch = watch_config(path, ENVIRON, every_seconds=0)
    web = ApiClient(Services(watch, Store(connect(url_of(store))), WakeUpPublisher.silent()))
    web.send_form(form("bogota"))
    web.send_form(form("lima"))
    assert web.post("/v1/parked/remap").json == {
        "looked_at": 2,
        "recalls": [],
        "pending": 0,
        "still_parked": 2,
        "complete": True,
        "next": None,
    }
    mended = f"recall_date = \"{{{{ event.at and '{TOMORROW.isoformat()}' }}}}\""
    path.write_text((two_accounts() + CONFIG).replace('recall_date = "{{ event.at }}"', mended, 1))
    other = web.post("/v1/parked/remap", {"route": "lima form"}).json
    assert (other["looked_at"], other["still_parked"]) == (1, 1)
    told = web.post("/v1/parked/remap", {"source": "forms"}).json
    assert (told["looked_at"], len(told["recalls"]), told["still_parked"]) == (2, 1, 1)
    assert web.get(f"/v1/recalls/{told['recalls'][0]}").json["route"] == "bogota form"


@pytest.mark.parametrize("value", [{"source": ""}, {"source": 7}, {"routes": "x"}, {"route": ""}, []])
def test_a_bad_remap_is_refused(web, value):
    assert web.post("/v1/parked/remap", value).status_code == 422


def test_a_remap_that_ends_early_goes_on_with_its_cursor(web, monkeypatch):
    for customer in ("c1", "c2", "c3"):
        web.send_form(form("bogota", customer=customer))

    def plan_first(config, _caller, stored, now):
        first = plan_event(CompiledRoutes.of(config), stored[0].delivery, stored[0].events[0], now)
        return [first, *[None] * (len(stored) - 1)]

    monkeypatch.setattr(ISOLATED_WORK, "plan_in_time", plan_first)
    monkeypatch.setattr(api_parked, "REMAP_SECONDS", 0.0)
    looked_at, found = [], {"complete": False, "next": None}
    while not found["complete"]:
        assert len(looked_at) < 3
        found = web.post("/v1/parked/remap", {"cursor": found["next"]} if found["next"] else {}).json
        looked_at.append(found["looked_at"])
    assert (looked_at, found["next"]) == ([1, 1, 1], None)


def test_a_limited_key_may_not_remap(web):
    assert web.post("/v1/parked/remap", key=LIMITED).status_code == 403


def test_a_remap_is_in_the_audit_log_even_if_it_fails(web, monkeypatch):
    web.send_form(form("bogota"))

    def fail(*_):
        raise ForkServerFailedError("a test")

    monkeypatch.setattr(ISOLATED_WORK, "plan_in_time", fail)
    assert web.post("/v1/parked/remap", {"source": "forms"}).status_code == 503
    assert [(entry.what, *entry.about) for entry in web.services.audit.page()[0]] == [("remap", "forms")]
