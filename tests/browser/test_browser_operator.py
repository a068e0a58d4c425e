"""The operator on shift, in a real browser: why was this customer not called back, and how is it sent again."""

from __future__ import annotations

import re

import pytest

from browser.system import soon
from integration.local.supervisor import wait_until

SAME = "window.__same"


def stays(guest):
    """Mark the page, so that a reload would show."""
    guest.page.evaluate(f"{SAME} = true")


def still(guest):
    return guest.page.evaluate(SAME) is True


def dead(system, customer, **more):
    system.refuse(customer)
    recall = system.ask(customer, **more)
    system.await_state(recall, "dead")
    return recall


def focused(guest):
    return guest.page.evaluate(
        "document.activeElement.innerText || document.activeElement.value || ''"
    ).strip()


def tab_to(guest, words, most=120):
    """Press Tab until something with these words has the focus."""
    for _ in range(most):
        guest.page.keyboard.press("Tab")
        if re.search(words, focused(guest)):
            return
    raise AssertionError(f"Tab does not lead to {words}")


@pytest.mark.smoke
def test_a_dead_recall_is_found_read_mended_retried_and_seen_accepted_without_reloading(someone, system):
    recall = dead(system, "why-not-called")
    guest = someone("olga")
    guest.go("/recalls")
    guest.page.keyboard.press("/")
    guest.page.keyboard.type("why-not-called")
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_url(re.compile(r"/search/[\w-]{16}$"))
    guest.page.keyboard.press("/")
    guest.page.keyboard.press("ArrowDown")
    assert focused(guest) == recall
    guest.page.keyboard.press("Enter")
    guest.page.locator("#stands .state.dead").wait_for()
    assert "SOME PARAMETERS ARE WRONG" in guest.text()
    stays(guest)
    system.mend()
    guest.page.get_by_role("button", name="Retry").click()
    guest.page.locator("#stands .state.accepted").wait_for(timeout=60_000)
    assert still(guest)
    system.await_state(recall, "accepted")


@pytest.mark.smoke
def test_an_account_is_paused_with_a_reason_and_resumed(someone, system):
    guest = someone("olga")
    guest.go("/accounts/lima")
    stays(guest)
    guest.page.get_by_label("Reason, shown to other users").fill("the campaign is being changed")
    guest.page.get_by_role("button", name="Pause until it is resumed").click()
    guest.page.locator("#stand .state.paused").wait_for()
    assert "the campaign is being changed" in guest.page.locator("#stand").inner_text()
    recall = system.ask("held-back", "lima")
    guest.page.locator("#stand", has_text=re.compile(r"Queued\s*1\b")).wait_for(timeout=30_000)
    assert system.recall(recall)["state"] == "queued"
    guest.page.get_by_role("button", name="Resume", exact=True).click()
    confirm = guest.page.locator("#ask[open] button[value=yes]")
    if confirm.count():
        confirm.click()
    system.await_state(recall, "accepted")
    guest.page.locator("#stand .state.idle").wait_for(timeout=30_000)
    assert still(guest)


def test_five_thousand_are_retried_by_filter_with_a_count_before_and_progress_after(someone, system):
    system.many_expired(5000)
    guest = someone("olga")
    guest.go("/recalls?state=expired&account=expiring")
    guest.page.get_by_role("button", name="Retry all found…").click()
    counted = guest.page.locator("#counted", has_text="5,000")
    counted.wait_for(timeout=60_000)
    guest.page.get_by_role("button", name=re.compile("5,000")).click()
    guest.page.wait_for_url(re.compile("/jobs/"))
    stays(guest)
    guest.page.locator("#progress", has_text=re.compile(r"Done\s*5,000")).wait_for(timeout=180_000)
    assert still(guest)
    wait_until(lambda: system.figure("expiring", "queued") == 0, 240, what="the queue", every_seconds=1)
    guest.go("/recalls?state=accepted&account=expiring")
    guest.page.locator("#found .state.accepted").first.wait_for()
    assert system.counted("expired") == 0


