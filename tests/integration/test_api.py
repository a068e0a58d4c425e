"""/v1 over a real store. Every answer is also held against the OpenAPI document."""

from __future__ import annotations

import io
import json
import os
import signal
import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from integration.api.recalls import NO_ACCOUNT
from integration.services.configuration import watch_config
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.web.problems import MAX_BODY_BYTES
from integration.web.rate_limit import RateLimit
from integration.web.security_headers import ANSWER_HEADERS
from support import ENVIRON, as_bytes, make_services, two_accounts, write_config
from support.api_client import FULL, TOMORROW, ApiClient, asked
from support.waiting import AT_ONCE_SECONDS

YESTERDAY = TOMORROW - timedelta(days=2)
PHONE = "300 111 2233"
LIMITED = ENVIRON["PARTNER_KEY"]
CONFIG = """
[api_keys]
zapier = "env:ZAPIER_KEY"
partner = { key = "env:PARTNER_KEY", accounts = ["lima"] }
slow = { key = "a-key-that-may-ask-little", rate_per_minute = 3 }

[sources.forms]
kind = "json"
verify = "standard-webhooks"
secrets = ["env:FORMS_SECRET"]

[[routes]]
name = "bogota form"
source = "forms"
account = "bogota"
when = "event.where == 'bogota'"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"

[[routes]]
name = "lima form"
source = "forms"
account = "lima"
when = "event.where == 'lima'"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"

[[routes]]
name = "nobody knows"
source = "forms"
account = "bogota"
when = "event.where.x > 1 or event.where == 3"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
"""


def pointers(answer):
    assert answer.status_code == 422, answer.text
    return {error["pointer"] for error in answer.json["errors"]}


def parameters(answer):
    assert answer.status_code == 422, answer.text
    return {error["parameter"] for error in answer.json["errors"]}


@pytest.fixture
def web(tmp_path, store):
    return ApiClient(make_services(tmp_path, store, two_accounts() + CONFIG))


@pytest.fixture
def dropping(tmp_path, store):
    """As `web`, with accounts that drop what is late."""
    return ApiClient(make_services(tmp_path, store, two_accounts(more='late = "drop"') + CONFIG))


# --- the key -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {FULL}",
        FULL,
        f"Bearer {FULL[:-1]}",
        f"Bearer {FULL}x",
        f"Bearer {FULL.upper()}",
        f"Bearer {FULL}, Bearer {FULL}",
        "Bearer clé-à-molette",
    ],
)
def test_without_a_known_key_nothing_is_answered_but_how_to_prove_oneself(web, header):
    headers = {} if header is None else {"Authorization": header.encode("utf-8").decode("latin-1")}
    answer = web.get("/v1/me", key=None, headers=headers)
    assert answer.status_code == 401
    assert answer.content_type == "application/problem+json"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert FULL[:-1] not in answer.text


@pytest.mark.parametrize("header", [f"Bearer {FULL}", f"bearer {FULL}", f"BEARER  {FULL} "])
def test_the_scheme_is_read_in_any_case(web, header):
    assert web.get("/v1/me", key=None, headers={"Authorization": header}).status_code == 200


def test_every_address_of_v1_wants_a_key(web):
    for rule in web.app.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            path = rule.rule.replace("<recall_id>", "rc_000000010000").replace("<name>", "bogota")
            for method in rule.methods - {"HEAD"}:
                assert web.open(method, path, key=None).status_code == 401, (method, path)


def test_me_names_the_key_and_the_accounts_it_sees(web):
    assert web.get("/v1/me").json == {"name": "zapier", "accounts": ["bogota", "lima"]}
    assert web.get("/v1/me", key=LIMITED).json == {"name": "partner", "accounts": ["lima"]}


def test_a_key_that_leaves_the_configuration_is_refused(tmp_path, store):
    path = write_config(tmp_path, two_accounts() + CONFIG)
    watch = watch_config(path, ENVIRON, every_seconds=0)
    web = ApiClient(Services(watch, Store(connect(url(store))), WakeUpPublisher.silent()))
    assert web.get("/v1/me").status_code == 200
    path.write_text((two_accounts() + CONFIG).replace('zapier = "env:ZAPIER_KEY"\n', ""))
    assert web.get("/v1/me").status_code == 401


