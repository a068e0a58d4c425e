"""Sending a stored delivery, or one of its events, again through the current routes."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta

import pytest

from integration.domain.recall import State
from support import SOURCES_AND_ROUTES, hubspot_event, make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.hook_client import HookClient
from support.installation import Installation

NOW = datetime.now(UTC)
SOON = (NOW + timedelta(days=1)).replace(microsecond=0)
CUSTOMER = "80123456"


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store, two_accounts(more="min_lead_minutes = 0") + SOURCES_AND_ROUTES)
    services.binding.bind()
    return services


@pytest.fixture
def pages(services):
    return Pages(services)


def form(services, customer=CUSTOMER, at=SOON):
    answer = HookClient(services).form(customer, at=at.isoformat())
    assert answer.status_code == 202
    return answer.json["delivery"], answer.json["recalls"]


def body_of(answer):
    return html.unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", answer.text, re.DOTALL)[1])


def test_a_preview_stores_nothing_and_masks_the_customer(services, pages):
    delivery, _ = form(services)
    answer = pages.post(f"/deliveries/{delivery}/again/preview")
    assert "would be queued" in text_of(answer)
    assert CUSTOMER not in answer.text
    assert len(Installation(services).recalls()) == 1


def test_a_delivery_is_sent_again_as_a_new_one_that_is_no_duplicate(services, pages):
    delivery, (old,) = form(services)
    answer = pages.post(f"/deliveries/{delivery}/again")
    assert "Sent again. This is the new delivery." in text_of(answer)
    recalls = {recall.id: recall for recall in Installation(services).recalls()}
    (new,) = recalls.keys() - {old}
    assert recalls[old].state is State.SUPERSEDED
    assert recalls[new].state is State.QUEUED
    assert recalls[new].proof == "sent again by ana"
    assert recalls[new].delivery != delivery
    entries, _ = services.audit.page(limit=1)
    assert (entries[0].what, entries[0].about) == ("send again", (delivery, recalls[new].delivery))


def test_an_event_keeps_its_own_time_so_that_a_newer_request_wins(services, pages):
    delivery, _ = form(services)
    _, (newer,) = form(services, at=SOON + timedelta(days=1))
    pages.post(f"/deliveries/{delivery}/again")
    states = {recall.id: recall.state for recall in Installation(services).recalls()}
    assert states.pop(newer) is State.QUEUED
    assert set(states.values()) == {State.SUPERSEDED}
    assert len(states) == 2


def test_an_edited_body_is_previewed_and_sent(services, pages):
    delivery, _ = form(services)
    edited = body_of(pages.post(f"/deliveries/{delivery}/again/edit")).replace(CUSTOMER, "90123456")
    preview = pages.post(f"/deliveries/{delivery}/again/preview", {"body": edited})
    assert "would be queued" in text_of(preview)
    pages.post(f"/deliveries/{delivery}/again", {"body": edited})
    found = {recall.customer_id: recall.state for recall in Installation(services).recalls()}
    assert found == {CUSTOMER: State.QUEUED, "90123456": State.QUEUED}
    assert [entry.what for entry in services.audit.page()[0]] == ["send again", "reveal delivery"]


@pytest.mark.parametrize("body", ["", "{", "[1"])
def test_a_body_that_cannot_be_read_is_not_sent(services, pages, body):
    delivery, _ = form(services)
    for act in ("/preview", ""):
        answer = pages.post(f"/deliveries/{delivery}/again{act}", {"body": body})
        assert "The body cannot be read:" in text_of(answer)
        assert 'disabled title="There is no event to send."' in answer.text
    assert len(Installation(services).recalls()) == 1


def test_one_event_of_several_is_sent_again(services, pages):
    events = [hubspot_event(customer, SOON.isoformat()) for customer in ("8001", "8002")]
    delivery = HookClient(services).post("hubspot", events).json["delivery"]
    pages.post(f"/deliveries/{delivery}/again", {"event": "2"})
    customers = [recall.customer_id for recall in Installation(services).recalls()]
    assert sorted(customers) == ["8001", "8002", "8002"]


def test_an_event_that_still_cannot_be_mapped_is_parked_with_todays_reason(services, pages):
    delivery = HookClient(services).form(CUSTOMER, phone="none").json["delivery"]
    preview = pages.post(f"/deliveries/{delivery}/again/preview")
    assert "would be parked" in text_of(preview)
    assert "recall_telephone" in preview.text
    pages.post(f"/deliveries/{delivery}/again")
    assert services.parked.records.count() == 2


def test_a_viewer_sends_nothing_again(services):
    delivery, _ = form(services)
    viewer = Pages(services, "viewer")
    assert "/again" not in viewer.get(f"/deliveries/{delivery}").text
    for act in ("/preview", "/edit", ""):
        assert viewer.post(f"/deliveries/{delivery}/again{act}").status_code == 403


def kept_bodies(services):
    page = services.delivery_log.page(list(services.config.sources), limit=10)
    return [kept.body for kept in services.delivery_log.many([each.delivery for each in page.items])]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_an_edit_changes_no_byte_but_those_of_the_operator(services, pages, line_end):
    number = "12345678901234567890123"
    lines = ["{", f'"customer": "{CUSTOMER}", "phone": "3001112233",', f'"at": "{SOON.isoformat()}",']
    body = line_end.join([*lines, f'"n": {number}, "name": "Zoé"', "}"]).encode()
    delivery = HookClient(services).post("forms", body).json["delivery"]
    shown = body_of(pages.post(f"/deliveries/{delivery}/again/edit"))
    as_sent = shown.replace("\r\n", "\n").replace("\n", "\r\n")
    pages.post(f"/deliveries/{delivery}/again", {"body": as_sent})
    assert kept_bodies(services) == [body, body]


@pytest.mark.parametrize("name", ["a\u200db", "a\u2028b", "x" * 50_000])
def test_a_body_that_an_edit_could_change_is_not_edited(services, pages, name):
    body = (
        f'{{"customer": "8", "phone": "3001112233", "at": "{SOON.isoformat()}", "name": "{name}"}}'.encode()
    )
    answer = HookClient(services).post("forms", body)
    path = f"/deliveries/{answer.json['delivery']}/again"
    edit = pages.post(f"{path}/edit")
    assert "<textarea" not in edit.text
    assert re.search("too long to be edited here|invisible characters", text_of(edit))
    assert services.audit.page()[0] == []
    assert pages.post(path, {"body": "{}"}).status_code == 400
    pages.post(path)
    assert kept_bodies(services).count(body) == 2


@pytest.mark.parametrize("event", ["0", "3", "-1", "0000001", "9" * 5000, "x"])
def test_an_event_that_does_not_exist_sends_nothing(services, pages, event):
    events = [hubspot_event(customer, SOON.isoformat()) for customer in ("8001", "8002")]
    delivery = HookClient(services).post("hubspot", events).json["delivery"]
    for act in ("/preview", ""):
        assert pages.post(f"/deliveries/{delivery}/again{act}", {"event": event}).status_code == 400
    assert len(Installation(services).recalls()) == 2


def test_the_same_form_sent_twice_is_one_new_delivery(services, pages):
    delivery, _ = form(services)
    preview = pages.post(f"/deliveries/{delivery}/again/preview")
    once = re.search(r'name="once" value="(\w+)"', preview.text)[1]
    for _copy in range(2):
        answer = pages.post(f"/deliveries/{delivery}/again", {"once": once})
        assert "Sent again. This is the new delivery." in text_of(answer)
    assert len(Installation(services).recalls()) == 2