def test_the_main_acts_are_reached_and_done_by_keyboard_alone(someone, system):
    recall = dead(system, "by-keyboard")
    system.mend()
    guest = someone("olga")
    guest.go("/recalls?state=dead")
    guest.page.keyboard.press("Tab")
    assert focused(guest) == "Skip to the content"
    guest.page.keyboard.press("Enter")
    assert guest.page.evaluate("document.activeElement.id") == "content"
    for _ in range(120):
        guest.page.keyboard.press("Tab")
        if guest.page.evaluate("document.activeElement.getAttribute('href') || ''").endswith(recall):
            break
    guest.page.keyboard.press("Enter")
    guest.page.wait_for_url(re.compile(recall))
    guest.page.locator("#stands .state.dead").wait_for()
    tab_to(guest, "^Retry$")
    guest.page.keyboard.press("Enter")
    guest.page.locator("#stands .state.accepted").wait_for(timeout=60_000)


def test_a_question_before_an_act_is_answered_by_keyboard(someone, system):
    told = system.post("forms", {"customer": "asked-1", "phone": "3007776655", "at": soon(days=1)}).json()
    guest = someone("olga")
    guest.go(f"/deliveries/{told['delivery']}")
    tab_to(guest, "^Reveal$")
    guest.page.keyboard.press("Enter")
    guest.page.locator("#ask[open]").wait_for()
    assert focused(guest) == "No, leave it", "the harmless answer comes first"
    guest.page.keyboard.press("Escape")
    assert guest.page.locator("#ask[open]").count() == 0
    assert "3007776655" not in guest.page.content()
    tab_to(guest, "^Reveal$")
    guest.page.keyboard.press("Enter")
    tab_to(guest, "Yes, reveal", 3)
    guest.page.keyboard.press("Enter")
    guest.page.locator("#content pre.text:visible", has_text="3007776655").wait_for()


def test_an_act_on_what_changed_meanwhile_says_what_changed(someone, system):
    recall = dead(system, "changed-meanwhile", account_name="lima")
    guest = someone("olga")
    guest.go(f"/recalls/{recall}")
    system.mend()
    system.api("POST", f"/v1/recalls/{recall}/retry")
    system.await_state(recall, "accepted")
    # The page may have renewed itself; what counts is the act that was begun before.
    guest.page.evaluate(
        f"""fetch('/recalls/{recall}/retry', {{method: 'POST', headers: {{
            'X-CSRFToken': JSON.parse(document.body.getAttribute('hx-headers'))['X-CSRFToken'], 'HX-Request': 'true'}}}})
            .then((answer) => answer.text()).then((text) => {{ window.__answer = text; }})"""
    )
    wait_until(lambda: guest.page.evaluate("window.__answer"), 20, what="the answer")
    assert "accepted" in guest.page.evaluate("window.__answer")
    guest.faults_expected("409")


@pytest.mark.parametrize("path", ["/recalls/rc_00000000gone", "/deliveries/dl_0000000000000000", "/nowhere"])
def test_what_is_gone_says_so_on_a_page(someone, path):
    guest = someone("olga")
    assert guest.go(path).status == 404
    assert guest.page.locator("h1").inner_text()
    guest.faults_expected("404")


def test_a_viewer_finds_nothing_to_act_with(someone, system):
    guest = someone("vera")
    for path in (f"/recalls/{system.dead}", "/recalls?state=dead", "/accounts/lima"):
        guest.go(path)
        names = [
            button.inner_text().strip() for button in guest.page.locator("#content button:visible").all()
        ]
        acts = ("Retry", "Cancel", "Pause", "Resume", "Reveal", "Test call")
        assert not [name for name in names if name.startswith(acts)], path
        assert "3001112233" not in guest.page.content()