def test_over_its_rate_a_key_waits_and_the_others_do_not(web):
    slow = "a-key-that-may-ask-little"
    assert [web.get("/v1/me", key=slow).status_code for _ in range(3)] == [200] * 3
    answer = web.get("/v1/me", key=slow)
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    assert web.get("/v1/me").status_code == 200


def test_rates_hold_over_processes(web, store):
    other = RateLimit(connect(url(store)))
    assert [other.over("api:slow", 3) for _ in range(3)] == [None] * 3
    assert web.get("/v1/me", key="a-key-that-may-ask-little").status_code == 429


# --- asking for a recall -----------------------------------------------------------------------


def test_a_recall_asked_for_is_queued_and_shown_as_stored(web):
    answer = web.ask("80123456", recall_date=TOMORROW.strftime("%Y-%m-%dT%H:%M:%SZ"))
    assert answer.status_code == 202
    recall = answer.json
    assert answer.headers["Location"] == f"/v1/recalls/{recall['id']}"
    assert web.get(answer.headers["Location"]).json == recall
    assert set(recall) == {
        *("id", "state", "account", "campaign_id", "customer_id", "recall_telephone", "recall_date"),
        *("requested_date", "source", "created_at", "attempts", "reason", "route", "history"),
    }
    assert (recall["state"], recall["account"], recall["source"]) == ("queued", "bogota", "api:zapier")
    assert (recall["customer_id"], recall["recall_telephone"]) == ("80123456", "3001112233")
    assert recall["recall_date"].endswith("-05:00")
    assert datetime.fromisoformat(recall["recall_date"]) == TOMORROW
    assert datetime.fromisoformat(recall["created_at"]).utcoffset() == timedelta(0)
    assert (recall["attempts"], recall["route"]) == ([], None)
    assert [change["state"] for change in recall["history"]] == ["queued"]


def test_the_date_asked_for_stays_beside_the_date_sent(web):
    soon = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=0)
    recall = web.ask(recall_date=soon.isoformat()).json
    assert datetime.fromisoformat(recall["requested_date"]) == soon
    assert datetime.fromisoformat(recall["recall_date"]) > soon


def test_numbers_are_accepted_where_text_is_meant(web):
    fields = {"campaign_id": 10, "recall_telephone": 573001112233, "recall_date": int(TOMORROW.timestamp())}
    recall = web.ask(80123456, **fields).json
    assert (recall["campaign_id"], recall["customer_id"]) == ("10", "80123456")
    assert recall["recall_telephone"] == "3001112233"
    assert datetime.fromisoformat(recall["recall_date"]) == TOMORROW


def test_a_date_that_is_past_is_recorded_as_expired_where_late_means_drop(dropping):
    answer = dropping.ask(recall_date=YESTERDAY.isoformat())
    assert (answer.status_code, answer.json["state"]) == (202, "expired")
    assert answer.json["reason"]


def test_all_bad_fields_are_told_at_once(web):
    value = {
        "account": "bogota",
        "customer_id": ["x"],
        "recall_telephone": "call me",
        "recall_date": "soon",
        "a/b~": 1,
    }
    answer = web.post("/v1/recalls", value)
    assert pointers(answer) == {
        *("/campaign_id", "/customer_id", "/recall_telephone", "/recall_date", "/a~1b~0")
    }
    assert all(error["detail"] for error in answer.json["errors"])
    assert "call me" not in answer.text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("campaign_id", None),
        ("campaign_id", ""),
        ("campaign_id", "  "),
        ("campaign_id", True),
        ("campaign_id", "x" * 257),
        ("customer_id", "a\nb"),
        ("customer_id", "a\u0000b"),
        ("customer_id", {}),
        ("recall_telephone", "123"),
        ("recall_telephone", False),
        ("recall_date", "01/02/2030"),
        ("recall_date", 20300102),
        ("account", None),
        ("account", 7),
        ("account", "medellin"),
        ("account", "../bogota"),
        ("idempotency_key", "x"),
    ],
)
def test_a_bad_field_is_refused_with_its_pointer(web, store, field, value):
    answer = web.ask("c1", **{field: value}) if field != "customer_id" else web.ask(value)
    assert pointers(answer) == {f"/{field}"}
    assert not store.keys("*recall:*")


