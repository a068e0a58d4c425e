"""Lookups of Bitrix24 and Meta lead ads: from the delivery to the recall, and all errors of the CRM."""

from __future__ import annotations

import hmac
import json
import socket
from pathlib import Path

import pytest

from integration.clients.lookups import _READERS, FailureKind, LookupFailedError, look_up, meta_leads
from integration.clients.lookups.requests import REQUEST_SECONDS
from integration.config.models import Config
from integration.config.source_models import Bitrix24Lookup, JsonSource, MetaLeadLookup
from integration.config.source_models.lookups import Lookup
from integration.domain.recall import State
from integration.services.online_check import check_lookups
from support import make_services, parked_events, two_accounts
from support.hook_client import HookClient
from support.installation import Installation
from support.record_stubs import BITRIX_KEY, META_TOKEN, Bitrix24Stub, MetaStub
from workers.lookups import MOST_TRIES, LookupRunner

SAMPLES = Path(__file__).parent.parent / "samples"
SECRET = "sample-secret-0123456789"
FORM = "application/x-www-form-urlencoded"
LEAD = json.loads((SAMPLES / "records/bitrix24.json").read_text("utf-8"))
META_LEAD = json.loads((SAMPLES / "records/meta-lead-ads.json").read_text("utf-8"))
ROUTE = """
[[routes]]
name = "r"
source = "crm"
account = "bogota"
campaign_id = "12345"
recall_date = "{{ now }}"
"""
CONTACT = {"ID": "84", "NAME": "Ana", "PHONE": [{"VALUE": "3001112233", "VALUE_TYPE": "MOBILE"}]}


@pytest.fixture
def bitrix():
    with Bitrix24Stub() as stub:
        yield stub


@pytest.fixture
def meta():
    with MetaStub() as stub:
        yield stub


def bitrix_lookup(bitrix, **changes) -> Bitrix24Lookup:
    return Bitrix24Lookup.model_validate({"kind": "bitrix24", "url": bitrix.url, "id": "x"} | changes)


def meta_lookup(meta, **changes) -> MetaLeadLookup:
    keys = {"kind": "meta-lead-ads", "token": META_TOKEN, "id": "x", "base_url": meta.root}
    return MetaLeadLookup.model_validate(keys | changes)


# --- from the delivery to the recall ---------------------------------------------------------------


class LookedUp(Installation):
    """A receiver and a lookup runner with the source `crm`."""

    def __init__(self, folder, store, source: str, route: str) -> None:
        text = two_accounts() + source + ROUTE + route
        super().__init__(make_services(folder, store, text))
        self.web = HookClient(self.services).client

    def look_up(self) -> None:
        LookupRunner(self.services).look_up("crm")


BITRIX_SOURCE = """
[sources.crm]
kind = "json"
preset = "bitrix24"
secrets = "{secret}"
[sources.crm.lookup]
url = "{url}"
"""
LEAD_ROUTE = """customer_id = "{{ record.ID }}"
recall_telephone = "{{ (record.PHONE | default(contact.PHONE) | first).VALUE }}"
"""


def bitrix_body(event="ONCRMLEADADD", number="7405") -> bytes:
    body = (SAMPLES / "presets/bitrix24.form").read_text("utf-8")
    return body.replace("ONCRMLEADADD", event).replace("7405", number).encode()


@pytest.mark.parametrize(
    ("event", "records"),
    [
        ("ONCRMLEADADD", {("lead", "7405"): LEAD}),
        ("ONCRMCONTACTUPDATE", {("contact", "7405"): CONTACT | {"ID": "7405"}}),
        ("ONCRMDEALADD", {("deal", "7405"): {"ID": "7405", "CONTACT_ID": "84"}, ("contact", "84"): CONTACT}),
    ],
)
def test_a_bitrix24_event_becomes_a_recall_once_its_record_was_read(tmp_path, store, bitrix, event, records):
    source = BITRIX_SOURCE.format(secret=SECRET, url=bitrix.url)
    installation = LookedUp(tmp_path, store, source, LEAD_ROUTE)
    bitrix.records.update(records)
    answer = installation.web.post("/hooks/crm", data=bitrix_body(event), content_type=FORM)
    assert (answer.status_code, answer.json["pending"]) == (200, 1)
    again = installation.web.post("/hooks/crm", data=bitrix_body(event), content_type=FORM)
    assert again.json["delivery"] == answer.json["delivery"]
    installation.look_up()
    (recall,) = installation.recalls(state=State.QUEUED)
    assert (recall.customer_id, recall.recall_telephone[:3]) == ("7405", "300")
    assert len(bitrix.requests) == 1
    stored = [store.dump(key) or b"" for key in store.keys("*")]
    assert not any(SECRET.encode() in value or BITRIX_KEY.encode() in value for value in stored)


