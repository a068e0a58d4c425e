"""The tasks of an operator's day. Each begins on the start page and takes at most three clicks, or one search."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import httpx
import pytest
from playwright.sync_api import expect

from browser.system import soon
from support import ELEVEN_SPELLINGS

MOST_CLICKS = 3
RESULTS = re.compile(r"/search/[\w-]{16}$")


class Operator:
    """An operator on the start page, whose clicks and searches are counted. Typing is free."""

    def __init__(self, guest):
        self.page = guest.page
        self.clicks = self.searches = 0
        guest.go("/")

    def click(self, place):
        self.clicks += 1
        place.click()

    def choose(self, name, option):
        """Choose an option of a list; counts as one click."""
        self.clicks += 1
        self.page.locator(f"select[name={name}]").select_option(option)

    def search(self, text):
        self.searches += 1
        self.page.keyboard.press("/")
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url(RESULTS)

    def reads(self, words, where="#content"):
        """Wait until the words are on the page."""
        expect(self.page.locator(where)).to_contain_text(words, timeout=30_000)


@pytest.fixture
def operator(someone):
    """An operator. The test fails if the task took more steps than allowed."""
    made = Operator(someone("olga"))
    yield made
    assert made.searches <= 1
    assert made.clicks <= (1 if made.searches else MOST_CLICKS)


def dead(system, customer):
    system.refuse(customer)
    recall = system.ask(customer)
    system.await_state(recall, "dead")
    system.mend()
    return recall


def test_why_was_this_customer_not_called(operator, system):
    recall = dead(system, "task-why")
    operator.search("task-why")
    operator.click(operator.page.locator(f"#found-recalls a[href='/recalls/{recall}']"))
    operator.reads("SOME PARAMETERS ARE WRONG")


def test_which_token_is_stuck(operator, system):
    rule = {"action": "answer", "token": "token-of-lima-0123", "status": 401, "code": 401, "msg": "TOKEN"}
    assert httpx.post(f"{system.sandbox.url}/sandbox/rules", json=rule, trust_env=False).status_code == 201
    try:
        recall = system.ask("task-stuck", "lima")
        problems = operator.page.get_by_role("table", name="Requires attention")
        row = problems.get_by_role("row").filter(has=operator.page.get_by_role("link", name="lima"))
        expect(row).to_contain_text("stopped", timeout=60_000)
        operator.click(row.get_by_role("link", name="lima"))
        expect(operator.page.locator("#stand .state.stopped")).to_be_visible()
    finally:
        system.mend()
        system.api("POST", "/v1/accounts/lima/resume")
    system.await_state(recall, "accepted")


def test_what_was_refused(operator):
    operator.click(operator.page.locator(".side nav a[href='/deliveries']"))
    operator.choose("result", "refused")
    operator.click(operator.page.locator("#found a[href^='/deliveries/refused/']").first)
    operator.reads("What to change")


def test_the_dead_are_retried(operator, system):
    recall = dead(system, "task-retry")
    tile = operator.page.locator("#now a[href='/recalls?state=dead']")
    operator.click(tile.first)
    operator.click(operator.page.get_by_role("button", name="Retry all found…"))
    operator.click(operator.page.get_by_role("button", name=re.compile("Retry many")))
    system.await_state(recall, "accepted")


def test_an_account_is_paused_for_half_an_hour(operator, system):
    operator.click(operator.page.locator(".side nav a[href='/accounts']"))
    operator.click(operator.page.locator("#content").get_by_role("link", name="lima", exact=True))
    operator.click(operator.page.get_by_role("button", name="Pause for 30 minutes"))
    operator.reads("Paused by olga", "#stand")
    account = system.api("GET", "/v1/accounts/lima").json()
    system.api("POST", "/v1/accounts/lima/resume")
    left = datetime.fromisoformat(account["until"]) - datetime.now(UTC)
    assert timedelta(minutes=20) < left <= timedelta(minutes=30)


@pytest.mark.parametrize("spelling", ELEVEN_SPELLINGS)
def test_a_customer_is_found_by_telephone_in_any_spelling(operator, system, spelling):
    recall = system.ask(f"task-{ELEVEN_SPELLINGS.index(spelling)}")
    operator.search(spelling)
    expect(operator.page.locator(f"#found-recalls a[href='/recalls/{recall}']")).to_be_visible()


def test_what_is_planned_tomorrow_at_ten(operator, system):
    tomorrow = datetime.now(ZoneInfo("America/Bogota")) + timedelta(days=1)
    ten = tomorrow.replace(hour=10, minute=0, second=0, microsecond=0)
    recall = system.ask("task-planned", at=ten.isoformat())
    system.await_state(recall, "accepted")
    operator.click(operator.page.locator(".side nav a[href='/calendar']"))
    week = operator.page.get_by_role("table", name="Callbacks by day and hour")
    row = week.get_by_role("row").filter(has=operator.page.locator(f"a[href*='day={ten:%Y-%m-%d}']"))
    operator.click(row.locator("td").nth(ten.hour + 1).locator("a.accepted"))
    expect(operator.page.locator(f"#found a[href='/recalls/{recall}']").first).to_be_visible()


def test_a_route_is_corrected(operator, system):
    system.post("forms", {"customer": "task-route", "telephone": "3001112233", "at": soon(days=1)})
    operator.click(operator.page.locator("#now dl a[href='/parked']"))
    group = operator.page.locator("section.card", has_text="recall_telephone").first
    operator.click(group.get_by_role("link", name="Open in the mapping studio"))
    field = operator.page.locator("textarea[name=recall_telephone]")
    operator.click(field)
    field.fill("{{ event.telephone or event.phone }}")
    operator.page.locator("#result").get_by_text("would be queued").wait_for()
    operator.reads("event.telephone or event.phone", "#result .code")