@pytest.mark.parametrize("value", [[], "text", 7, None, True])
def test_a_body_that_is_no_object_is_refused_as_a_whole(web, value):
    answer = web.open("POST", "/v1/recalls", data=json.dumps(value), content_type="application/json")
    assert pointers(answer) == {""}


@pytest.mark.parametrize(
    "body", [b"", b" ", b"{", b'{"a":1,}', b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}', b"a=1", b'"\\ud800"']
)
def test_a_body_that_is_no_json_cannot_be_read(web, body):
    answer = web.open("POST", "/v1/recalls", data=body, content_type="application/json")
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/jsonp",
        "application/vnd.api+json",
        "application/json; charset=latin-1",
    ],
)
def test_any_other_content_type_is_refused(web, kind):
    answer = web.open("POST", "/v1/recalls", data=as_bytes(asked()), content_type=kind)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf8"]
)
def test_json_in_utf8_is_accepted(web, kind):
    answer = web.open("POST", "/v1/recalls", data=as_bytes(asked()), content_type=kind)
    assert answer.status_code == 202


class Endless(io.RawIOBase):
    """A body without end that counts what is read of it."""

    def __init__(self):
        self.taken = 0

    def readable(self):
        return True

    def read(self, size=-1):
        assert size > 0, "the whole body was asked for"
        self.taken += size
        return b" " * size


def post_stream(web, body, **environ):
    overrides = {"wsgi.input": body, "wsgi.input_terminated": True, **environ}
    return web.open("POST", "/v1/recalls", environ_overrides=overrides, content_type="application/json")


def test_a_body_without_length_is_read_up_to_the_limit_and_no_further(web):
    body = Endless()
    assert post_stream(web, body, HTTP_TRANSFER_ENCODING="chunked").status_code == 413
    assert body.taken == MAX_BODY_BYTES + 1


def test_a_body_announced_as_too_long_is_not_read_at_all(web):
    body = Endless()
    assert post_stream(web, body, CONTENT_LENGTH=str(MAX_BODY_BYTES + 1)).status_code == 413
    assert body.taken == 0


def test_a_body_of_exactly_the_limit_is_read(web):
    body = as_bytes(asked())
    body += b" " * (MAX_BODY_BYTES - len(body))
    answer = web.open("POST", "/v1/recalls", data=body, content_type="application/json")
    assert answer.status_code == 202


def test_a_body_cut_short_is_refused(web):
    body = as_bytes(asked())
    answer = post_stream(web, io.BytesIO(body), CONTENT_LENGTH=str(len(body) + 10))
    assert answer.status_code == 400


def test_a_body_without_length_is_read_whole(web):
    body = io.BytesIO(as_bytes(asked()))
    assert post_stream(web, body, HTTP_TRANSFER_ENCODING="chunked").status_code == 202


def test_a_key_for_other_accounts_may_not_ask(web, store):
    assert web.ask(key=LIMITED).status_code == 403
    assert web.ask(key=LIMITED, account="medellin").status_code == 403
    assert not store.keys("*recall:*")
    assert web.ask(key=LIMITED, account="lima", recall_telephone="+51 912 345 678").status_code == 202


def test_an_unknown_account_is_told_as_a_bad_field(web):
    answer = web.ask(account="medellin")
    assert answer.json["errors"] == [NO_ACCOUNT]


# --- idempotency -------------------------------------------------------------------------------


def test_the_same_again_is_the_same_recall_in_its_present_state(web):
    first = web.ask(once="deal 1").json
    web.post(f"/v1/recalls/{first['id']}/cancel")
    answer = web.ask(once="deal 1")
    assert answer.status_code == 200
    assert (answer.json["id"], answer.json["state"]) == (first["id"], "cancelled")
    assert len(web.get("/v1/recalls").json["items"]) == 1


