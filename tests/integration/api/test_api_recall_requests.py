"""POST /v1/recalls: what is queued, and which bodies are refused with which pointers."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from integration.api.recalls import NO_ACCOUNT
from integration.domain.limits import MAX_BODY_BYTES
from support import as_bytes
from support.api_cases import LIMITED, YESTERDAY, pointers
from support.api_client import TOMORROW, recall_body


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
        ("recall_telephone", "30011122330"),
        ("recall_telephone", "601 743 2100 - 5"),
        ("recall_telephone", "+52 55 1234 5678"),
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
    "body", [b"", b" ", b"{", b'{"a":1,}', b"\xff\xfe", b"[" * 100_000, b'{"a":NaN}', b"a=1"]
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
    answer = web.open("POST", "/v1/recalls", data=as_bytes(recall_body()), content_type=kind)
    assert answer.status_code == 415


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=utf8"]
)
def test_json_in_utf8_is_accepted(web, kind):
    answer = web.open("POST", "/v1/recalls", data=as_bytes(recall_body()), content_type=kind)
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
    body = as_bytes(recall_body())
    body += b" " * (MAX_BODY_BYTES - len(body))
    answer = web.open("POST", "/v1/recalls", data=body, content_type="application/json")
    assert answer.status_code == 202


def test_a_body_cut_short_is_refused(web):
    body = as_bytes(recall_body())
    answer = post_stream(web, io.BytesIO(body), CONTENT_LENGTH=str(len(body) + 10))
    assert answer.status_code == 400


def test_a_body_without_length_is_read_whole(web):
    body = io.BytesIO(as_bytes(recall_body()))
    assert post_stream(web, body, HTTP_TRANSFER_ENCODING="chunked").status_code == 202


def test_a_key_for_other_accounts_may_not_ask(web, store):
    assert web.ask(key=LIMITED).status_code == 403
    assert web.ask(key=LIMITED, account="medellin").status_code == 403
    assert not store.keys("*recall:*")
    assert web.ask(key=LIMITED, account="lima", recall_telephone="+51 912 345 678").status_code == 202


def test_an_unknown_account_is_told_as_a_bad_field(web):
    answer = web.ask(account="medellin")
    assert answer.json["errors"] == [NO_ACCOUNT]
