"""The mapping studio: results as one types, nothing sent or stored, stored events for operators alone."""

from __future__ import annotations

import html
import json
import re
import tomllib

import pytest

from integration.dashboard.views import studio
from support import SOURCES_AND_ROUTES, hubspot_event, make_services, parked_events, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import AT, HookClient

PHONE = "3001112233"
SAMPLE = json.dumps({"customer": "cliente-4711", "phone": PHONE, "at": AT})
FORM = {
    "source": "forms",
    "route": "3",
    "name": "form",
    "account": "bogota",
    "when": "event.phone != 'ignore me'",
    "action": "recall",
    "campaign_id": "{{ event.campaign | default('10') }}",
    "customer_id": "{{ event.customer }}",
    "recall_telephone": "{{ event.phone }}",
    "recall_date": "{{ event.at }}",
    "sample": SAMPLE,
}


def tried(services, role="operator", **changes):
    answer = Pages(services, role).post("/studio/try", FORM | changes, htmx=True)
    assert answer.status_code == 200
    return text_of(answer)


def keys_of(services):
    return {
        key for key in services.store.client.keys("*") if "audit" not in key and "flush_counters" not in key
    }


def test_the_page_shows_the_route_as_it_is(services):
    page = Pages(services).get("/studio?source=forms")
    assert "{{ event.phone }}" in html.unescape(page.text)
    assert "Select a stored event or paste a sample" in text_of(page)
    (route,) = tomllib.loads(
        html.unescape(re.search(r"<code>(\[\[routes\]\].*?)</code>", page.text, re.DOTALL)[1])
    )["routes"]
    assert route["name"] == "form"


def test_a_pasted_sample_becomes_the_exact_call(services):
    told = html.unescape(tried(services))
    assert "would be queued" in told
    assert "PUT http://127.0.0.1:9/api/v2/" in told
    assert f'"recall_telephone":"{PHONE}"'.replace(" ", "") in told.replace(" ", "") or PHONE in told
    assert "wolkvox-token: ••••" in told
    assert "token-of-bogota" not in told


def test_a_changed_field_shows_at_once_and_in_the_toml(services):
    told = html.unescape(tried(services, campaign_id="777"))
    assert 'campaign_id = "777"' in told
    assert "777" in told.split("What is sent")[1]


def test_a_field_at_fault_is_named_with_what_is_allowed(services):
    told = tried(services, recall_date="{{ event.nowhere }}")
    assert "would be parked" in told
    assert "What is sent" in told
    assert "found" in told.split("recall_date")[1]
    answer = Pages(services).post("/studio/try", FORM | {"when": "event.phone =="}, htmx=True)
    assert re.search(r'<small id="fault-when"[^>]*hx-swap-oob="true">found', answer.text)
    assert "Correct the marked fields" in text_of(answer)


@pytest.mark.parametrize("sample", ["{", "<xml/>", "x" * 200_000, "[]", "a=1&b=2", "\x00", "[" * 5000])
def test_whatever_is_pasted_is_answered(services, sample):
    assert tried(services, sample=sample)


def test_a_sample_that_is_too_long_is_not_read(services):
    long = json.dumps({"customer": "c", "phone": PHONE, "at": AT, "note": "x" * studio.LONGEST_SAMPLE})
    told = tried(services, sample=long)
    assert "at most 100,000 characters" in told
    assert PHONE not in told


@pytest.mark.parametrize("route", ["new", "99", "-1", "x", "0", ""])
def test_whatever_route_is_named_is_answered(services, route):
    assert tried(services, route=route)


def test_an_unknown_source_is_not_found(services):
    assert Pages(services).post("/studio/try", FORM | {"source": "nowhere"}).status_code == 404
    assert Pages(services).post("/studio/run", FORM | {"source": "nowhere"}).status_code == 404
    assert Pages(services).get("/studio?source=nowhere").status_code == 200


def test_trying_writes_nothing_and_sends_nothing(services):
    HookClient(services).form()
    pages = Pages(services)
    pages.get("/studio?source=forms")
    before = keys_of(services)
    tried(services, campaign_id="777")
    Pages(services).post("/studio/run", FORM | {"campaign_id": "777"})
    assert keys_of(services) == before


def test_a_stored_event_is_opened_by_an_operator_and_that_is_audited_once(services):
    told = HookClient(services).post("forms", json.loads(SAMPLE)).json
    pages = Pages(services, "operator", "ana")
    address = f"/studio?source=forms&delivery={told['delivery']}&event=1"
    page = pages.get(address)
    assert PHONE in page.text
    pages.get(address)
    (entry,), _ = services.audit.page()
    assert (entry.who, entry.what, entry.about) == ("ana", "open event in the studio", (told["delivery"],))


def test_a_viewer_sees_no_stored_event_whatever_is_asked(services):
    told = HookClient(services).post("forms", json.loads(SAMPLE)).json
    stored = f"{told['delivery']}.1"
    page = Pages(services, "viewer").get(f"/studio?source=forms&stored={stored}")
    assert page.status_code == 200
    assert PHONE not in page.text
    assert told["delivery"] not in text_of(page).replace(stored, "")
    said = tried(services, "viewer", stored=stored, sample="", campaign_id="{{ event.phone }}")
    assert "Only an operator" in said
    assert PHONE not in said
    assert "would be queued" in tried(services, "viewer"), "what they paste themselves they may try"
    assert Pages(services, "viewer").post("/studio/run", FORM).status_code == 403


