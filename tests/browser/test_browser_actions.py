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
            # A form with several buttons, as that of a pause, does the same for all of them, with another value.
            button = guest.page.locator(f"[id='{id_}'] button").first
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


# Two buttons in one place: the first one gives way to the second when it is clicked.
ONE_BEHIND_ANOTHER = """() => {
  window.clicks = {first: 0, second: 0};
  for (const name of ["second", "first"]) {
    const button = document.createElement("button");
    button.id = `test-${name}`;
    button.style = "position: fixed; top: 300px; left: 300px; width: 200px; height: 60px; z-index: 99";
    button.addEventListener("click", () => { window.clicks[name] += 1; if (name === "first") button.remove(); });
    document.body.append(button);
  }
}"""


def test_the_second_click_of_a_double_click_reaches_no_other_button(someone):
    guest = someone("olga")
    guest.page.evaluate(ONE_BEHIND_ANOTHER)
    guest.page.mouse.dblclick(400, 330)
    assert guest.page.evaluate("window.clicks") == {"first": 1, "second": 0}
    guest.page.mouse.click(400, 330)
    assert guest.page.evaluate("window.clicks") == {"first": 1, "second": 1}


# --- an action that somebody else has just carried out ---------------------------------------------------

FORMS = "#content form.act, #content form.pause"
# Fills in what a form requires.
FILL = "(form) => form.querySelectorAll('input[required]').forEach((one) => { one.value ||= 'a test'; })"
# Sends a form as its first button does. The answer is not shown.
SEND = """async (form) => {
  const answer = await fetch(form.action, {method: "POST", body: new URLSearchParams(new FormData(form, form.querySelector("[type=submit]")))});
  return answer.status;
}"""


def go_and_unfold(guest, path):
    guest.go(path)
    guest.page.eval_on_selector_all("#content details", "all => all.forEach((one) => { one.open = true; })")


def offered(guest, path):
    """Return the ids of the forms of a page whose button can be clicked."""
    go_and_unfold(guest, path)
    return guest.page.eval_on_selector_all(
        FORMS, "all => all.filter((one) => !one.querySelector('[type=submit]').disabled).map((one) => one.id)"
    )


@pytest.fixture
def pages_of_every_state(system, dead_recall):
    """Pages with the actions of each state, by a name. Something is queued, dead, paused, parked and running."""
    system.api("POST", "/v1/accounts/bogota/resume")
    dead = dead_recall("stale-dead", at=soon(days=2))
    system.api("POST", "/v1/accounts/lima/pause", json={"reason": "so that it stays queued"})
    queued = system.ask("stale-queued", "lima", at=soon(days=2))
    yield {
        "dead recall": f"/recalls/{dead}",
        "queued recall": f"/recalls/{queued}",
        "paused account": "/accounts/lima",
        "idle account": "/accounts/bogota",
        "problems": "/attention",
        "acknowledged problems": "/attention",
        "parked events": "/parked",
        "dismissed events": "/parked/dismissed",
    }
    for name in ("lima", "bogota"):
        system.api("POST", f"/v1/accounts/{name}/resume")


# The actions that must be offered, so that none is left out because its state did not come about.
EXPECTED = (
    *("/retry", "/cancel", "/again", "/pause", "/resume", "/test"),
    *("/acknowledge", "/assign", "/snooze", "/reopen", "/parked/remap", "/parked/dismiss"),
    "/put-back",
)


def test_a_double_click_does_no_other_action_after_somebody_else_did_this_one(
    someone, system, pages_of_every_state
):
    """Another user sends the same form between the page and the click, so that its state has changed."""
    other, guest = someone("ada"), someone("olga")
    posts = posts_of(guest.page)
    tried = set()
    for name, path in pages_of_every_state.items():
        for id_ in offered(guest, path):
            form = guest.page.locator(f"form[id='{id_}']")
            go_and_unfold(guest, path)
            button = form.locator("[type=submit]").first
            if not button.count() or not button.is_visible() or not button.is_enabled():
                continue
            other.go(path)
            theirs = other.page.locator(f"form[id='{id_}']")
            point, before = meaning(guest.page, button)
            if theirs.count():
                theirs.evaluate(FILL)
                theirs.evaluate(SEND)
            form.evaluate(FILL)
            posts.clear()
            clicked_twice(guest, point)
            if guest.page.locator("#ask[open]").count():
                assert posts == [], (name, id_)
                yes = guest.page.locator("#ask button").last
                clicked_twice(guest, meaning(guest.page, yes)[0])
            assert set(posts) <= {before}, (name, id_, posts)
            assert not guest.page.locator("#ask[open]").count(), (name, id_)
            tried.add(before)
    missing = [act for act in EXPECTED if not any(address.endswith(act) for address in tried)]
    assert not missing, (missing, sorted(tried))
    # The other user's answer, and the one to an action whose state has changed.
    for visit in (other, guest):
        for status in ("409", "404", "422", "400"):
            visit.faults_expected(status)


def test_a_job_that_has_ended_is_not_stopped_and_nothing_else_is_done(someone, system):
    guest = someone("olga")
    system.many_expired(2000)
    guest.go("/recalls/bulk?kind=retry&state=expired&account=expiring")
    guest.page.locator("#content form.act [type=submit]").click()
    if guest.page.locator("#ask[open]").count():
        guest.page.locator("#ask button").last.click()
    guest.page.wait_for_url("**/jobs/jb_*")
    path = urlsplit(guest.page.url).path
    stop = guest.page.locator("#content form.act [type=submit]")
    posts = posts_of(guest.page)
    if stop.count():
        point, before = meaning(guest.page, stop)
        stop.evaluate_handle("(one) => one.form").evaluate(SEND)
        posts.clear()
        # The page of a running job asks for its progress all the time, so that its network is never idle.
        guest.page.mouse.dblclick(*point)
        if guest.page.locator("#ask[open]").count():
            guest.page.mouse.dblclick(*meaning(guest.page, guest.page.locator("#ask button").last)[0])
        assert set(posts) <= {before}
    guest.go(path)
    assert guest.page.locator("#content form.act [type=submit]").count() == 0