def test_bodies_are_the_same_when_they_are_the_same_json(web):
    first = web.ask(7, once="k").json
    body = b'{"recall_date": "%s",  "recall_telephone": "300 111 2233", "customer_id": 7.0,' % (
        TOMORROW.isoformat().encode()
    )
    body += b'"campaign_id": "\\u0031\\u0030", "account":"bogota"}'
    headers = {"Idempotency-Key": "k"}
    answer = web.open("POST", "/v1/recalls", data=body, headers=headers, content_type="application/json")
    assert (answer.status_code, answer.json["id"]) == (200, first["id"])


def test_the_same_key_with_another_body_is_refused_and_stores_nothing(web):
    web.ask(once="k")
    assert web.ask("c2", once="k").status_code == 409
    assert web.ask("c1", campaign_id=10, once="k").status_code == 409
    assert len(web.get("/v1/recalls").json["items"]) == 1


def test_a_request_that_was_refused_does_not_use_its_key_up(web):
    assert web.ask(recall_telephone="1", once="k").status_code == 422
    assert web.ask(once="k").status_code == 202


def test_another_callers_key_is_another_key(web):
    fields = {"account": "lima", "recall_telephone": "+51 912 345 678"}
    first = web.ask(once="k", **fields)
    second = web.ask(once="k", key=LIMITED, **fields)
    assert (first.status_code, second.status_code) == (202, 202)


def test_an_idempotency_key_is_kept_for_168_hours(web, store):
    web.ask(once="k")
    (seen,) = store.keys("*seen:*")
    assert 167 * 3600 < store.ttl(seen) <= 168 * 3600
    assert "k" not in seen.partition("seen:")[2].split(":")


def test_a_key_whose_recall_is_past_its_retention_is_refused_plainly(web, store):
    recall = web.ask(once="k").json
    store.delete(f"{{ringback}}:recall:{recall['id']}")
    assert web.ask(once="k").status_code == 409


def test_without_a_key_the_newer_request_supersedes_the_older(web):
    first, second = web.asked_id(), web.asked_id()
    states = [web.get(f"/v1/recalls/{recall}").json["state"] for recall in (first, second)]
    assert states == ["superseded", "queued"]


@pytest.mark.parametrize("once", ["", "x" * 256, "clé".encode().decode("latin-1"), "a\tb"])
def test_a_bad_idempotency_key_is_refused_by_its_name(web, once):
    answer = web.ask(once=once)
    assert answer.status_code == 422
    assert answer.json["errors"][0]["header"] == "Idempotency-Key"


@pytest.mark.parametrize("once", ["x", "x" * 255, 'a "b" {c} ~!'])
def test_printable_ascii_makes_an_idempotency_key(web, once):
    assert [web.ask(once=once).status_code for _ in range(2)] == [202, 200]


# --- looking at recalls ------------------------------------------------------------------------


