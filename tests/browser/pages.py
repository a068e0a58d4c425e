"""The pages that pictures are taken of, and what is in the store for them."""

from __future__ import annotations

import json

from browser.system import soon
from support import hubspot_event

# Where each page's picture is taken, and the first link of a page that lies behind it.
BEHIND = {
    "recall": ("/recalls?state=dead", "#found a[href^='/recalls/rc_']"),
    "delivery": ("/deliveries?result=recalls", "#found a[href^='/deliveries/dl_']"),
    "refused": ("/deliveries?result=refused", "#found a[href^='/deliveries/refused/']"),
    "account": ("/accounts", "#content a[href^='/accounts/']"),
    "source": ("/sources", "#content a[href^='/sources/']"),
}
SAMPLE = {"customer": "c-77", "phone": "3001112233", "at": soon(days=1)}


def fill_store(system):
    """Fill the store with what a working day brings."""
    system.fill()
    for number in range(30):
        system.ask(
            f"cliente-{number}",
            at=soon(days=number % 4, hours=1 + number % 9),
            campaign=("10", "20")[number % 2],
        )
    system.many_expired(1000)
    # A queue that is paused, so that something waits.
    system.api("POST", "/v1/accounts/lima/pause", json={"reason": "the campaign is being changed"})
    for number in range(400):
        hours = (number * 7) % 60 + number % 3
        system.ask(
            f"espera-{number}", "lima", at=soon(hours=hours), campaign=("10", "20", "35", "36")[number % 4]
        )
    # A recall that came by a webhook and was refused.
    system.refuse("8200")
    dead = system.post("hubspot", [hubspot_event(8200, soon(days=1))]).json()["recalls"][0]
    system.await_state(dead, "dead")


def pages_of(guest):
    """Give each picture's name, address, and what is done before it is taken."""
    guest.go("/")
    found = guest.page.eval_on_selector_all(
        ".side nav a", "links => links.map((a) => a.getAttribute('href'))"
    )
    named = {(path.strip("/") or "now"): (path, _nothing) for path in found}
    for name, (path, link) in BEHIND.items():
        if path.partition("?")[0] not in found:
            continue
        guest.go(path)
        first = guest.page.locator(link).first
        if first.count():
            named[name] = (first.get_attribute("href"), _nothing)
    if "studio" in named:
        named["studio"] = ("/studio?source=forms", _try_a_sample)
    return named


def _nothing(page):
    """Look only."""


def _try_a_sample(page):
    page.get_by_label("A sample of what the CRM sends").fill(json.dumps(SAMPLE, indent=2))
    page.locator("#result pre.call").wait_for()
