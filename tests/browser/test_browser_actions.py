"""Actions in a real browser: a button keeps its meaning and its place while the state changes behind it."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from browser.system import soon
from browser.test_browser_pages import pages_of

ACTIONS = "#content form[id^='act:'] button, #content button[id^='act:'], #content [id^='bulk-']"
# What a click at a point would do: the address of the form, or of the button or link itself.
AT_POINT = """([x, y]) => {
  const at = document.elementFromPoint(x, y)?.closest("button, a, [role=button]");
  if (!at || at.disabled || at.getAttribute("aria-disabled")) return null;
  return at.getAttribute("hx-post") || at.form?.getAttribute("action") || at.getAttribute("href");
}"""


def meaning(page, locator):
    """Give the middle of a button and what a click there would do."""
    locator.scroll_into_view_if_needed()
    box = locator.bounding_box()
    point = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
    return point, page.evaluate(AT_POINT, point)


def posts_of(page):
    """Give a list that grows with the path of every POST."""
    seen = []
    page.on(
        "request",
        lambda request: seen.append(urlsplit(request.url).path) if request.method == "POST" else None,
    )
    return seen


def clicked_twice(guest, point):
    guest.page.mouse.move(*point)
    guest.page.mouse.dblclick(*point)
    guest.page.wait_for_load_state("networkidle")


@pytest.fixture
def dead_recall(system):
    def make(customer, **more):
        system.refuse(customer)
        recall = system.ask(customer, **more)
        system.await_state(recall, "dead")
        system.mend()
        return recall

    return make


def test_retry_never_becomes_cancel_while_it_has_the_focus(someone, system, dead_recall):
    recall = dead_recall("keeps-its-meaning", account_name="lima", at=soon(days=2))
    system.api("POST", "/v1/accounts/lima/pause", json={"reason": "so that it stays queued"})
    guest = someone("olga")
    guest.go(f"/recalls/{recall}")
    retry = guest.page.get_by_role("button", name="Retry")
    point, before = meaning(guest.page, retry)
    assert before == f"/recalls/{recall}/retry"
    posts = posts_of(guest.page)
    button = retry.element_handle()
    retry.click()
    guest.page.locator("#stands .state.queued").wait_for()
    assert button.evaluate("(one) => one.isConnected ? one.form.getAttribute('action') : null") in {
        None,
        before,
    }
    assert guest.page.evaluate("document.activeElement.form?.getAttribute('action')") in {None, before}
    guest.page.keyboard.press("Enter")
    clicked_twice(guest, point)
    assert system.recall(recall)["state"] == "queued"
    assert set(posts) == {before}
    assert guest.page.get_by_role("button", name="Cancel").is_enabled()
    system.api("POST", "/v1/accounts/lima/resume")
    system.await_state(recall, "accepted")


def test_a_renewed_page_moves_no_other_action_under_the_pointer(someone, system, dead_recall):
    system.api("POST", "/v1/accounts/lima/pause", json={"reason": "so that it stays queued"})
    guest = someone("olga")
    recall = system.ask("renewed-0", "lima", at=soon(days=2))
    changes = {
        f"/recalls/{recall}": (
            "#stands .state.cancelled",
            lambda: system.api("POST", f"/v1/recalls/{recall}/cancel"),
        ),
        "/accounts/lima": ("#stand .state.idle", lambda: system.api("POST", "/v1/accounts/lima/resume")),
        "/accounts/bogota": (
            "#stand .state.paused",
            lambda: system.api("POST", "/v1/accounts/bogota/pause", json={"reason": "a break"}),
        ),
    }
    for path, (sign, change) in changes.items():
        guest.go(path)
        places = [
            meaning(guest.page, button) for button in guest.page.locator(ACTIONS).all() if button.is_visible()
        ]
        assert any(action for _point, action in places), path
        guest.page.evaluate("window.scrollTo(0, 0)")
        places = [
            (point, guest.page.evaluate(AT_POINT, point)) for point, _action in places if point[1] < 800
        ]
        change()
        guest.page.locator(sign).wait_for(timeout=30_000)
        moved = {
            before: now
            for point, before in places
            if before and (now := guest.page.evaluate(AT_POINT, point)) not in {None, before}
        }
        assert not moved, (path, moved)
    system.api("POST", "/v1/accounts/bogota/resume")


def test_a_double_click_on_any_action_of_any_page_does_no_other_action(someone):
    guest = someone("ada")
    posts = posts_of(guest.page)
    for path in pages_of(guest):
        guest.go(path)
        forms = "#content form[method=post]:not(#draft):not(#go-on):not(#chosen)"
        ids = guest.page.eval_on_selector_all(forms, "all => all.map((one) => one.id)")
        assert all(id_.startswith("act:") for id_ in ids), (path, ids)
        assert len(ids) == len(set(ids)), (path, ids)
        for id_ in ids:
            guest.go(path)
            button = guest.page.locator(f"[id='{id_}'] button")
            if not button.count() or not button.is_visible() or not button.is_enabled():
                continue
            point, before = meaning(guest.page, button)
            posts.clear()
            clicked_twice(guest, point)
            assert set(posts) <= {before}, (path, id_, posts)
            if guest.page.locator("#ask[open]").count():
                # The question is open, and nothing has been sent. The default answer is no.
                assert posts == []
                guest.page.keyboard.press("Escape")
    # A form without input is refused with 422; an action whose state changed in between, with 409.
    for status in ("422", "409"):
        guest.faults_expected(status)