def test_a_parked_event_is_tried_until_it_maps(services):
    HookClient(services).post("forms", {"customer": "c1", "telephone": PHONE, "at": AT})
    parked = parked_events(services)[0]["id"]
    page = Pages(services).get(f"/studio?source=forms&parked={parked}")
    assert "would be parked" in text_of(page)
    mended = tried(services, stored=parked, sample="", recall_telephone="{{ event.telephone }}")
    assert "would be queued" in mended
    assert PHONE in mended


@pytest.mark.parametrize("stored", ["pk_nowhere", "dl_0000000000000000.1", "dl_x", "x.y", "pk_"])
def test_a_stored_event_that_is_gone_says_so(services, stored):
    assert "no longer kept" in text_of(Pages(services).get(f"/studio?source=forms&stored={stored}"))


def test_an_event_of_another_source_is_not_opened(services):
    told = HookClient(services).post("hubspot", [hubspot_event(5, AT)]).json
    assert "no longer kept" in text_of(
        Pages(services).get(f"/studio?source=forms&delivery={told['delivery']}")
    )


def test_a_run_tells_what_would_change_for_what_came(services):
    for number in range(3):
        HookClient(services).post("forms", {"customer": f"c{number}", "phone": PHONE, "at": AT})
    HookClient(services).post("forms", {"customer": "c9", "phone": PHONE, "at": "02/06/2030 10:00"})
    changed = FORM | {
        "recall_date": '{{ event.at | date("%d/%m/%Y %H:%M") if "/" in event.at else event.at }}'
    }
    told = text_of(Pages(services, "operator", "ana").post("/studio/run", changed, htmx=True))
    assert "4 events looked at" in told
    assert "newly mapped: 1" in told
    assert "the same: 3" in told
    assert "+ recall_telephone" in told or "+ recall" in told
    assert services.audit.page()[0][0].what == "try a route on what came"


def test_a_run_is_bounded_in_events_and_in_time(services, monkeypatch):
    for number in range(6):
        HookClient(services).post("forms", {"customer": f"c{number}", "phone": PHONE, "at": AT})
    monkeypatch.setattr(studio, "MOST_TRIED", 4)
    assert "4 events looked at" in text_of(Pages(services).post("/studio/run", FORM, htmx=True))
    HookClient(services).post("hubspot", [hubspot_event(number, AT) for number in range(9)])
    of_hubspot = FORM | {"source": "hubspot", "route": "0", "name": "callback date on a contact"}
    assert "4 events looked at" in text_of(Pages(services).post("/studio/run", of_hubspot, htmx=True))
    monkeypatch.setattr(studio, "RUN_SECONDS", -1)
    assert "No event of this source" in text_of(Pages(services).post("/studio/run", FORM, htmx=True))


def test_hostile_text_in_every_field_is_shown_harmlessly(services):
    hostile = "<script>alert(1)</script>\u202e\x07{{ event.phone }}"
    fields = {name: hostile for name in FORM if name not in {"source", "route", "account", "action"}}
    for role in ("viewer", "operator"):
        answer = Pages(services, role).post("/studio/try", FORM | fields, htmx=True)
        assert answer.status_code == 200
        assert "<script>alert" not in answer.text


def test_a_dashboard_without_sources_says_what_to_do(tmp_path, store):
    from support import two_accounts

    services = make_services(tmp_path, store, two_accounts())
    assert "Add [sources.NAME]" in text_of(Pages(services).get("/studio"))


def test_a_contact_may_stand_in_for_the_lookup(tmp_path, store):
    from support import SOURCES_AND_ROUTES, two_accounts

    lookup = (
        '\n[sources.hubspot.lookup]\ntoken = "pat-0123456789"\nproperties = ["phone"]\n[sources.salesforce]'
    )
    text = SOURCES_AND_ROUTES.replace("[sources.salesforce]", lookup.strip() and lookup, 1)
    services = make_services(tmp_path, store, two_accounts() + text)
    sent = {
        "source": "hubspot", "route": "0", "name": "callback date on a contact", "account": "bogota",
        "when": "", "action": "recall", "campaign_id": "10", "customer_id": "{{ event.objectId }}",
        "recall_telephone": "{{ contact.properties.phone }}", "recall_date": "{{ event.propertyValue }}",
        "sample": json.dumps([hubspot_event(7, AT)]),
    }  # fmt: skip
    assert "would wait for a lookup" in text_of(Pages(services).post("/studio/try", sent, htmx=True))
    sent["contact"] = json.dumps({"id": "7", "properties": {"phone": PHONE}})
    assert "would be queued" in text_of(Pages(services).post("/studio/try", sent, htmx=True))


def test_a_parked_event_is_opened_with_its_own_route(tmp_path, store):
    text = two_accounts() + SOURCES_AND_ROUTES
    before = '[[routes]]\nname = "form"'
    other = (
        before.replace("form", "other form")
        + """
source = "forms"
account = "lima"
when = "event.other"
campaign_id = "9"
customer_id = "1"
recall_telephone = "3"
recall_date = "x"

"""
    )
    services = make_services(tmp_path, store, text.replace(before, other + before))
    services.binding.bind()
    HookClient(services).post("forms", {"customer": "1", "phone": "no number", "at": "2030-01-01T10:00:00Z"})
    (parked,) = parked_events(services)
    assert parked["route"] == "form"
    for name in ("parked", "stored"):
        page = Pages(services).get(f"/studio?source=forms&{name}={parked['id']}").text
        assert re.search(r"<option value=\"\d+\" selected>form</option>", page)
    chosen = Pages(services).get(f"/studio?source=forms&route=new&parked={parked['id']}").text
    assert re.search(r'<option value="new" selected>', chosen)
