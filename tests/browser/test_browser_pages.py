"""Every page in a real browser: no accessibility fault, no forbidden script, no foreign text that acts."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from browser.chromium import DESKTOP, PHONE
from browser.system import HOSTILE, PASSWORD

# Further pages that lie behind those of the navigation: the first link of this kind on that page.
BEHIND = {
    "/recalls": "#found a[href^='/recalls/rc_']",
    "/deliveries": "#found a[href^='/deliveries/dl_']",
    "/deliveries?result=refused": "#found a[href^='/deliveries/refused/']",
    "/accounts": "#content a[href^='/accounts/']",
    "/sources": "#content a[href^='/sources/']",
    "/parked": "#found a[href^='/studio?']",
}

# Pages that no first link leads to.
ASIDE = (
    "/recalls/bulk?kind=retry&state=dead",
    "/jobs",
    "/recalls?campaign=none-of-this-name",
    "/search",
    "/studio?source=forms&route=new",
)


def pages_of(guest):
    """Give the address of every page that the person finds."""
    guest.go("/")
    found = guest.page.eval_on_selector_all(
        ".side nav a", "links => links.map((a) => a.getAttribute('href'))"
    )
    for path, link in BEHIND.items():
        if path.partition("?")[0] not in found:
            continue
        guest.go(path)
        first = guest.page.locator(link).first
        if first.count():
            found.append(first.get_attribute("href"))
    return [*dict.fromkeys(found), *ASIDE]


def serious(page):
    results = Axe().run(page)
    return [
        f"{one['impact']}: {one['id']}: {node['html'][:200]} {node.get('failureSummary', '')[:300]}"
        for one in results.response["violations"]
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"][:3]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_no_page_has_a_serious_accessibility_fault(someone, system, scheme, size):
    guest = someone("ada", size=size, scheme=scheme)
    paths = pages_of(guest)
    assert {"/", "/deliveries", "/parked", "/studio"} <= set(paths)
    faults = {}
    for path in paths:
        assert guest.go(path).status == 200, path
        guest.page.evaluate(
            "document.querySelectorAll('#content details').forEach((one) => { one.open = true; })"
        )
        if found := serious(guest.page):
            faults[path] = found
    assert not faults, faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_sign_in_page_has_no_serious_accessibility_fault(browser, system, scheme):
    from browser.chromium import visit

    guest = visit(browser, system.url, scheme=scheme, size=PHONE)
    guest.go("/sign-in")
    assert serious(guest.page) == []
    assert guest.faults() == []
    guest.context.close()


@pytest.mark.parametrize(
    ("locale", "word"), [("es-CO", "Calendario"), ("pt-BR", "Calendário"), ("en-GB", "Calendar")]
)
def test_every_page_is_in_the_browsers_language(someone, locale, word):
    guest = someone("ada", locale=locale)
    for path in pages_of(guest):
        guest.go(path)
        language = {"pt-BR": "pt-BR"}.get(locale, locale[:2])
        assert guest.page.locator("html").get_attribute("lang") == language, path
    assert guest.page.locator(".side nav").inner_text().split("\n").count(word) == 1


@pytest.mark.parametrize(
    ("tag", "parked", "accounts"), [("es", "Por corregir", "Cuentas"), ("pt-BR", "A corrigir", "Contas")]
)
def test_the_switch_changes_the_language_and_stays(someone, tag, parked, accounts):
    guest = someone("olga")
    guest.go("/parked")
    guest.page.locator(f".side a[hreflang={tag}]").click()
    guest.page.wait_for_load_state("networkidle")
    assert guest.page.locator("h1").inner_text() == parked
    guest.go("/accounts")
    assert guest.page.locator("h1").inner_text() == accounts


def test_light_and_dark_is_switched_and_stays(someone):
    guest = someone("olga")
    root = guest.page.locator("html")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    light = guest.page.evaluate(background)
    guest.page.locator(".side [data-theme-switch]").click()
    assert root.get_attribute("data-theme") == "dark"
    guest.go("/parked")
    assert root.get_attribute("data-theme") == "dark"
    assert guest.page.evaluate(background) != light


def test_hostile_text_runs_nothing_anywhere(someone, system):
    guest = someone("ada")
    guest.page.evaluate("window.__ran = 0")
    for path in pages_of(guest):
        guest.go(path)
        assert (
            guest.page.evaluate("document.querySelectorAll('#content img, #content script').length") == 0
        ), path
    guest.go("/deliveries?source=forms&result=parked")
    addresses = [
        link.get_attribute("href") for link in guest.page.locator("#found a[href^='/deliveries/dl_']").all()
    ]
    for address in addresses[:4]:
        guest.go(address)
        guest.page.get_by_role("button", name="Reveal").click()
        guest.page.get_by_role("button", name="Yes, reveal").click()
        guest.page.locator("#content h2", has_text="Body").wait_for()
        assert guest.page.evaluate("document.querySelectorAll('#content img, #content script').length") == 0
        shown = guest.text()
        if "<script>" in shown:
            break
    else:
        raise AssertionError("the hostile delivery was not found")
    assert "⟨U+202E⟩" in shown
    assert HOSTILE[:27] in shown


def test_a_hostile_customer_is_revealed_as_text_and_nothing_else(someone, system):
    guest = someone("olga")
    guest.go("/deliveries?source=forms&result=recalls")
    guest.page.locator("#found a[href^='/deliveries/dl_']").first.click()
    guest.page.locator("#content a[href^='/recalls/rc_']").first.click()
    guest.page.locator("#stands").wait_for()
    customer = guest.page.locator(".pairs > div", has_text="Customer").first
    customer.get_by_role("button", name="Reveal").click()
    shown = customer.locator(".revealed")
    shown.wait_for()
    assert "<script>alert('x')</script>" in shown.inner_text()
    assert guest.page.evaluate("document.querySelectorAll('#content img, #content script').length") == 0
    for details in guest.page.locator("#content details").all():
        details.evaluate("(one) => { one.open = true; }")
    buttons = guest.page.locator(".hidden-block button")
    while left := buttons.count():
        buttons.first.click()
        expect(buttons).to_have_count(left - 1)
    assert guest.page.evaluate("document.querySelectorAll('#content img, #content script').length") == 0


def test_no_page_is_wider_than_a_phone(someone):
    guest = someone("ada", size=PHONE)
    wide = {}
    for path in pages_of(guest):
        guest.go(path)
        width = guest.page.evaluate("document.documentElement.scrollWidth")
        if width > PHONE["width"]:
            wide[path] = width
    assert not wide, wide


def test_a_wrong_password_opens_nothing(browser, system):
    from browser.chromium import visit

    guest = visit(browser, system.url)
    guest.sign_in("olga", PASSWORD + "x")
    assert "/sign-in" in guest.page.url
    assert guest.go("/deliveries").url.endswith("/sign-in?next=/deliveries") or "sign-in" in guest.page.url
    guest.context.close()