def test_a_bitrix24_event_with_another_token_is_rejected(tmp_path, store, bitrix):
    source = BITRIX_SOURCE.format(secret="another-token-0123456789", url=bitrix.url)
    installation = LookedUp(tmp_path, store, source, LEAD_ROUTE)
    assert installation.web.post("/hooks/crm", data=bitrix_body(), content_type=FORM).status_code == 401
    assert bitrix.requests == []


def test_a_bitrix24_record_that_does_not_exist_is_parked(tmp_path, store, bitrix):
    source = BITRIX_SOURCE.format(secret=SECRET, url=bitrix.url)
    installation = LookedUp(tmp_path, store, source, LEAD_ROUTE)
    installation.web.post("/hooks/crm", data=bitrix_body(), content_type=FORM)
    installation.look_up()
    assert len(parked_events(installation.services)) == 1


META_SOURCE = """
[sources.crm]
kind = "json"
preset = "meta-lead-ads"
secrets = "{secret}"
verify_token = "verify-token"
[sources.crm.lookup]
token = "{token}"
base_url = "{url}"
"""
META_ROUTE = """customer_id = "{{ event.leadgen_id }}"
recall_telephone = '{{ (record.field_data | selectattr("name", "eq", "phone_number") | first)["values"] | first }}'
"""


def test_a_lead_of_meta_becomes_a_recall_once_it_was_read(tmp_path, store, meta):
    source = META_SOURCE.format(secret=SECRET, token=META_TOKEN, url=meta.root)
    installation = LookedUp(tmp_path, store, source, META_ROUTE)
    meta.leads[META_LEAD["id"]] = META_LEAD
    body = (SAMPLES / "presets/meta-lead-ads.json").read_bytes()
    signed = {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()}
    answer = installation.web.post("/hooks/crm", data=body, headers=signed, content_type="application/json")
    assert (answer.status_code, answer.json["pending"]) == (200, 1)
    installation.look_up()
    (recall,) = installation.recalls(state=State.QUEUED)
    assert (recall.customer_id, recall.recall_telephone) == (META_LEAD["id"], "3001234567")


def test_a_lead_that_meta_does_not_have_is_parked_after_a_day_of_tries(tmp_path, store, meta):
    """Meta does not distinguish a deleted lead from a lead of another page."""
    source = META_SOURCE.format(secret=SECRET, token=META_TOKEN, url=meta.root)
    installation = LookedUp(tmp_path, store, source, META_ROUTE)
    body = (SAMPLES / "presets/meta-lead-ads.json").read_bytes()
    signed = {"X-Hub-Signature-256": "sha256=" + hmac.new(SECRET.encode(), body, "sha256").hexdigest()}
    installation.web.post("/hooks/crm", data=body, headers=signed, content_type="application/json")
    client, key = installation.services.store.client, installation.services.store.key("lookups:crm")
    for tries in range(MOST_TRIES):
        assert parked_events(installation.services) == [], tries
        installation.look_up()
        for lookup in client.zrange(key, 0, -1):
            client.zadd(key, {lookup: 0})
    (parked,) = parked_events(installation.services)
    assert (parked["field"], parked["found"]) == ("record", meta_leads.UNKNOWN)
    assert len(meta.requests) == MOST_TRIES
    installation.look_up()
    assert len(meta.requests) == MOST_TRIES


# --- Bitrix24 --------------------------------------------------------------------------------------


def test_bitrix24_records_are_read_in_batches_of_fifty_commands(bitrix):
    bitrix.records.update({("lead", str(n)): LEAD | {"ID": str(n)} for n in range(1, 61)})
    found = look_up(bitrix_lookup(bitrix), [f"ONCRMLEADADD/{n}" for n in range(1, 61)])
    assert {key: each["record"]["ID"] for key, each in found.records.items()} == {
        f"ONCRMLEADADD/{n}": str(n) for n in range(1, 61)
    }
    assert [len(json.loads(body)["cmd"]) for _, _, body in bitrix.requests] == [50, 50, 20]


@pytest.mark.parametrize(
    "id_",
    [
        "7405",
        "ONCRMLEADADD/",
        "ONCRMLEADADD/7x",
        "ONCRMLEADADD/0",
        "ONIMBOTMESSAGEADD/1",
        "ONCRMDEALRECURRINGADD/1",
    ],
)
def test_an_id_of_another_form_is_not_sent_to_bitrix24(bitrix, id_):
    assert look_up(bitrix_lookup(bitrix), [id_]).records == {}
    assert bitrix.requests == []


