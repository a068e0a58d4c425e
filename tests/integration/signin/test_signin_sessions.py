"""How long a session lasts, and what the audit log says of signing in."""

from __future__ import annotations

import json
import re
import time
from datetime import timedelta

import pytest

from integration.dashboard.auth.access import user_fingerprint
from integration.dashboard.auth.throttle import NOTED_A_MINUTE
from integration.services.configuration import load_config
from integration.web.rate_limit import RateLimit
from support import NoRates, make_services, write_config
from support.dashboard_users import CHEAP, HASHES, LUIS, Browser, session_key, users


def test_work_begins_the_idle_time_anew_and_a_page_that_renews_itself_does_not(make, store):
    _, browser = make()
    browser.sign_in()
    key = session_key(store)
    store.pexpire(key, 60_000)
    browser.get("/accounts", **{"X-Poll": "1"})
    assert store.pttl(key) <= 60_000
    browser.get("/accounts")
    assert store.pttl(key) > 119 * 60_000
    store.pexpire(key, 1)
    time.sleep(0.05)
    assert not browser.inside


def test_a_session_ends_when_it_is_too_old_however_much_was_done_in_it(make, store):
    _, browser = make()
    browser.sign_in()
    key = session_key(store)
    kept = json.loads(store.get(key))
    kept["began"] -= round(timedelta(hours=12, seconds=1).total_seconds() * 1000)
    store.set(key, json.dumps(kept), px=60_000)
    assert not browser.inside
    assert not store.exists(key)


@pytest.mark.parametrize(
    "changed",
    [users(luis="admin"), users(ana="admin", luis="admin"), users().replace(HASHES["ana"], CHEAP.hash(LUIS))],
    ids=["removed", "another role", "another password"],
)
def test_a_changed_user_is_out_at_once_and_others_stay(make, tmp_path, store, changed):
    _, ana = make()
    _, luis = make()
    ana.sign_in()
    luis.sign_in("luis", LUIS)
    services = make_services(tmp_path, store, changed)
    for browser, inside in ((ana, False), (luis, True)):
        after = Browser(services, NoRates())
        after.client.set_cookie("ringback", browser.client.get_cookie("ringback").value)
        assert after.inside is inside


def test_a_user_of_one_role_has_another_mark_than_of_another(tmp_path):
    configs = [
        load_config(write_config(tmp_path, users(ana=role)), {"TOKEN_BOGOTA": "a", "TOKEN_LIMA": "b"})
        for role in ("viewer", "admin")
    ]
    assert len({user_fingerprint(config.users["ana"]) for config in configs}) == 2


# --- what is written down -----------------------------------------------------------------------


def test_signing_in_failing_and_signing_out_are_in_the_audit_log(make):
    services, browser = make()
    browser.sign_in("ana", "wrong wrong wrong")
    browser.sign_in("my password by mistake", "x")
    browser.sign_in()
    proof = re.search(r'"X-CSRFToken": "([^"]+)"', browser.get("/accounts").text)[1]
    browser.client.post("/sign-out", headers={"X-CSRFToken": proof})
    entries = [(entry.who, entry.what) for entry in reversed(services.audit.page()[0])]
    assert entries == [
        ("ana", "failed sign-in"), ("unknown", "failed sign-in"), ("ana", "sign-in"), ("ana", "sign-out"),
    ]  # fmt: skip
    assert services.audit.page()[0][-1].address == "192.0.2.1"


def test_a_flood_of_failed_tries_does_not_flood_the_audit_log(make, store):
    rates = RateLimit(store)
    services, _ = make()
    for number in range(NOTED_A_MINUTE + 5):
        browser = Browser(services, rates, address=f"198.51.{number}.7")
        assert browser.sign_in(f"nobody-{number}", "x").status_code == 401
    assert len(services.audit.page(limit=100)[0]) == NOTED_A_MINUTE
