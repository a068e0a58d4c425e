"""Who does not get in: wrong passwords, missing proofs, limits of tries."""

from __future__ import annotations

import re

import pytest

from integration.dashboard.auth.throttle import A_MINUTE_BY_NAME_AND_ADDRESS
from integration.domain import passwords
from integration.domain.passwords import BusyError, Verifier
from integration.web.rate_limit import RateLimit
from support.dashboard_users import ANA, HASHES, Browser, users


def test_a_wrong_name_and_a_wrong_password_are_told_the_same(make, monkeypatch):
    checked = []
    real = passwords._matches
    monkeypatch.setattr(passwords, "_matches", lambda p, h: checked.append(h) or real(p, h))
    _, browser = make()
    answers = [browser.sign_in("ana", "not her password"), browser.sign_in("nobody", ANA)]
    shown = [re.sub(r'value="[^"]*"|"X-CSRFToken": "[^"]*"', "", answer.text) for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert shown[0] == shown[1]
    assert "The name or the password is wrong. Check both and try again." in shown[0]
    # Each was checked once, at the same cost.
    costs = [hash_.rsplit("$", 2)[0] for hash_ in checked]
    assert len(costs) == 2
    assert costs[0] == costs[1] == HASHES["ana"].rsplit("$", 2)[0]
    assert not browser.inside


def test_without_the_proof_nobody_is_signed_in(make):
    _, browser = make()
    browser.get("/sign-in")
    answer = browser.client.post("/sign-in", data={"name": "ana", "password": ANA})
    assert answer.status_code == 400
    assert not browser.inside


@pytest.mark.parametrize("password", ["", "\ud800", "\x00", "x" * 5000, ANA + " ", ANA[:-1]])
def test_strange_passwords_are_wrong_and_no_error(make, password):
    _, browser = make()
    assert Verifier().right(password, HASHES["ana"], ()) is False
    if password.isprintable():
        assert browser.sign_in(password=password).status_code == 401


def test_tries_are_limited_by_name_and_by_address(make, store):
    services, browser = make(rates=RateLimit(store))
    for _ in range(A_MINUTE_BY_NAME_AND_ADDRESS):
        assert browser.sign_in(password="wrong and wrong").status_code == 401
    late = browser.sign_in()
    assert late.status_code == 429
    assert int(late.headers["Retry-After"]) > 0
    assert "Too many attempts" in late.text
    assert browser.sign_in("nobody", "wrong").status_code == 401
    elsewhere = Browser(services, RateLimit(store), address="198.51.100.7")
    assert elsewhere.sign_in().status_code == 303


def test_a_name_that_there_is_not_is_limited_alike(make, store):
    _, browser = make(rates=RateLimit(store))
    statuses = [browser.sign_in("nobody").status_code for _ in range(A_MINUTE_BY_NAME_AND_ADDRESS + 1)]
    assert statuses == [401] * A_MINUTE_BY_NAME_AND_ADDRESS + [429]


def test_many_names_from_one_address_are_limited_and_leave_few_keys(make, store):
    _, browser = make(rates=RateLimit(store))
    statuses = [browser.sign_in(f"name-{number}", "x").status_code for number in range(30)]
    assert statuses.count(401) == 20
    assert set(statuses[20:]) == {429}
    assert len(store.keys("*sign-in*")) < 60
    assert not [key for key in store.keys("*") if "name-1" in key]


def test_a_forged_forwarding_does_not_make_a_new_address(make, store):
    _, browser = make(rates=RateLimit(store))
    tries = [
        browser.sign_in("nobody", "x", **{"X-Forwarded-For": f"10.0.0.{n}"}).status_code for n in range(7)
    ]
    assert tries[-1] == 429


def test_behind_a_proxy_of_ours_the_address_is_what_the_proxy_saw(make, store):
    more = "\n[dashboard]\nproxies = 1\n"
    services, browser = make(users(more))
    browser.sign_in(**{"X-Forwarded-For": "203.0.113.9, 198.51.100.4"})
    assert services.audit.page()[0][0].address == "198.51.100.4"


def test_only_a_few_passwords_are_checked_at_once():
    verifier = Verifier(at_once=1, patience_seconds=0.01)
    with verifier._place(), pytest.raises(BusyError):
        verifier.right(ANA, HASHES["ana"], ())
    assert verifier.right(ANA, HASHES["ana"], ())
