"""Lookups of HubSpot records, against a stub with HubSpot's documented behaviour."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from integration.clients import deadline_transport
from integration.clients.lookups import FailureKind, LookupFailedError, look_up, requests
from integration.clients.lookups import hubspot as hubspot_lookup
from integration.clients.lookups.hubspot import BURST_WAIT_SECONDS, DAILY_WAIT_SECONDS
from integration.config.models import Config
from integration.config.source_models import HubspotLookup, HubspotSource
from integration.services.online_check import check_lookups
from support.hubspot_stub import PATH, TOKEN, HubspotFault, HubspotStub, rate_limited


@pytest.fixture
def hubspot():
    with HubspotStub() as stub:
        stub.add("101", phone="+573001112233", numero_documento="C-1")
        stub.add("102", phone=None)
        yield stub


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(hubspot_lookup, "_TOKEN_LIMITS", hubspot_lookup._LimitsByToken())


def lookup(stub, **settings):
    defaults = {"token": TOKEN, "properties": ("phone", "numero_documento"), "base_url": stub.base_url}
    return HubspotLookup(**(defaults | settings))


def read(stub, ids, **options):
    """Return the contacts by id."""
    return {id_: names["contact"] for id_, names in look_up(lookup(stub, **options), ids).records.items()}


def away(stub, ids=("101",), **options) -> LookupFailedError:
    with pytest.raises(LookupFailedError) as caught:
        look_up(lookup(stub, **options), ids)
    said = str(caught.value) + caught.value.reason + repr(caught.value)
    assert TOKEN not in said
    assert "573001112233" not in said
    return caught.value


# --- what is read ------------------------------------------------------------------------------


def test_a_contact_comes_as_hubspot_answered_it(hubspot):
    found = read(hubspot, ("101",))
    assert found["101"]["id"] == "101"
    assert found["101"]["properties"] == {
        "phone": "+573001112233",
        "numero_documento": "C-1",
        "hs_object_id": "101",
    }
    assert found["101"]["archived"] is False


def test_the_request_is_the_documented_one(hubspot):
    read(hubspot, ("101", "102"), base_url=hubspot.base_url + "/")
    assert hubspot.asked == [
        {"path": PATH, "properties": ["phone", "numero_documento"], "inputs": [{"id": "101"}, {"id": "102"}]}
    ]
    assert hubspot.headers[0]["authorization"] == f"Bearer {TOKEN}"
    assert hubspot.headers[0]["content-type"] == "application/json"


def test_more_than_a_hundred_ids_are_read_in_several_requests(hubspot):
    ids = tuple(str(number) for number in range(1000, 1250))
    for contact in ids:
        hubspot.add(contact, phone=contact)
    assert tuple(read(hubspot, ids)) == ids
    assert [len(asked["inputs"]) for asked in hubspot.asked] == [100, 100, 50]


def test_a_repeated_id_is_requested_once(hubspot):
    assert set(read(hubspot, ("101", "101"))) == {"101"}
    assert hubspot.asked[0]["inputs"] == [{"id": "101"}]


def test_a_contact_that_does_not_exist_is_missing_from_the_result(hubspot):
    assert set(read(hubspot, ("101", "999", "102"))) == {"101", "102"}
    assert len(hubspot.asked) == 1


def test_an_id_that_is_not_a_number_is_not_requested(hubspot):
    assert set(read(hubspot, ("101", "x'; drop", "", "١٢"))) == {"101"}


def test_no_ids_make_no_request(hubspot):
    assert read(hubspot, ()) == {}
    assert hubspot.asked == []


def test_a_merged_contact_is_returned_under_the_requested_id(hubspot):
    hubspot.merged["55"] = "101"
    found = read(hubspot, ("55", "102", "999"))
    assert found["55"]["id"] == "101"
    assert set(found) == {"55", "102"}


def test_a_merged_contact_is_returned_with_the_one_it_was_merged_into(hubspot):
    hubspot.merged["55"] = "101"
    found = read(hubspot, ("101", "55"))
    assert found["55"]["id"] == found["101"]["id"] == "101"


def test_ids_missing_from_an_answer_cost_a_bounded_number_of_requests(hubspot):
    hubspot.faults.append(HubspotFault(status=200, body=b'{"status":"COMPLETE","results":[]}'))
    read(hubspot, tuple(str(number) for number in range(2000, 2100)))
    assert len(hubspot.asked) == 1 + hubspot_lookup.MOST_SINGLE_READS


# --- other objects, and what is associated with them --------------------------------------------


def test_a_deal_comes_with_the_contact_associated_with_it(hubspot):
    hubspot.add("7", "deals", dealname="Moto")
    hubspot.add("8", "deals", dealname="Carro")
    hubspot.associate("deals", "7", "contacts", ["102", "101"])
    found = look_up(lookup(hubspot, associated="contact"), ("deals/7", "deals/8", "deals/9", "101")).records
    assert found["deals/7"]["record"]["id"] == "7"
    assert found["deals/7"]["contact"]["id"] == "102"
    assert found["deals/8"]["contact"] is None
    assert found["101"]["contact"] is found["101"]["record"]
    assert "deals/9" not in found
    assert [[*request["path"].split("/")[2:5:2], len(request["inputs"])] for request in hubspot.asked] == [
        ["objects", "deals", 3],
        ["associations", "deals", 2],
        ["objects", "contacts", 1],
        ["objects", "contacts", 1],
    ]


@pytest.mark.parametrize("name", ["tickets", "companies", "2-3453932"])
def test_a_record_of_any_object_is_read(hubspot, name):
    hubspot.add("7", name, phone="+573001112233")
    found = look_up(lookup(hubspot), (f"{name}/7",)).records[f"{name}/7"]
    assert found["record"]["properties"]["phone"] == "+573001112233"
    assert found["contact"] is None


def test_the_associated_record_has_properties_of_its_own(hubspot):
    hubspot.add("7", "deals", dealname="Moto")
    hubspot.associate("deals", "7", "contacts", ["101"])
    look_up(lookup(hubspot, associated="contacts", associated_properties="phone"), ("deals/7",))
    assert [request.get("properties") for request in hubspot.asked] == [
        ["phone", "numero_documento"],
        None,
        ["phone"],
    ]


def test_an_archived_record_is_absent(hubspot):
    hubspot.archived.add("101")
    assert set(read(hubspot, ("101", "102"))) == {"102"}
    assert read(hubspot, ("101",)) == {}
    assert len(hubspot.asked) == 2


def test_the_version_of_the_api_is_a_setting(hubspot):
    assert "404" in away(hubspot, api_version="2026-09").reason
    assert hubspot.asked[0]["path"] == "/crm/objects/2026-09/contacts/batch/read"


def test_a_record_that_cannot_be_read_fails_alone(hubspot):
    hubspot.unreadable.add("102")
    found = look_up(lookup(hubspot), ("101", "102", "999"))
    assert set(found.records) == {"101"}
    assert set(found.failed) == {"102"}
    assert found.failed["102"].reason == "HubSpot could not read the record"


def test_a_deal_whose_contact_cannot_be_read_fails(hubspot):
    hubspot.add("7", "deals")
    hubspot.associate("deals", "7", "contacts", ["102"])
    hubspot.unreadable.add("102")
    found = look_up(lookup(hubspot, associated="contacts"), ("deals/7",))
    assert (found.records, set(found.failed)) == ({}, {"deals/7"})


def test_associations_that_cannot_be_read_are_never_taken_as_none(hubspot):
    hubspot.add("7", "deals")
    body = {"results": [], "errors": [{"category": "INTERNAL_ERROR", "context": {"ids": ["7"]}}]}
    hubspot.faults_of["associations"] = HubspotFault(status=207, body=json.dumps(body).encode())
    assert "associations" in away(hubspot, ("deals/7",), associated="contacts").reason


@pytest.mark.parametrize(
    "results", [[{}], [{"from": {"id": "7"}}], [{"from": {"id": "7"}, "to": [{}]}], [{"to": []}], ["7"]]
)
def test_associations_that_are_not_as_documented_are_away(hubspot, results):
    hubspot.add("7", "deals")
    hubspot.faults_of["associations"] = HubspotFault(
        status=200, body=json.dumps({"results": results}).encode()
    )
    assert "undocumented form" in away(hubspot, ("deals/7",), associated="contacts").reason


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("deals", "crm.objects.deals.read"),
        ("tickets", "tickets"),
        ("2-345", "crm.objects.custom.read"),
    ],
)
def test_a_token_without_the_scope_names_the_one_of_the_object(hubspot, name, scope):
    hubspot.faults.append(HubspotFault(status=403, body=b"{}"))
    (error,) = look_up(lookup(hubspot), (f"{name}/7",)).failed.values()
    assert f"scope {scope} (403)" in error.reason
    assert error.kind is FailureKind.FORBIDDEN


@pytest.mark.parametrize("status", [400, 403, 404, 503, 429])
def test_an_object_that_is_refused_fails_alone(hubspot, status):
    hubspot.add("7", "deals")
    hubspot.faults_of_objects["deals"] = HubspotFault(status=status, body=b"{}")
    found = look_up(lookup(hubspot), ("101", "deals/7", "102"))
    assert (set(found.records), set(found.failed)) == ({"101", "102"}, {"deals/7"})
    assert str(status) in found.failed["deals/7"].reason


def test_a_rejected_object_does_not_prevent_reading_the_others(hubspot):
    hubspot.faults_of_objects["deals"] = HubspotFault(status=403, body=b"{}")
    found = look_up(lookup(hubspot), ("deals/7", "101"))
    assert (set(found.records), set(found.failed)) == ({"101"}, {"deals/7"})


def test_a_source_whose_objects_are_all_refused_is_refused(hubspot):
    for name, status in (("deals", 400), ("contacts", 401)):
        hubspot.faults_of_objects[name] = HubspotFault(status=status, body=b"{}")
    assert away(hubspot, ("deals/7", "101")).kind is FailureKind.REFUSED


def test_records_are_kept_when_no_time_is_left_for_single_reads(hubspot, monkeypatch):
    monkeypatch.setattr(hubspot_lookup, "CALL_SECONDS", requests.REQUEST_SECONDS)
    hubspot.merged["55"] = "101"
    hubspot.add("7", "deals")
    found = look_up(lookup(hubspot), ("55", "102", "deals/7"))
    assert set(found.records) == {"102"}
    assert set(found.failed) == {"55", "deals/7"}
    assert "too slowly" in found.failed["55"].reason
    assert len(hubspot.asked) == 1


def test_the_check_of_a_lookup_reads_its_object_and_reports_an_unreadable_record(hubspot):
    settings = {"kind": "hubspot", "secrets": ["s" * 20], "name": "crm"}
    source = HubspotSource(**settings, lookup=lookup(hubspot, object="deals"))
    config = Config(accounts={}, sources={"crm": source}, routes=(), vars={})
    (good,) = check_lookups(config, None)
    assert good.good
    assert hubspot.asked[0]["path"] == "/crm/objects/2026-03/deals/batch/read"
    hubspot.add("1", "deals")
    hubspot.unreadable.add("1")
    (bad,) = check_lookups(config, None)
    assert (bad.good, bad.detail) == (False, "HubSpot could not read the record")


# --- when it cannot be read --------------------------------------------------------------------


def test_a_refused_token_is_said_to_be_refused(hubspot):
    assert "HubSpot rejects the token" in away(hubspot, token="pat-na1-other").reason


@pytest.mark.parametrize("status", [400, 404, 500, 502, 503, 302])
def test_any_other_status_is_away_with_its_number(hubspot, status):
    headers = {"Location": hubspot.base_url + "/elsewhere"} if status == 302 else {}
    hubspot.faults.append(HubspotFault(status=status, headers=headers))
    caught = away(hubspot)
    assert str(status) in caught.reason
    assert caught.retry_after_seconds is None
    assert len(hubspot.asked) == 1


def test_the_retry_after_of_a_503_is_used(hubspot):
    hubspot.faults.append(HubspotFault(status=503, headers={"Retry-After": "7"}))
    assert away(hubspot).retry_after_seconds == 7


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"<html>maintenance</html>", "not JSON"),
        (b"", "not JSON"),
        (b"[]", "not a JSON object"),
        (b"{}", "no list of results"),
        (b'{"results":{}}', "no list of results"),
        (b'{"results":[],"errors":"none"}', "no list of results"),
        (b'{"results":[{"id":101,"properties":{}}]}', "undocumented form"),
        (b'{"results":[{"id":"101"}]}', "undocumented form"),
        (b'{"results":["101"]}', "undocumented form"),
        (b'{"status":"PENDING","results":[]}', "incomplete"),
    ],
)
def test_an_answer_that_is_not_as_documented_is_away(hubspot, body, words):
    hubspot.faults.append(HubspotFault(status=200, body=body))
    assert words in away(hubspot).reason


def test_an_unexpected_error_never_makes_a_contact_missing(hubspot):
    body = {"results": [], "errors": [{"category": "INTERNAL", "context": {}}]}
    hubspot.faults.append(HubspotFault(status=207, body=json.dumps(body).encode()))
    assert "could not read some" in away(hubspot).reason


def test_an_answer_of_more_than_4_mib_is_away(hubspot):
    hubspot.faults.append(HubspotFault(status=200, body=b" " * (4 * 1024 * 1024 + 1)))
    assert "4 MiB" in away(hubspot).reason


def test_an_answer_is_never_unpacked(hubspot):
    hubspot.faults.append(
        HubspotFault(status=200, headers={"Content-Encoding": "gzip"}, body=b'{"results":[]}')
    )
    assert read(hubspot, ("101",)) == {}
    assert hubspot.headers[0]["accept-encoding"] == "identity"


def test_a_connection_that_breaks_is_away(hubspot):
    hubspot.faults.extend([HubspotFault("drop"), HubspotFault("cut")])
    assert "was lost" in away(hubspot).reason
    assert "was lost" in away(hubspot).reason


def test_a_server_that_is_not_there_is_away(hubspot):
    with HubspotStub() as gone:
        pass
    assert "cannot be reached" in away(hubspot, base_url=gone.base_url).reason


def test_a_name_that_is_not_known_is_away(hubspot, monkeypatch):
    def unknown(*_, **__):
        raise OSError

    monkeypatch.setattr(deadline_transport.socket, "getaddrinfo", unknown)
    assert "cannot be reached" in away(hubspot, base_url="https://nowhere.invalid").reason


@pytest.mark.parametrize("act", ["drip", "hang"])
def test_a_slow_or_silent_server_times_out(hubspot, monkeypatch, act):
    monkeypatch.setattr(requests, "REQUEST_SECONDS", 0.4)
    hubspot.faults.append(HubspotFault(act))
    began = time.monotonic()
    assert "no complete answer" in away(hubspot).reason
    assert time.monotonic() - began < 3


def test_a_name_look_up_that_hangs_is_cut_off_in_time(hubspot, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(requests, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(deadline_transport.socket, "getaddrinfo", lambda *_, **__: release.wait(20) and [])
    try:
        assert "no complete answer" in away(hubspot, base_url="http://hubspot").reason
    finally:
        release.set()


def test_all_requests_of_a_call_share_a_deadline(hubspot, monkeypatch):
    monkeypatch.setattr(hubspot_lookup, "CALL_SECONDS", 0.4)
    hubspot.faults.append(HubspotFault("hang"))
    began = time.monotonic()
    away(hubspot)
    assert time.monotonic() - began < 3


# --- limits ------------------------------------------------------------------------------------


def test_429_waits_as_long_as_it_says(hubspot):
    hubspot.faults.append(rate_limited("TEN_SECONDLY_ROLLING", Retry_After="3"))
    assert away(hubspot).retry_after_seconds == 3


def test_429_reads_a_date_as_well(hubspot):
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After=moment))
    assert 85 < away(hubspot).retry_after_seconds <= 90


@pytest.mark.parametrize("text", ["-5", "soon", "1e9", "inf", ""])
def test_a_retry_after_that_cannot_be_read_counts_as_none(hubspot, text):
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After=text))
    assert away(hubspot).retry_after_seconds == BURST_WAIT_SECONDS


def test_429_without_retry_after_waits_for_the_interval(hubspot):
    hubspot.faults.append(
        rate_limited("TEN_SECONDLY_ROLLING", X_HubSpot_RateLimit_Interval_Milliseconds="2500")
    )
    assert away(hubspot).retry_after_seconds == 2.5


def test_the_daily_limit_waits_longer(hubspot):
    hubspot.faults.append(rate_limited("DAILY"))
    caught = away(hubspot)
    assert caught.retry_after_seconds == DAILY_WAIT_SECONDS
    assert "daily" in caught.reason


def test_a_429_that_is_not_json_is_away_all_the_same(hubspot):
    hubspot.faults.append(HubspotFault(status=429))
    assert away(hubspot).retry_after_seconds == BURST_WAIT_SECONDS


def test_no_call_is_made_while_a_429_asks_to_wait(hubspot):
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After="30"))
    away(hubspot)
    assert 0 < away(hubspot).retry_after_seconds <= 30
    assert len(hubspot.asked) == 1


def test_no_call_is_made_when_none_remains(hubspot):
    hubspot.extra_headers = {
        "X-HubSpot-RateLimit-Remaining": "0",
        "X-HubSpot-RateLimit-Interval-Milliseconds": "10000",
    }
    assert read(hubspot, ("101",))
    assert 9 < away(hubspot).retry_after_seconds <= 10
    assert len(hubspot.asked) == 1


def test_no_call_is_made_when_none_remains_today(hubspot):
    hubspot.extra_headers = {"X-HubSpot-RateLimit-Daily-Remaining": "0"}
    assert read(hubspot, ("101",))
    assert away(hubspot).retry_after_seconds > 3000


def test_requests_continue_while_the_limit_is_not_reached(hubspot):
    hubspot.extra_headers = {"X-HubSpot-RateLimit-Remaining": "1"}
    for _ in range(2):
        assert read(hubspot, ("101",))


def test_requests_continue_after_the_wait(hubspot):
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After="0"))
    away(hubspot)
    assert read(hubspot, ("101",))


def test_a_long_wait_blocks_the_token_for_an_hour_at_most(hubspot):
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After="999999999"))
    away(hubspot)
    assert away(hubspot).retry_after_seconds <= DAILY_WAIT_SECONDS


def test_the_limit_of_one_token_does_not_block_others(hubspot):
    hubspot.faults.append(rate_limited("SECONDLY", Retry_After="30"))
    away(hubspot)
    hubspot.token = "pat-na1-second"
    assert read(hubspot, ("101",), token="pat-na1-second")


# --- connections -------------------------------------------------------------------------------


def test_the_connection_is_used_again_by_the_next_call(hubspot):
    for _ in range(3):
        read(hubspot, ("101",))
    assert hubspot.connections == 1


def test_many_threads_read_at_once(hubspot):
    for number in range(40):
        hubspot.add(str(500 + number), phone=str(number))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: read(hubspot, (str(500 + n),)), range(40)))
    assert [next(iter(contacts.values()))["properties"]["phone"] for contacts in found] == [
        str(n) for n in range(40)
    ]


def test_a_cookie_is_never_sent_back(hubspot):
    hubspot.extra_headers = {"Set-Cookie": "__cf_bm=abc; Path=/"}
    read(hubspot, ("101",))
    read(hubspot, ("101",))
    assert all("cookie" not in headers for headers in hubspot.headers)


def test_a_proxy_of_the_environment_is_not_used(hubspot, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert read(hubspot, ("101",))