def test_pages_go_through_all_recalls_newest_first(web):
    ids = [web.asked_id(f"c{n}") for n in range(5)]
    seen, cursor = [], None
    while True:
        page = web.get(
            "/v1/recalls", query_string={"limit": 2, **({"cursor": cursor} if cursor else {})}
        ).json
        seen += [recall["id"] for recall in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == ids[::-1]


def test_filters_pick_recalls(web):
    one = web.asked_id("c1")
    two = web.asked_id("c2", account="lima", recall_telephone="+51 912 345 678")
    web.post(f"/v1/recalls/{one}/cancel")

    found = web.find
    assert found() == [two, one]
    assert found(state="cancelled") == [one]
    assert found(account="lima") == [two]
    assert found(customer_id="c2") == [two]
    assert found(customer_id="c2", account="bogota") == []
    assert found(account="medellin") == []


def test_recalls_are_found_by_telephone_campaign_source_and_times(web):
    one = web.asked_id("c1", campaign_id="20")
    two = web.asked_id("c2", account="lima", recall_telephone="+51 912 345 678")
    later = (TOMORROW + timedelta(days=2)).isoformat()
    three = web.asked_id("c3", recall_telephone="300 999 8877", recall_date=later)

    found = web.find
    assert found(telephone="+57 300 999 8877") == [three]
    assert found(telephone="5678") == found(telephone="0051 912345678") == [two]
    assert found(campaign_id="20") == [one]
    assert found(source=web.services.recalls.records.get(one).source) == [three, two, one]
    assert found(source="api:other") == []
    assert found(recall_from=later) == [three]
    assert found(recall_until=later) == [two, one]
    assert found(created_from=TOMORROW.isoformat()) == []
    assert found(created_until=TOMORROW.isoformat(), route="no route") == []
    assert found(record_id="rec-1") == []


def test_a_search_that_takes_too_long_goes_on_with_its_cursor(web, monkeypatch):
    from integration.api import recalls
    from integration.store import search

    ids = [web.asked_id(f"c{n}", campaign_id="20" if n < 2 else "10") for n in range(9)]
    monkeypatch.setattr(search, "STEP", 2)
    monkeypatch.setattr(recalls, "BUDGET_SECONDS", 0.0)
    found, rounds, cursor = [], 0, None
    while rounds == 0 or cursor is not None:
        page = web.get(
            "/v1/recalls", query_string={"campaign_id": "20", **({"cursor": cursor} if cursor else {})}
        ).json
        found += [recall["id"] for recall in page["items"]]
        cursor, rounds = page["next"], rounds + 1
    assert found == ids[:2][::-1]
    assert rounds > 3


def test_fifty_recalls_make_a_page_unless_told_otherwise(web):
    for n in range(51):
        web.asked_id(f"c{n}")
    assert len(web.get("/v1/recalls").json["items"]) == 50
    assert len(web.get("/v1/recalls?limit=200").json["items"]) == 51


@pytest.mark.parametrize(
    ("query", "bad"),
    [
        ("limit=0", {"limit"}),
        ("limit=201", {"limit"}),
        ("limit=-1", {"limit"}),
        ("limit=1_0", {"limit"}),
        ("limit=1.0", {"limit"}),
        ("limit=", {"limit"}),
        ("limit=٣", {"limit"}),
        ("state=open", {"state"}),
        ("state=", {"state"}),
        ("account=%00", {"account"}),
        ("customer_id=", {"customer_id"}),
        ("customer_id=" + "x" * 257, {"customer_id"}),
        ("telephone=12", {"telephone"}),
        ("telephone=hello", {"telephone"}),
        ("created_from=yesterday", {"created_from"}),
        ("created_from=2030-06-03", {"created_from"}),
        ("recall_until=2030-06-03T15:30:00", {"recall_until"}),
        ("recall_from=1764000000", {"recall_from"}),
        ("cursor=rc_000000010000", {"cursor"}),
        ("cursor=c1_0000", {"cursor"}),
        ("cursor=c1_000000010000%0A", {"cursor"}),
        ("page=2", {"page"}),
        ("limit=1&limit=2", {"limit"}),
        ("state=x&limit=x&page=x", {"state", "limit", "page"}),
    ],
)
def test_a_bad_parameter_is_refused_by_its_name(web, query, bad):
    assert parameters(web.get(f"/v1/recalls?{query}")) == bad


@pytest.mark.parametrize(
    "recall_id", ["rc_000000010000", "x", "rc_", "%00", "rc_000000010000%0A", "é", "x" * 3000]
)
def test_what_is_no_recall_is_not_found(web, recall_id):
    assert web.get(f"/v1/recalls/{recall_id}").status_code == 404
    assert web.post(f"/v1/recalls/{recall_id}/retry").status_code == 404
    assert web.post(f"/v1/recalls/{recall_id}/cancel").status_code == 404


def test_a_limited_key_sees_only_the_recalls_of_its_accounts(web):
    foreign = web.asked_id("c1")
    own = web.asked_id("c2", account="lima", recall_telephone="+51 912 345 678")
    assert [recall["id"] for recall in web.get("/v1/recalls", key=LIMITED).json["items"]] == [own]
    assert web.get("/v1/recalls?account=bogota", key=LIMITED).json == {"items": [], "next": None}
    assert web.get(f"/v1/recalls/{own}", key=LIMITED).status_code == 200
    assert web.get(f"/v1/recalls/{foreign}", key=LIMITED).status_code == 404


def test_a_limited_key_changes_no_foreign_recall(web):
    foreign = web.asked_id()
    assert web.post(f"/v1/recalls/{foreign}/cancel", key=LIMITED).status_code == 404
    assert web.post(f"/v1/recalls/{foreign}/retry", key=LIMITED).status_code == 404
    assert web.get(f"/v1/recalls/{foreign}").json["state"] == "queued"


# --- retry and cancel --------------------------------------------------------------------------


def test_a_queued_recall_can_be_cancelled_once(web):
    recall = web.asked_id()
    answer = web.post(f"/v1/recalls/{recall}/cancel")
    assert (answer.status_code, answer.json["state"]) == (202, "cancelled")
    assert answer.json["reason"] == "cancelled by api:zapier"
    again = web.post(f"/v1/recalls/{recall}/cancel")
    assert (again.status_code, again.json["state"]) == (409, "cancelled")


def test_an_expired_recall_can_be_tried_again(dropping):
    recall = dropping.asked_id(recall_date=YESTERDAY.isoformat())
    answer = dropping.post(f"/v1/recalls/{recall}/retry")
    assert (answer.status_code, answer.json["state"]) == (202, "queued")
    assert datetime.fromisoformat(answer.json["recall_date"]) > datetime.now(UTC)


def test_a_recall_that_is_not_dead_cannot_be_tried_again(web):
    answer = web.post(f"/v1/recalls/{web.asked_id()}/retry")
    assert (answer.status_code, answer.json["state"]) == (409, "queued")


def test_a_recall_overtaken_by_a_newer_one_cannot_be_tried_again(dropping):
    recall = dropping.asked_id(recall_date=YESTERDAY.isoformat())
    dropping.asked_id()
    answer = dropping.post(f"/v1/recalls/{recall}/retry")
    assert (answer.status_code, answer.json["state"]) == (409, "expired")


# --- accounts ----------------------------------------------------------------------------------


def test_accounts_are_listed_with_their_queues(web):
    web.asked_id()
    web.post("/v1/accounts/lima/pause")
    bogota, lima = web.get("/v1/accounts").json["items"]
    assert (bogota["name"], bogota["state"], bogota["queued"]) == ("bogota", "idle", 1)
    assert (bogota["dead"], bogota["pushed_today"], bogota["daily_limit"], bogota["until"]) == (
        0,
        0,
        None,
        None,
    )
    assert bogota["oldest_seconds"] >= 0
    assert (lima["name"], lima["state"], lima["queued"], lima["oldest_seconds"]) == (
        "lima",
        "paused",
        0,
        None,
    )


def test_pause_gives_the_reason_and_resume_ends_it(web):
    paused = web.post("/v1/accounts/bogota/pause", {"reason": "the campaign changes"})
    assert (paused.status_code, paused.json["state"]) == (200, "paused")
    assert web.get("/v1/accounts/bogota").json["reason"] == "the campaign changes"
    resumed = web.post("/v1/accounts/bogota/resume")
    assert (resumed.status_code, resumed.json["state"]) == (200, "idle")


@pytest.mark.parametrize(
    "more", [{}, {"data": b"", "content_type": "text/plain"}, {"json": {}}, {"json": {"reason": None}}]
)
def test_a_pause_without_reason_names_who_paused(web, more):
    assert web.post("/v1/accounts/bogota/pause", **more).json["reason"] == "paused by api:zapier"


@pytest.mark.parametrize(
    ("more", "status"),
    [
        ({"json": {"why": "x"}}, 422),
        ({"json": {"reason": ""}}, 422),
        ({"json": {"reason": "a\nb"}}, 422),
        ({"json": {"reason": "x" * 257}}, 422),
        ({"json": []}, 422),
        ({"json": {"until": "2030-06-03T18:00:00"}}, 422),
        ({"json": {"until": "2020-06-03T18:00:00Z"}}, 422),
        ({"json": {"until": "2130-06-03T18:00:00Z"}}, 422),
        ({"json": {"until": 1893456000}}, 422),
        ({"json": {"until": "tomorrow"}}, 422),
        ({"data": b"{", "content_type": "application/json"}, 400),
        ({"data": b"reason=x", "content_type": "application/x-www-form-urlencoded"}, 415),
        ({"data": b" " * (MAX_BODY_BYTES + 1), "content_type": "application/json"}, 413),
    ],
)
def test_a_bad_pause_is_refused_and_pauses_nothing(web, more, status):
    assert web.post("/v1/accounts/bogota/pause", **more).status_code == status
    assert web.get("/v1/accounts/bogota").json["state"] == "idle"


def test_a_pause_with_an_end_tells_it(web):
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=2)
    local = ends.astimezone(timezone(timedelta(hours=-5)))
    paused = web.post("/v1/accounts/bogota/pause", {"until": local.isoformat()})
    assert (paused.status_code, paused.json["state"]) == (200, "paused")
    assert datetime.fromisoformat(paused.json["until"]) == ends


