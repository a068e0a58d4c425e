"""The search for everything in a real browser: by keys alone, on a phone, and without a trace in any address."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from browser.chromium import PHONE

RESULTS = re.compile(r"/search/[\w-]{16}$")


def focused(guest):
    return guest.page.evaluate("document.activeElement.textContent.trim()")


@pytest.mark.smoke
def test_keys_alone_lead_from_any_page_to_a_recall(someone, system):
    recalls = [system.ask("found-by-keys", campaign=campaign) for campaign in ("10", "20")]
    guest = someone("vera")
    guest.go("/calendar")
    guest.page.keyboard.press("?")
    expect(guest.page.locator("#keys")).to_be_visible()
    guest.page.keyboard.press("Escape")
    guest.page.keyboard.press("/")
    guest.page.keyboard.type("found-by-keys / ?")
    assert guest.page.locator("#find-q").input_value() == "found-by-keys / ?"
    guest.page.locator("#find-q").fill("found-by-keys")
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_url(RESULTS)
    guest.page.keyboard.press("/")
    steps = []
    for key in ("ArrowDown", "ArrowDown", "ArrowUp", "ArrowUp", "ArrowDown"):
        guest.page.keyboard.press(key)
        steps.append(focused(guest))
    first, second = reversed(recalls)
    assert steps == [first, second, first, first, second]
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_url(re.compile(f"/recalls/{second}$"))
    guest.page.go_back()
    guest.page.wait_for_url(RESULTS)
    guest.page.reload()
    expect(guest.page.locator("#found-recalls tbody tr")).to_have_count(2)


@pytest.mark.parametrize("name", ["vera", "olga"])
def test_no_request_has_the_person_in_its_address_or_referrer(someone, system, name):
    system.ask("nobody-may-see")
    guest = someone(name)
    requests = []
    guest.page.on("request", lambda request: requests.append(request))  # noqa: PLW0108  (no builtin)
    for typed in ("nobody-may-see", "+57 300 111 2233"):
        guest.page.keyboard.press("/")
        guest.page.keyboard.type(typed)
        guest.page.keyboard.press("Enter")
        guest.page.wait_for_url(RESULTS)
        guest.page.locator("#found-recalls a[href^='/recalls?search=']").click()
        guest.page.locator("#filter-state").select_option("accepted")
        guest.page.wait_for_url(re.compile("state=accepted"))
        guest.page.locator("#found tbody a").first.click()
        guest.page.wait_for_url(re.compile("/recalls/rc_"))
    assert len(requests) > 8
    for request in requests:
        headers = " ".join(f"{name} {value}" for name, value in request.all_headers().items())
        for secret in ("nobody-may-see", "1112233", "111%202233", "111+2233"):
            assert secret not in request.url
            assert secret not in headers


@pytest.mark.parametrize("locale", ["en-GB", "es-CO", "pt-BR"])
def test_a_phone_searches_without_clipping_anything(someone, system, locale):
    guest = someone("vera", size=PHONE, locale=locale)
    guest.page.locator(".find-link").click()
    guest.page.locator("#search-q").fill("nothing-of-this-name")
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_url(RESULTS)
    expect(guest.page.locator("#found .empty")).to_be_visible()
    wide = guest.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
