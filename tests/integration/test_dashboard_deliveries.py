"""The pages of deliveries and parked events: what is shown, what is masked, what an operator may do."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from integration.dashboard.presenting.display_text import LONGEST, body, cut, visible
from integration.services.parked import ParkedService
from integration.telemetry.redaction import mask_data
from support import (
    SOURCES_AND_ROUTES,
    as_bytes,
    hubspot_event,
    make_services,
    parked_events,
    signed,
    two_accounts,
)
from support.dashboard_client import Pages, text_of
from support.hook_client import AT, HookClient

PHONE = "3001112233"
HOSTILE = "<script>alert(1)</script>\u202e\x07" + "🙂" * 3000


def post_form(services, **fields):
    answer = HookClient(services).post(
        "forms", {"customer": "cliente-4711", "phone": PHONE, "at": AT} | fields
    )
    assert answer.status_code == 202
    return answer.json


def refuse_a_stale_one(services):
    web = HookClient(services)
    data = as_bytes([hubspot_event(1, AT)])
    late = datetime.now(UTC) - timedelta(minutes=10)
    web.post(
        "hubspot",
        data,
        headers=signed(services, "hubspot", data, url="http://localhost/hooks/hubspot", now=late),
    )
    web.rejection_log.write()


def test_the_list_shows_what_came_and_what_was_refused_with_the_reason(services):
    told = post_form(services)
    refuse_a_stale_one(services)
    page = Pages(services).get("/deliveries")
    assert told["delivery"] in page.text
    assert "s before the arrival; at most 300 s are allowed." in text_of(page)


def test_filters_are_in_the_address(services):
    told = post_form(services)
    refuse_a_stale_one(services)
    pages = Pages(services)
    only_refused = pages.get("/deliveries?result=refused").text
    assert told["delivery"] not in only_refused
    assert "401" in only_refused
    assert "401" not in text_of(pages.get("/deliveries?result=recalls"))
    assert told["delivery"] not in pages.get("/deliveries?source=hubspot").text
    assert told["delivery"] not in pages.get("/deliveries?until=2020-01-01T00:00").text
    assert pages.get("/deliveries?source=nonsense&result=x&until=never").status_code == 200


@pytest.mark.parametrize("cursor", ["nonsense", "1-1.seen:x", "x-y.arrivals:forms"])
def test_a_cursor_that_is_none_is_not_an_error_of_ours(services, cursor):
    assert Pages(services).get(f"/deliveries?cursor={cursor}").status_code == 400


def test_pages_of_the_list_follow_each_other(services, monkeypatch):
    from integration.dashboard.views import deliveries

    monkeypatch.setattr(deliveries, "PAGE_SIZE", 2)
    ids = [post_form(services, customer=f"c{number}")["delivery"] for number in range(3)]
    pages = Pages(services)
    first = pages.get("/deliveries?result=recalls")
    older = re.search(r'rel="next" href="([^"]+)"', first.text)[1].replace("&amp;", "&")
    assert "result=recalls" in older
    second = pages.get(older)
    assert [one in first.text for one in ids] == [False, True, True]
    assert [one in second.text for one in ids] == [True, False, False]


def test_a_refused_delivery_says_what_to_change(services):
    refuse_a_stale_one(services)
    pages = Pages(services)
    place = re.search(r"/deliveries/refused/[^\"]+", pages.get("/deliveries").text)[0]
    told = text_of(pages.get(place))
    assert "synchronize the clocks" in told
    assert "After this correction, the delivery would have been accepted." in told
    assert "x-hubspot-signature-v3" in told
    spanish = text_of(Pages(services, language="es").get(place))
    assert "synchronize the clocks" not in spanish


@pytest.mark.parametrize("place", ["nonsense", "1-1.refused:hubspot", "1-1.refused:nowhere"])
def test_a_refused_delivery_that_is_gone_says_so(services, place):
    assert Pages(services).get(f"/deliveries/refused/{place}").status_code == 404


def test_a_delivery_shows_its_events_masked_and_where_they_went(services):
    told = post_form(services)
    page = Pages(services, "viewer").get(f"/deliveries/{told['delivery']}")
    assert f"/recalls/{told['recalls'][0]}" in page.text
    assert PHONE not in page.text
    assert "cliente-4711" not in page.text
    assert "customer" in page.text
    assert "/reveal" not in page.text


def test_a_reveal_shows_it_in_full_and_is_written_to_the_audit_log(services):
    told = post_form(services)
    address = f"/deliveries/{told['delivery']}/reveal"
    revealed = Pages(services, "operator", "ana").post(address)
    assert PHONE in revealed.text
    (entry,), _ = services.audit.page()
    assert (entry.who, entry.what, entry.about) == ("ana", "reveal delivery", (told["delivery"],))
    assert Pages(services, "viewer").post(address).status_code == 403


def test_a_delivery_that_is_no_longer_kept_says_so(services):
    assert Pages(services).get("/deliveries/dl_0000000000000000").status_code == 404


def test_hostile_text_in_every_field_is_shown_harmlessly(services):
    HookClient(services).post(
        "forms", {"customer": HOSTILE, "phone": HOSTILE, "at": HOSTILE, HOSTILE: HOSTILE}
    )
    pages = Pages(services, "admin")
    told = re.search(r"dl_[0-9a-f]{16}", pages.get("/deliveries").text)[0]
    parked = parked_events(services)[0]["id"]
    shown = [
        pages.get("/deliveries"),
        pages.get(f"/deliveries/{told}"),
        pages.post(f"/deliveries/{told}/reveal"),
        pages.get("/parked"),
        pages.post(f"/parked/{parked}/reveal"),
    ]
    for page in shown:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "\u202e" not in page.text
        assert "\x07" not in page.text
        assert len(page.text) < 400_000


def test_text_that_steers_is_made_visible():
    assert visible("a\u202eb\x00c\u200d") == "a⟨U+202E⟩b⟨U+0000⟩c⟨U+200D⟩"
    assert visible("línea\n\t¿qué? 🙂") == "línea\n\t¿qué? 🙂"
    assert visible("plain") == "plain"


@pytest.mark.parametrize("name", ["subscriptionType", "propertyName", "objectTypeId", "changeSource"])
@pytest.mark.parametrize(
    ("value", "shown"), [("contact.propertyChange", True), ("0-1", True), (PHONE, False)]
)
def test_the_type_of_an_event_is_readable_and_a_number_in_its_place_is_not(name, value, shown):
    assert (mask_data({name: value})[name] == value) is shown


@pytest.mark.parametrize(
    "question", [f"Is {PHONE} your number?", f"call {PHONE[:3]} {PHONE[3:6]} {PHONE[6:]}"]
)
def test_a_number_in_the_name_of_a_member_is_masked(question):
    assert not any(PHONE in name.replace(" ", "") for name in mask_data({question: "yes"}))


def test_mask_data_keeps_names_and_shape():
    masked = mask_data({"phone": PHONE, "tags": ["abcdef", 7], "on": True, "none": None, "": {"x": 1234567}})
    assert masked == {
        "phone": "•••• 33", "tags": ["•••• ef", "••••"], "on": True, "none": None, "": {"x": "•••• 67"},
    }  # fmt: skip


def test_what_is_too_long_for_a_page_is_cut_and_says_by_how_much():
    assert cut("x" * (LONGEST + 10)) == "x" * LONGEST + "\n… +10"
    assert cut("x" * LONGEST) == "x" * LONGEST
    assert len(body(b'["' + b"y" * (LONGEST * 10) + b'"]')) < LONGEST + 50


def test_a_body_that_is_no_json_is_shown_as_it_came():
    assert body(b"a=1&b=\xff") == "a=1&b=�"


# --- parked ----------------------------------------------------------------------------------------


def mended(tmp_path, store):
    text = SOURCES_AND_ROUTES.replace("event.phone }}", "event.telephone }}")
    return make_services(tmp_path, store, two_accounts() + text)


def park(services, count=3):
    for number in range(count):
        body = {"customer": f"cliente-{number}", "telephone": PHONE, "at": AT}
        assert HookClient(services).post("forms", body).json["parked"] == 1


def test_groups_are_shown_with_their_counts_and_a_masked_example(services):
    park(services)
    page = Pages(services, "viewer").get("/parked")
    told = text_of(page)
    assert "recall_telephone" in told
    assert "3 events" in told
    assert PHONE not in page.text
    assert "telephone" in told
    assert "Map again" not in told, "a viewer may not"


def test_remap_tells_how_many_and_what_is_left(services, tmp_path, store):
    park(services)
    HookClient(services).post("forms", {"customer": "c9", "telephone": PHONE, "at": "soon"})
    pages = Pages(mended(tmp_path, store), "operator", "ana")
    told = text_of(pages.post("/parked/remap", {"group": ""}))
    assert "4 events looked at" in told
    assert "3 settled" in told
    assert "1 still parked" in told
    assert "recall_date" in told
    (entry,), _ = services.audit.page()
    assert (entry.who, entry.what) == ("ana", "remap")


def test_remap_goes_on_step_by_step_by_itself(services, tmp_path, store, monkeypatch):
    from integration.dashboard.views import parked

    park(services, 5)
    monkeypatch.setattr(parked, "_STEP_SECONDS", 0)
    monkeypatch.setattr(ParkedService.remap_step, "__kwdefaults__", {"cursor": None, "limit": 2})
    pages = Pages(mended(tmp_path, store))
    answer = pages.post("/parked/remap", {"group": ""})
    steps = 1
    while 'hx-trigger="load' in answer.text:
        form = answer.text.split('id="go-on"')[1].split("</form>")[0]
        sent = dict(re.findall(r'name="([a-z_]+)" value="([^"]*)"', form))
        answer = pages.post("/parked/remap", sent)
        steps += 1
    assert steps >= 3
    assert "5 events looked at" in text_of(answer)
    assert "5 settled" in text_of(answer)
    assert len(services.audit.page()[0]) == 1, "one act is one entry"


@pytest.mark.parametrize(("cursor", "status"), [("0", 404), ("x.y", 404), ("9" * 20 + ".", 404), ("0.", 200)])
def test_a_step_that_nobody_was_sent_to_is_an_act_of_its_own_or_refused(services, cursor, status):
    """So nobody keeps what they do out of the audit log by pretending to go on."""
    park(services, 1)
    pages = Pages(services)
    for _ in range(2):
        assert pages.post("/parked/remap", {"group": "", "cursor": cursor}).status_code == status
    assert len(services.audit.page()[0]) == 2


def test_only_an_operator_maps_again_or_reveals(services):
    park(services, 1)
    parked = parked_events(services)[0]["id"]
    viewer = Pages(services, "viewer")
    assert viewer.post("/parked/remap").status_code == 403
    assert viewer.post(f"/parked/{parked}/reveal").status_code == 403
    revealed = Pages(services).post(f"/parked/{parked}/reveal", htmx=True)
    assert PHONE in revealed.text
    assert services.audit.page()[0][0].what == "reveal parked event"