def test_the_address_of_an_inbound_webhook_may_lack_its_last_slash(bitrix):
    bitrix.records["lead", "7405"] = LEAD
    lookup = bitrix_lookup(bitrix, url=bitrix.url.rstrip("/"))
    assert look_up(lookup, ["ONCRMLEADADD/7405"]).records["ONCRMLEADADD/7405"]["contact"] is None


def test_a_bitrix24_record_that_may_not_be_read_fails_alone(bitrix):
    bitrix.records["lead", "1"] = LEAD
    bitrix.errors["lead", "2"] = {"error": "", "error_description": "Access denied"}
    bitrix.records["deal", "3"] = {"ID": "3", "CONTACT_ID": "9"}
    bitrix.errors["contact", "9"] = {"error": "", "error_description": "Access denied"}
    found = look_up(bitrix_lookup(bitrix), ["ONCRMLEADADD/1", "ONCRMLEADADD/2", "ONCRMDEALADD/3"])
    assert set(found.records) == {"ONCRMLEADADD/1"}
    assert set(found.failed) == {"ONCRMLEADADD/2", "ONCRMDEALADD/3"}


@pytest.mark.parametrize("number", [None, "", "0", 0, [], {}])
def test_a_deal_whose_contact_is_no_id_has_none(bitrix, number):
    bitrix.records["deal", "3"] = {"ID": "3", "CONTACT_ID": number}
    found = look_up(bitrix_lookup(bitrix), ["ONCRMDEALADD/3"])
    assert found.records["ONCRMDEALADD/3"]["contact"] is None


BITRIX_FAULTS = [
    ((401, {"error": "NO_AUTH_FOUND"}), FailureKind.REFUSED),
    ((403, {"error": "INVALID_CREDENTIALS"}), FailureKind.REFUSED),
    (
        (200, {"result": {"result": [], "result_error": {"r0": {"error": "insufficient_scope"}}}}),
        FailureKind.REFUSED,
    ),
    ((503, {"error": "QUERY_LIMIT_EXCEEDED"}), FailureKind.RATE_LIMITED),
    ((429, {"error": "OPERATION_TIME_LIMIT"}), FailureKind.RATE_LIMITED),
    (
        (200, {"result": {"result": [], "result_error": {"r0": {"error": "QUERY_LIMIT_EXCEEDED"}}}}),
        FailureKind.RATE_LIMITED,
    ),
    ((500, {"error": "INTERNAL_SERVER_ERROR"}), FailureKind.UNREACHABLE),
    ((502, b"<html>"), FailureKind.UNREACHABLE),
    ((404, b"<html>"), FailureKind.UNREADABLE),
    ((200, b"<html>"), FailureKind.UNREADABLE),
    ((200, []), FailureKind.UNREADABLE),
    ((200, {"result": []}), FailureKind.UNREADABLE),
]


@pytest.mark.parametrize(("fault", "kind"), BITRIX_FAULTS, ids=str)
def test_a_fault_of_bitrix24_has_its_kind_and_no_secret(bitrix, fault, kind):
    bitrix.fault = fault
    with pytest.raises(LookupFailedError) as caught:
        look_up(bitrix_lookup(bitrix), ["ONCRMLEADADD/7405"])
    assert caught.value.kind is kind
    assert BITRIX_KEY not in caught.value.reason


@pytest.mark.parametrize(
    ("fault", "needs_change"),
    [(BITRIX_FAULTS[0][0], True), (BITRIX_FAULTS[1][0], False), (BITRIX_FAULTS[2][0], False)],
    ids=["401", "403", "insufficient_scope"],
)
def test_a_webhook_of_bitrix24_that_lacks_a_permission_needs_no_other_address(bitrix, fault, needs_change):
    bitrix.fault = fault
    with pytest.raises(LookupFailedError) as caught:
        look_up(bitrix_lookup(bitrix), ["ONCRMLEADADD/7405"])
    assert caught.value.needs_change is needs_change


def test_a_bitrix24_that_is_away_is_unreachable(bitrix):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/rest/1/{BITRIX_KEY}/"
        with pytest.raises(LookupFailedError) as caught:
            look_up(bitrix_lookup(bitrix, url=url), ["ONCRMLEADADD/7405"])
    assert caught.value.kind is FailureKind.UNREACHABLE
    assert BITRIX_KEY not in caught.value.reason


# --- Meta ------------------------------------------------------------------------------------------