def test_what_a_key_does_is_in_the_audit_log_and_what_it_fails_at_is_not(web):
    web.post("/v1/accounts/bogota/pause")
    web.post("/v1/accounts/bogota/resume")
    web.post("/v1/parked/remap", {"source": "forms"})
    recall = web.asked_id()
    assert web.post(f"/v1/recalls/{recall}/retry").status_code == 409
    web.post(f"/v1/recalls/{recall}/cancel")
    done = [(entry.who, entry.what, *entry.about) for entry in reversed(web.services.audit.page()[0])]
    assert done == [
        ("api:zapier", "pause", "bogota"),
        ("api:zapier", "resume", "bogota"),
        ("api:zapier", "remap", "forms"),
        ("api:zapier", "cancel", recall),
    ]


def test_a_limited_key_sees_and_pauses_only_its_own_accounts(web):
    assert [account["name"] for account in web.get("/v1/accounts", key=LIMITED).json["items"]] == ["lima"]
    assert web.get("/v1/accounts/bogota", key=LIMITED).status_code == 404
    assert web.post("/v1/accounts/bogota/pause", key=LIMITED).status_code == 404
    assert web.get("/v1/accounts/bogota").json["state"] == "idle"
    assert web.post("/v1/accounts/lima/pause", key=LIMITED).status_code == 200


