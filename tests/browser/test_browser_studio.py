"""Deliveries, parked events and the mapping studio as an operator uses them in a real browser."""

from __future__ import annotations

import json
import re

import pytest

from browser.system import soon
from integration.local.supervisor import wait_until

PHONE_NUMBER = "3001112233"


def test_why_a_signature_failed_is_read_on_two_pages(someone, system):
    guest = someone("olga")
    guest.go("/deliveries?result=refused")
    guest.page.get_by_text("s before the arrival").first.wait_for()
    guest.page.locator("tr", has_text="s before the arrival").first.get_by_role("link").first.click()
    guest.page.get_by_text("synchronize the clocks").wait_for()
    guest.go("/deliveries?result=refused")
    assert (
        f"The sender signed the address {system.url.replace('http:', 'https:')}/hooks/hubspot" in guest.text()
    )


@pytest.mark.smoke
def test_a_new_delivery_appears_without_reloading(someone, system):
    guest = someone("olga")
    guest.go("/deliveries")
    guest.page.evaluate("window.__same = true")
    told = system.post("forms", {"customer": "live-1", "phone": PHONE_NUMBER, "at": soon(days=1)}).json()
    guest.page.get_by_text(told["delivery"]).wait_for(timeout=30_000)
    assert guest.page.evaluate("window.__same") is True


def test_filters_change_the_list_and_the_address_without_reloading(someone, system):
    guest = someone("olga")
    guest.go("/deliveries")
    guest.page.evaluate("window.__same = true")
    guest.page.get_by_label("Result").select_option("refused")
    guest.page.wait_for_url(re.compile("result=refused"))
    assert guest.page.evaluate("window.__same") is True
    assert "became recalls" not in guest.page.locator("#found").inner_text()


def test_the_studio_shows_each_result_as_one_types(someone, system):
    guest = someone("olga")
    guest.go("/studio?source=forms")
    sample = {"customer": "c-77", "phone": PHONE_NUMBER, "at": soon(days=1)}
    guest.page.get_by_label("A sample of what the CRM sends").fill(json.dumps(sample))
    guest.page.locator("#result pre.call").wait_for()
    call = guest.page.locator("#result pre.call").inner_text()
    assert call.startswith("PUT ")
    assert "wolkvox-token: ••••" in call
    assert PHONE_NUMBER in call
    field = guest.page.locator("textarea[name=campaign_id]")
    field.click()
    field.press("Control+A")
    field.press_sequentially("77 is no template {{ ", delay=5)
    guest.page.locator("#fault-campaign_id", has_text="to correct it").wait_for()
    field.fill("777")
    guest.page.locator("#result pre.call", has_text="777").wait_for()
    assert guest.page.locator("#fault-campaign_id").inner_text() == ""
    assert 'campaign_id = "777"' in guest.page.locator("#result .code code").inner_text()
    assert guest.page.evaluate("document.activeElement.name") == "campaign_id", "typing is not interrupted"


def test_a_parked_event_is_mended_in_the_studio_and_the_toml_maps_it_again(someone, system):
    guest = someone("olga")
    guest.go("/parked")
    group = guest.page.locator("section.card", has_text="recall_telephone").first
    assert "3 events" in group.inner_text()
    group.get_by_role("link", name="Open in the mapping studio").click()
    guest.page.locator("#result").get_by_text("would be parked").wait_for()
    guest.page.locator("textarea[name=recall_telephone]").fill("{{ event.telephone or event.phone }}")
    guest.page.locator("#result").get_by_text("would be queued").wait_for()
    guest.page.get_by_role("button", name="What would change for the latest events?").click()
    guest.page.locator("#run").get_by_text("newly mapped: 3").wait_for()
    toml = guest.page.locator("#result .code code").inner_text()
    assert "event.telephone or event.phone" in toml
    # What the page gives is pasted into the file in place of the route, as the operator would.
    text = system.config_path.read_text("utf-8")
    start = text.index('[[routes]]\nname = "form"')
    end = text.index("[users.", start)
    system.config_path.write_text(text[:start] + toml + "\n" + text[end:], "utf-8")
    guest.go("/parked")

    def mapped():
        # The file is taken up within seconds; until then nothing is settled.
        with guest.page.expect_response(lambda answer: "/parked/remap" in answer.url):
            guest.page.get_by_role("button", name="Map all again").click()
        guest.page.locator("#progress").get_by_text("done").wait_for()
        return "0 settled" not in guest.page.locator("#progress").inner_text()

    wait_until(mapped, 60, what="the mended route", every_seconds=0.5)
    assert "3 settled" in guest.page.locator("#progress").inner_text()
    assert "recall_telephone" not in guest.page.locator("#found").inner_text()


def test_a_viewer_finds_no_way_to_act_or_to_reveal(someone, system):
    guest = someone("vera")
    for path in ("/parked", "/deliveries?result=recalls", "/studio"):
        guest.go(path)
        words = guest.text()
        assert "Map again" not in words
        assert "Reveal" not in words
        assert PHONE_NUMBER not in guest.page.content()


def test_a_sample_of_a_number_is_masked_until_it_is_revealed_and_that_is_audited(someone, system):
    told = system.post("forms", {"customer": "masked-1", "phone": "3009998877", "at": soon(days=1)}).json()
    guest = someone("olga")
    guest.go(f"/deliveries/{told['delivery']}")
    assert "3009998877" not in guest.page.content()
    guest.page.get_by_role("button", name="Reveal").click()
    guest.page.get_by_role("button", name="Yes, reveal").click()
    guest.page.locator("#content pre.text:visible", has_text="3009998877").wait_for()


def test_what_was_typed_survives_a_reload_in_the_same_tab_alone(someone):
    guest = someone("olga")
    guest.go("/studio?source=forms")
    field = guest.page.locator("textarea[name=campaign_id]")
    before = field.input_value()
    field.fill("4711")
    guest.page.locator("#result .code code", has_text="4711").wait_for()
    guest.page.reload(wait_until="load")
    guest.page.locator("#result .code code", has_text="4711").wait_for()
    assert field.input_value() == "4711"
    other = guest.context.new_page()
    other.goto(guest.url + "/studio?source=forms", wait_until="load")
    assert other.locator("textarea[name=campaign_id]").input_value() == before
