"""Idempotency-Key: the same request again, another body, keys that are too old."""

from __future__ import annotations

import pytest

from support.api_cases import LIMITED
from support.api_client import TOMORROW


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