def test_a_limited_key_resumes_no_foreign_account(web):
    web.post("/v1/accounts/bogota/pause")
    assert web.post("/v1/accounts/bogota/resume", key=LIMITED).status_code == 404
    assert web.get("/v1/accounts/bogota").json["state"] == "paused"


def test_an_unknown_account_is_not_found(web):
    assert web.get("/v1/accounts/medellin").status_code == 404
    assert web.post("/v1/accounts/medellin/pause").status_code == 404
    assert web.post("/v1/accounts/medellin/resume").status_code == 404


# --- parked events -----------------------------------------------------------------------------


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
    web = ApiClient(Services(watch, Store(connect(url(store))), WakeUpPublisher.silent()))
    web.send_form(form("bogota"))
    web.send_form(form("lima"))
    assert web.post("/v1/parked/remap").json == {
        "looked_at": 2,
        "recalls": [],
        "pending": 0,
        "still_parked": 2,
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


def test_a_limited_key_may_not_remap(web):
    assert web.post("/v1/parked/remap", key=LIMITED).status_code == 403


# --- errors of the whole web -------------------------------------------------------------------


def url(client):
    return "redis://{host}:{port}/0".format(**client.connection_pool.connection_kwargs)


@pytest.fixture
def lonely(tmp_path, start_valkey):
    """A web on a store of its own, with the time-outs that the web has, and the store's server."""
    server = start_valkey()
    path = write_config(tmp_path, two_accounts() + CONFIG)
    store = Store(connect(server.url, timeout_seconds=1.2, connect_seconds=0.4))
    web = ApiClient(Services(watch_config(path, ENVIRON), store, WakeUpPublisher.silent()))
    recall = web.asked_id()
    return web, server, recall


def requests_of(recall):
    return [
        ("GET", f"/v1/recalls/{recall}", {}),
        ("GET", "/v1/recalls", {}),
        ("POST", "/v1/recalls", {"json": asked()}),
        ("POST", f"/v1/recalls/{recall}/cancel", {}),
        ("POST", f"/v1/recalls/{recall}/retry", {}),
        ("GET", "/v1/accounts", {}),
        ("POST", "/v1/accounts/bogota/pause", {}),
        ("GET", "/v1/parked", {}),
        ("POST", "/v1/parked/remap", {}),
        ("GET", "/v1/me", {"key": "a-key-that-may-ask-little"}),
    ]


def test_with_the_store_gone_everything_that_needs_it_is_503_at_once(lonely):
    web, server, recall = lonely
    server.kill()
    for method, path, more in requests_of(recall):
        started = time.monotonic()
        answer = web.open(method, path, **more)
        assert (answer.status_code, answer.headers.get("Retry-After")) == (503, "5"), path
        assert time.monotonic() - started < AT_ONCE_SECONDS
    assert web.get("/v1/me").status_code == 200


def test_with_a_store_that_hangs_the_answer_comes_within_two_seconds(lonely):
    web, server, _ = lonely
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()
    assert web.ask().status_code == 503
    assert web.get("/v1/me", key="a-key-that-may-ask-little").status_code == 503
    assert time.monotonic() - started < AT_ONCE_SECONDS


def test_what_is_nowhere_is_a_problem(web):
    answer = web.get("/v1/nothing/here", key=None)
    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
    assert answer.json["title"] == "Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/me", {"GET", "HEAD"}),
        ("PUT", "/v1/recalls", {"GET", "HEAD", "POST"}),
        ("OPTIONS", "/v1/recalls", {"GET", "HEAD", "POST"}),
        ("TRACE", "/v1/accounts", {"GET", "HEAD"}),
        ("GET", "/v1/parked/remap", {"POST"}),
    ],
)
def test_another_method_is_refused_with_those_that_are_taken(web, method, path, allowed):
    answer = web.open(method, path)
    assert (answer.status_code, answer.content_type) == (405, "application/problem+json")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_an_error_of_our_own_shows_nothing_of_itself(web):
    @web.app.get("/broken/<secret>")
    def broken(secret):
        raise RuntimeError("the inner words")

    with capture_logs() as logged:
        answer = web.get("/broken/url-key-7f3a")
    assert (answer.status_code, answer.content_type) == (500, "application/problem+json")
    assert "inner" not in answer.text
    (line,) = logged
    assert line.pop("exc_info")[0] is RuntimeError
    assert line["rule"] == "/broken/<secret>"
    assert "url-key-7f3a" not in str(line)