def test_leads_of_meta_are_read_one_by_one_and_fail_alone(meta):
    meta.leads.update({"1": META_LEAD | {"id": "1"}, "3": META_LEAD | {"id": "3"}})
    found = look_up(meta_lookup(meta), ["1", "2", "3", "x", "1/../me"])
    assert {key: each["record"]["id"] for key, each in found.records.items()} == {"1": "1", "3": "3"}
    assert set(found.failed) == {"2"}
    assert len(meta.requests) == 3


def error(code: int) -> dict:
    return {"error": {"message": "…", "type": "OAuthException", "code": code}}


META_FAULTS = [
    ((400, error(190)), FailureKind.REFUSED),
    ((401, b""), FailureKind.REFUSED),
    ((400, error(4)), FailureKind.RATE_LIMITED),
    ((400, error(613)), FailureKind.RATE_LIMITED),
    ((429, b""), FailureKind.RATE_LIMITED),
    ((500, error(2)), FailureKind.UNREACHABLE),
    ((400, error(1)), FailureKind.UNREACHABLE),
]


@pytest.mark.parametrize(("fault", "kind"), META_FAULTS, ids=str)
def test_a_fault_of_meta_has_its_kind_and_no_secret(meta, fault, kind):
    meta.fault = fault
    with pytest.raises(LookupFailedError) as caught:
        look_up(meta_lookup(meta), ["1"])
    assert caught.value.kind is kind
    assert META_TOKEN not in caught.value.reason


OF_ONE_LEAD = [
    (403, error(200)),
    (403, b""),
    (400, error(10)),
    (400, error(3)),
    (400, {"error": {"code": []}}),
    (500, error(2)),
    (400, error(1)),
    (404, b"<html>"),
    (200, b"<html>"),
    (200, {"id": "1"}),
]


@pytest.mark.parametrize("fault", OF_ONE_LEAD, ids=str)
def test_an_error_of_one_lead_affects_only_that_lead(meta, fault):
    meta.leads["3"] = META_LEAD | {"id": "3"}
    meta.faults_of["1"] = fault
    found = look_up(meta_lookup(meta), ["1", "3"])
    assert (set(found.records), set(found.failed)) == ({"3"}, {"1"})
    assert META_TOKEN not in found.failed["1"].reason


@pytest.mark.parametrize("fault", [(400, error(190)), (400, error(4))], ids=str)
def test_leads_that_were_read_are_kept_when_meta_refuses_the_next(meta, fault):
    meta.leads.update({lead: META_LEAD | {"id": lead} for lead in "123"})
    meta.faults_of["2"] = fault
    found = look_up(meta_lookup(meta), ["1", "2", "3"])
    assert (set(found.records), set(found.failed)) == ({"1"}, {"2", "3"})
    assert len(meta.requests) == 2


def test_no_lead_is_requested_without_time_for_the_answer(meta, monkeypatch):
    monkeypatch.setattr(meta_leads, "CALL_SECONDS", REQUEST_SECONDS)
    meta.leads.update({lead: META_LEAD | {"id": lead} for lead in "12"})
    found = look_up(meta_lookup(meta), ["1", "2"])
    assert set(found.records) == {"1"}
    assert "too slowly" in found.failed["2"].reason
    assert len(meta.requests) == 1


# --- all CRMs ----------------------------------------------------------------------------------


def lookup_classes(base=Lookup):
    return {base, *(each for known in base.__subclasses__() for each in lookup_classes(known))} - {Lookup}


def test_every_lookup_has_its_reader():
    assert set(_READERS) == lookup_classes()


def test_the_check_of_a_lookup_asks_bitrix24(tmp_path, bitrix):
    source = JsonSource(
        name="b24", kind="json", verify="url-key", url_key="k" * 32, lookup=bitrix_lookup(bitrix)
    )
    (good,) = check_lookups(Config(accounts={}, sources={"b24": source}, routes=(), vars={}), None)
    assert good.good
    assert len(bitrix.requests) == 1
    rejected = source.model_copy(
        update={"lookup": bitrix_lookup(bitrix, url=f"{bitrix.root}/rest/1/wrong-key-0123456/")}
    )
    (bad,) = check_lookups(Config(accounts={}, sources={"b24": rejected}, routes=(), vars={}), None)
    assert not bad.good


@pytest.mark.parametrize(
    ("fault", "good"), [(None, True), ((403, error(200)), False), ((404, b"<html>"), False)]
)
def test_the_check_of_a_lookup_distinguishes_an_unknown_lead_from_an_error(meta, fault, good):
    meta.fault = fault
    source = JsonSource(name="m", kind="json", verify="url-key", url_key="k" * 32, lookup=meta_lookup(meta))
    (found,) = check_lookups(Config(accounts={}, sources={"m": source}, routes=(), vars={}), None)
    assert found.good is good
