"""Reading, retrying and cancelling recalls."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.api_cases import LIMITED, YESTERDAY, parameters
from support.api_client import TOMORROW


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
    from integration.store.search import recalls as search

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