@pytest.mark.parametrize(
    "path",
    [
        "/v1/me",
        "/v1/nothing",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
        "/hooks/nobody",
        "/nothing",
        "/",
    ],
)
@pytest.mark.parametrize("key", [FULL, None], ids=["known", "unknown"])
def test_every_answer_carries_the_headers_that_keep_a_browser_from_using_it(web, path, key):
    answer = web.get(path, key=key)
    for name in ANSWER_HEADERS:
        assert answer.headers.getlist(name) == [ANSWER_HEADERS[name]], name
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    "path", ["//v1/me", "/v1//me", "/v1/me/", "//hooks//forms", "/hooks/forms/", "/v1/recalls/"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_address_is_answered_by_a_redirect(web, path, method):
    """Flask's own redirects lead to whatever host the request names."""
    answer = web.client.open(path, method=method, headers={"Host": "evil.example"})
    assert "Location" not in answer.headers
    assert answer.status_code in {401, 404, 405}


def test_a_body_full_of_faults_is_answered_with_the_first_hundred(web):
    answer = web.post("/v1/recalls", {f"unknown {number}": 1 for number in range(5000)})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 100
    assert "5005" in answer.json["detail"]


def test_a_wrong_key_is_a_line_in_the_log_that_holds_nothing_of_it(web):
    with capture_logs() as logged:
        assert web.get("/v1/me", key="a-wrong-key-0123456789").status_code == 401
    (line,) = logged
    assert (line["event"], line["log_level"]) == ("caller refused", "warning")
    assert "wrong-key" not in str(line)
