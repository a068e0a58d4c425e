"""The bytes of requests to wolkvox, and the verdicts on its responses."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from integration.clients.wolkvox_protocol import (
    MSG_LIMIT,
    VerdictKind,
    broken_off,
    build_call,
    build_campaigns_call,
    decipher_response,
    not_sent,
)
from integration.domain.account import Account

TOKEN = "tok-5f1d0c2e77"
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


def account(**changes) -> Account:
    fields = {"name": "bogota", "server": "0003", "token": TOKEN, "timezone": "America/Bogota"}
    return Account.model_validate(fields | changes)


def call(where: Account | None = None, **changes):
    fields = {
        "campaign_id": "12345",
        "customer_id": "100000000",
        "recall_telephone": "93242567400",
        "recall_date": datetime(2024, 4, 26, 21, 0, tzinfo=UTC),
    }
    return build_call(where or account(), **fields | changes)


def answer(code=None, msg="", *, status=None, error="null", headers=None, **more):
    body = {"error": error, "msg": msg, **more} | ({} if code is None else {"code": code})
    return decipher_response(status or int(code), headers or {}, json.dumps(body).encode(), now=NOW)


# --- the call ---


def test_the_call_is_the_documented_one():
    made = call()
    assert made.method == "PUT"
    assert made.url == (
        "https://wv0003.wolkvox.com/api/v2/campaign.php?api=recall&type_campaign=predictive&campaign_id=12345"
    )
    assert made.headers["wolkvox-token"] == TOKEN
    assert made.headers["Content-Type"] == "application/json"
    assert json.loads(made.body) == {
        "recall_date": "20240426160000",
        "recall_telephone": "93242567400",
        "customer_id": "100000000",
    }


def test_an_empty_type_leaves_the_parameter_out():
    assert call(account(type_campaign="")).url.endswith("campaign.php?api=recall&campaign_id=12345")


def test_a_campaign_id_cannot_add_a_parameter():
    assert call(campaign_id="1&api=x y/ñ").url.endswith("&campaign_id=1%26api%3Dx%20y%2F%C3%B1")


def test_the_date_is_the_wall_clock_of_the_accounts_zone():
    moment = datetime(2026, 7, 1, 23, 30, 5, tzinfo=ZoneInfo("Europe/Madrid"))
    assert json.loads(call(recall_date=moment).body)["recall_date"] == "20260701163005"


def test_a_date_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="recall_date"):
        call(recall_date=datetime(2026, 7, 1))


def test_the_same_recall_makes_the_same_bytes():
    assert call() == call()


def test_a_compressed_answer_is_not_requested():
    assert call().headers["Accept-Encoding"] == "identity"


def test_repr_and_public_headers_show_neither_token_nor_customer():
    made = call()
    assert not any(secret in repr(made) for secret in (TOKEN, "93242567400", "100000000"))
    assert TOKEN not in str(made.public_headers)
    assert made.public_headers["Content-Type"] == "application/json"


def test_the_campaigns_are_read_by_get_without_a_body():
    made = build_campaigns_call(account(server=None, base_url="http://127.0.0.1:8202/"))
    assert (made.method, made.body) == ("GET", b"")
    assert made.url == "http://127.0.0.1:8202/api/v2/information.php?api=campaigns"
    assert made.headers["wolkvox-token"] == TOKEN


@given(st.text(), st.text(), st.text())
def test_any_texts_make_ascii_bytes_that_read_back(campaign, customer, telephone):
    made = call(campaign_id=campaign, customer_id=customer, recall_telephone=telephone)
    made.url.encode("ascii")
    assert json.loads(made.body)["customer_id"] == customer


# --- success ---

DOCUMENTED = "customer_id 100000000 has been updated and will be call back on 2024 to phone 93242567400"


@pytest.mark.parametrize("code", [202, "202", " 202 ", 202.0])
@pytest.mark.parametrize("error", [None, "", "null"])
@pytest.mark.parametrize("status", [200, 202])
def test_a_2xx_with_code_202_is_accepted_however_it_is_spelled(code, error, status):
    verdict = answer(code, DOCUMENTED, status=status, error=error)
    assert (verdict.kind, verdict.code, verdict.quiet) == (VerdictKind.ACCEPTED, "202", False)


@pytest.mark.parametrize("status", [199, 301, 400, 403, 404, 500, 503])
def test_code_202_without_a_2xx_is_not_accepted(status):
    verdict = answer(202, DOCUMENTED, status=status)
    assert verdict.kind is VerdictKind.UNKNOWN


def test_code_202_beside_an_error_is_not_accepted():
    assert answer(202, DOCUMENTED, error="BAD REQUEST").kind is VerdictKind.UNKNOWN


@pytest.mark.parametrize("code", [200, "200", 201, 0, "ok", True, None, [202], 2020])
def test_a_2xx_with_another_code_is_not_accepted(code):
    verdict = answer(code, DOCUMENTED, status=200)
    assert (verdict.kind, verdict.counts_against_recall, verdict.quiet) == (VerdictKind.UNKNOWN, True, False)


# --- wolkvox's error table ---


@pytest.mark.parametrize("status", [200, None])
@pytest.mark.parametrize(
    ("code", "msg", "kind"),
    [
        (400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", VerdictKind.STOPPED),
        (400, "SOME PARAMETERS ARE REQUIRED", VerdictKind.REFUSED),
        (400, "something new", VerdictKind.REFUSED),
        (401, "PLEASE ENTER THE WOLKVOX-TOKEN", VerdictKind.STOPPED),
        (401, "something new", VerdictKind.STOPPED),
        (403, "TOKEN LIMIT EXCEEDED", VerdictKind.QUOTA),
        (403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", VerdictKind.CONCURRENCY),
        (403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN(3)", VerdictKind.CONCURRENCY),
        (403, "PLEASE VALIDATE TOKEN", VerdictKind.STOPPED),
        (403, "MAINTENANCE", VerdictKind.WAIT),
        (403, "", VerdictKind.WAIT),
        (404, "no such record", VerdictKind.REFUSED),
        (422, "", VerdictKind.REFUSED),
        (408, "", VerdictKind.WAIT),
        (429, "", VerdictKind.WAIT),
        (302, "", VerdictKind.WAIT),
        (500, "boom", VerdictKind.UNKNOWN),
        (503, "", VerdictKind.UNKNOWN),
    ],
)
def test_the_bodys_code_and_words_decide_whatever_the_http_status(code, msg, kind, status):
    assert answer(code, msg, status=status or code).kind is kind
    assert answer(str(code), f"  {msg.lower().replace(' ', '  ')}. ", status=status or code).kind is kind


def test_the_text_may_be_in_error_instead_of_msg():
    assert answer(403, "", error="TOKEN LIMIT EXCEEDED").kind is VerdictKind.QUOTA


def test_a_known_text_with_another_code_is_ignored():
    assert answer(400, "TOKEN LIMIT EXCEEDED").kind is VerdictKind.REFUSED


def test_without_a_code_the_http_status_decides():
    assert decipher_response(404, {}, b'{"msg":"gone"}').kind is VerdictKind.REFUSED
    assert decipher_response(401, {}, b"{}").kind is VerdictKind.STOPPED
    assert decipher_response(200, {}, b"[]").kind is VerdictKind.UNKNOWN


def test_a_code_that_is_no_status_leaves_the_http_status_to_decide():
    assert answer("E-17", "x", status=422).kind is VerdictKind.REFUSED


@pytest.mark.parametrize("body", [b"", b"<html>502</html>", b'{"code":202', b"\xff\xfe", b"[" * 5000])
@pytest.mark.parametrize("status", [200, 202, 302, 400, 401, 403, 404, 408, 429, 500, 502])
def test_an_answer_that_is_not_json_refuses_no_recall_and_stops_no_queue(body, status):
    verdict = decipher_response(status, {}, body)
    assert verdict.kind in {VerdictKind.WAIT, VerdictKind.UNKNOWN}
    assert verdict.msg is None


def test_a_403_408_or_429_is_read_from_the_status_even_when_the_answer_is_not_json():
    for status in (403, 408, 429):
        assert decipher_response(status, {}, b"<html>").kind is VerdictKind.WAIT


def test_a_code_that_is_neither_number_nor_text_is_none():
    for code in (True, None, [202], {"a": 1}):
        assert answer(code, status=500).code is None


def test_a_byte_order_mark_and_latin_1_are_read():
    assert decipher_response(202, {}, b'\xef\xbb\xbf{"code":202}').kind is VerdictKind.ACCEPTED
    assert decipher_response(202, {}, '{"code":202,"msg":"llamará"}'.encode("latin-1")).msg == "llamará"


# --- blame, quiet time, Retry-After ---


@pytest.mark.parametrize("status", [403, 429])
@pytest.mark.parametrize("body", [b"{}", b"<html>", b'{"code":202}', b'{"code":500}', b'{"code":"403"}'])
def test_a_403_or_429_never_counts_against_the_recall(status, body):
    assert not decipher_response(status, {}, body).counts_against_recall
    assert not broken_off(status, "cut").counts_against_recall


def test_a_code_403_in_the_body_never_counts_against_the_recall():
    assert not answer(403, "x", status=500).counts_against_recall


def test_a_connect_error_neither_counts_against_the_recall_nor_needs_quiet_time():
    verdict = not_sent("connect: Connection refused")
    assert (verdict.kind, verdict.counts_against_recall, verdict.quiet) == (
        VerdictKind.NOT_SENT,
        False,
        False,
    )


def test_an_incomplete_call_is_unknown_quiet_and_counts_against_the_recall():
    for verdict in (broken_off(None, "time-out"), broken_off(200, "cut")):
        assert (verdict.kind, verdict.quiet, verdict.counts_against_recall) == (
            VerdictKind.UNKNOWN,
            True,
            True,
        )


@pytest.mark.parametrize("status", [502, 504, 520, 524, 529])
def test_an_error_of_a_gateway_needs_quiet_time(status):
    assert decipher_response(status, {}, b"<html>").quiet
    assert decipher_response(status, {}, b'{"code":400}').quiet
    assert answer(status, status=200).quiet


@pytest.mark.parametrize("status", [200, 202, 301, 400, 401, 403, 404, 408, 429, 500, 501, 503, 519, 530])
def test_any_other_complete_answer_needs_no_quiet_time(status):
    assert not decipher_response(status, {}, b"<html>").quiet
    assert not answer(status, "x").quiet


def retry_after(value: str, *, now: datetime | None = NOW, **headers: str) -> float | None:
    return decipher_response(429, {"retry-after": value, **headers}, b"{}", now=now).retry_after_seconds


def test_retry_after_is_read_as_seconds_or_date_and_capped_at_an_hour():
    assert retry_after("7") == 7
    assert retry_after(" 1.5 ") == 1.5
    assert retry_after("86400") == 3600
    assert retry_after(format_datetime(NOW + timedelta(seconds=90), usegmt=True)) == 90
    assert retry_after(format_datetime(NOW - timedelta(days=1), usegmt=True)) == 0
    assert retry_after(format_datetime(NOW + timedelta(days=1), usegmt=True)) == 3600


def test_a_retry_after_with_a_date_is_ignored_without_a_clock():
    assert retry_after(format_datetime(NOW + timedelta(seconds=30), usegmt=True), now=None) is None


@pytest.mark.parametrize(
    "value", ["", "-1", "soon", "nan", "inf", "1e9", "9" * 400, "Mon, 99 Foo 2026 25:61:00 GMT"]
)
def test_a_retry_after_that_cannot_be_read_counts_as_none(value):
    assert retry_after(value) is None


# --- words ---


def test_two_customers_refusals_for_one_cause_have_the_same_words():
    first = answer(404, "customer_id 100 not found in campaign 7, phone +57 300-111-2233")
    second = answer(404, "Customer_id A-77b not  found in campaign 8, phone +1 555-0100")
    assert first.words == second.words
    assert first.words != answer(404, "campaign 7 does not exist").words


def test_refusals_without_words_compare_by_code():
    assert answer(404).words != answer(422).words
    assert answer(404).words == answer(404, status=200).words


def test_only_parameter_refusals_cannot_stop_a_queue():
    assert not answer(400, "SOME PARAMETERS ARE REQUIRED").may_stop_queue
    assert answer(400, "anything else").may_stop_queue


def test_neither_repr_nor_reason_holds_what_wolkvox_wrote():
    verdict = answer(404, "customer 55512345 Maria")
    assert not any(part in repr(verdict) + verdict.reason for part in ("55512345", "aria", "ARIA"))


def test_a_long_msg_is_cut():
    assert len(answer(404, "x" * 5000).msg) == MSG_LIMIT


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ODD_ANSWERS = st.fixed_dictionaries({}, optional={"code": JSON, "msg": JSON, "error": JSON})


@given(
    st.integers(100, 599),
    st.dictionaries(st.sampled_from(["retry-after", "date", "x"]), st.text()),
    st.binary() | ODD_ANSWERS.map(lambda value: json.dumps(value).encode()),
)
def test_every_answer_has_a_verdict_and_only_a_2xx_with_202_is_accepted(status, headers, body):
    verdict = decipher_response(status, headers, body, now=NOW)
    assert (verdict.kind is VerdictKind.ACCEPTED) <= (200 <= status <= 299 and verdict.code == "202")
    assert 0 <= (verdict.retry_after_seconds or 0) <= 3600
    assert not (
        verdict.counts_against_recall
        and verdict.kind in {VerdictKind.REFUSED, VerdictKind.STOPPED, VerdictKind.QUOTA}
    )


@pytest.mark.parametrize("name", ["msg", "error", "code"])
@pytest.mark.parametrize("levels", [254, 255, 1000])
def test_a_deeply_nested_answer_has_a_verdict(name, levels):
    body = b'{"code":202,"%s":%s}' % (name.encode(), b"[" * levels + b"]" * levels)
    assert decipher_response(200, {}, body, now=NOW).status == 200


@pytest.mark.parametrize(
    ("answer", "msg"),
    [
        ({"code": "400", "error": "CAMPAIGN IS NOT ACTIVE"}, "CAMPAIGN IS NOT ACTIVE"),
        ({"code": "400", "msg": "", "error": "THE CUSTOMER IS BLOCKED"}, "THE CUSTOMER IS BLOCKED"),
        ({"code": "400", "msg": None, "error": {"field": "date"}}, '{"field":"date"}'),
        ({"code": "400", "msg": "NO", "error": "YES"}, "NO"),
        ({"code": "400", "error": "null"}, ""),
    ],
)
def test_the_words_of_an_answer_are_its_msg_or_else_its_error(answer, msg):
    verdict = decipher_response(400, {}, json.dumps(answer).encode())
    assert verdict.msg == msg


def test_refusals_with_the_same_cause_have_one_digest_of_words():
    def digest(text):
        return decipher_response(400, {}, json.dumps({"code": "400", "error": text}).encode()).words_digest

    assert digest("customer 80123456 is blocked") == digest("customer 90999999 is blocked")
    assert digest("customer 80123456 is blocked") != digest("campaign 10 is not active")
