"""Signing in to the dashboard and out of it, and the cookie."""

from __future__ import annotations

import re

import pytest

from integration.dashboard.addresses import local_address
from support import NoRates
from support.dashboard_users import LUIS, Browser, session_key


def test_somebody_who_is_not_signed_in_is_led_to_the_door_and_back(make):
    _, browser = make()
    away = browser.get("/accounts?state=paused")
    assert (away.status_code, away.headers["Location"]) == (303, "/sign-in?next=/accounts?state%3Dpaused")
    assert 'value="/accounts?state=paused"' in browser.get(away.headers["Location"]).text
    back = browser.sign_in(wanted="/accounts?state=paused")
    assert (back.status_code, back.headers["Location"]) == (303, "/accounts?state=paused")
    assert browser.inside
    assert browser.get("/sign-in?next=/accounts").headers["Location"] == "/accounts"


def test_signing_out_ends_every_copy_of_the_cookie(make):
    services, browser = make()
    browser.sign_in()
    copy = Browser(services, NoRates())
    copy.client.set_cookie("ringback", browser.client.get_cookie("ringback").value)
    assert copy.inside
    # A second look at the door leads inside, so the proof comes from a page.
    proof = re.search(r'"X-CSRFToken": "([^"]+)"', browser.get("/accounts").text)[1]
    assert browser.client.post("/sign-out", headers={"X-CSRFToken": proof}).status_code == 303
    assert not browser.inside
    assert not copy.inside


def test_the_cookie_from_before_signing_in_opens_nothing(make):
    services, browser = make()
    browser.get("/sign-in")
    before = browser.client.get_cookie("ringback").value
    browser.sign_in()
    other = Browser(services, NoRates())
    other.client.set_cookie("ringback", before)
    assert not other.inside


def test_who_signs_in_as_somebody_else_leaves_the_session_before(make):
    services, browser = make()
    browser.sign_in()
    copy = Browser(services, NoRates())
    copy.client.set_cookie("ringback", browser.client.get_cookie("ringback").value)
    proof = re.search(r'"X-CSRFToken": "([^"]+)"', browser.get("/accounts").text)[1]
    luis = {"name": "luis", "password": LUIS}
    assert browser.client.post("/sign-in", data=luis, headers={"X-CSRFToken": proof}).status_code == 303
    assert "luis" in browser.get("/accounts").text
    assert not copy.inside


def test_htmx_is_led_to_the_door_with_the_whole_page(make):
    _, browser = make()
    answer = browser.get("/accounts", **{"HX-Request": "true", "X-Poll": "1"})
    assert (answer.status_code, answer.headers["HX-Redirect"]) == (204, "/sign-in?next=/")
    page = {"HX-Request": "true", "HX-Current-URL": "https://ringback.example.com/accounts?state=idle"}
    assert browser.get("/accounts", **page).headers["HX-Redirect"] == "/sign-in?next=/accounts?state%3Didle"
    page["HX-Current-URL"] = "https://ringback.example.com//evil.example"
    assert browser.get("/accounts", **page).headers["HX-Redirect"] == "/sign-in?next=/"


def test_the_cookie_is_for_this_site_alone_and_no_script_reads_it(make):
    _, browser = make()
    plain = browser.sign_in().headers["Set-Cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=Lax" in plain
    assert "Secure" not in plain
    _, browser = make()
    secure = browser.sign_in(**{"X-Forwarded-Proto": "https"}).headers["Set-Cookie"]
    assert "Secure" in secure


def test_the_store_holds_no_token(make, store):
    _, browser = make()
    browser.sign_in()
    token = browser.app.dashboard.session_interface.get_signing_serializer(browser.app.dashboard).loads(
        browser.client.get_cookie("ringback").value
    )["session"]
    assert token not in session_key(store)
    assert token not in store.get(session_key(store))


@pytest.mark.parametrize(
    "wanted",
    [
        "https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)",
        "/\tx", "/\n/evil.example", "accounts", "", None, "/v1/me", "/hooks/x", "/a\\b", "http:evil.example",
    ],
)  # fmt: skip
def test_nobody_is_led_away_from_here(wanted):
    assert local_address(wanted) == "/"


def test_a_page_of_ours_with_its_filters_is_a_good_way_back():
    assert local_address("/recalls?state=dead&q=a%20b") == "/recalls?state=dead&q=a%20b"
