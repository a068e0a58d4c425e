"""Signing in by an identity provider."""

from __future__ import annotations

import subprocess
import sys

import httpx
import pytest
from joserfc.jwk import RSAKey

from integration.dashboard.auth import oidc
from support import NoRates, make_services, two_accounts
from support.alert_receivers import dripping
from support.dashboard_users import Browser
from support.oidc_stub import CLIENT_ID, CLIENT_SECRET, OidcStub


@pytest.fixture
def provider():
    with OidcStub() as stub:
        yield stub


def with_provider(stub, roles='{ callcentre = "operator", it = "admin" }'):
    return two_accounts() + (
        '\n[dashboard]\npublic_url = "http://localhost"\n'
        f'\n[oidc]\nissuer = "{stub.url}"\nclient_id = "{CLIENT_ID}"\nclient_secret = "{CLIENT_SECRET}"\n'
        f'name = "Acme"\nroles = {roles}\n'
    )


def through(browser, wanted="/accounts"):
    """Go to the provider and come back as a browser does."""
    away = browser.get(f"/sign-in/oidc?next={wanted}")
    assert away.status_code == 302, away.text
    back = httpx.get(away.headers["Location"], trust_env=False).headers["Location"]
    assert back.startswith("http://localhost/sign-in/oidc/back?")
    return back.removeprefix("http://localhost"), browser.get(back.removeprefix("http://localhost"))


def test_a_person_of_a_group_with_a_role_gets_in_and_back_to_the_page(make, provider):
    services, browser = make(with_provider(provider))
    assert "Sign in with Acme" in browser.get("/sign-in").text
    _, back = through(browser, "/accounts?state=idle")
    assert (back.status_code, back.headers["Location"]) == (303, "/accounts?state=idle")
    page = browser.get("/accounts").text
    assert "oidc:ana@example.com" in page
    assert "operator" in page
    assert [(e.who, e.what) for e in services.audit.page()[0]] == [("oidc:ana@example.com", "sign-in")]


def test_the_highest_role_of_the_groups_counts(make, provider):
    provider.claims["groups"] = ["it", "callcentre", "others", 5]
    _, browser = make(with_provider(provider))
    through(browser)
    assert "<small>admin</small>" in browser.get("/accounts").text


def test_a_person_without_a_group_that_has_a_role_stays_outside(make, provider):
    provider.claims["groups"] = ["others"]
    services, browser = make(with_provider(provider))
    _, back = through(browser)
    assert back.status_code == 403
    assert "None of your groups has a role in Ringback" in back.text
    assert not browser.inside
    assert services.audit.page()[0][0].what == "failed sign-in"


@pytest.mark.parametrize(
    "lies", [{"nonce": "another"}, {"aud": "another"}, {"exp": 1000}, {"iss": "https://evil.example"}]
)
def test_a_token_that_is_not_for_us_and_for_now_is_refused(make, provider, lies):
    provider.lies = lies
    _, browser = make(with_provider(provider))
    _, back = through(browser)
    assert back.status_code == 403
    assert not browser.inside


def test_a_token_signed_by_somebody_else_is_refused(make, provider):
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "k1"})
    _, browser = make(with_provider(provider))
    assert through(browser)[1].status_code == 403
    assert not browser.inside


def test_an_answer_that_was_not_asked_for_or_comes_twice_is_refused(make, provider):
    _, browser = make(with_provider(provider))
    assert browser.get("/sign-in/oidc/back?code=x&state=y").status_code == 403
    path, _ = through(browser)
    stranger = Browser(make(with_provider(provider))[0], NoRates())
    assert stranger.get(path).status_code == 403
    assert not stranger.inside


def test_a_provider_that_names_another_issuer_or_is_away_is_told(make, provider):
    provider.issuer_told = "https://evil.example"
    _, browser = make(with_provider(provider))
    assert browser.get("/sign-in/oidc").status_code == 502
    provider.__exit__()
    _, browser = make(with_provider(provider))
    away = browser.get("/sign-in/oidc")
    assert away.status_code == 502
    assert "The provider cannot be reached" in away.text


def test_a_provider_that_drips_its_answer_is_given_up_in_time(make, provider, monkeypatch):
    monkeypatch.setattr(oidc, "ANSWER_SECONDS", 0.4)
    with dripping() as port:
        _, browser = make(with_provider(provider).replace(provider.url, f"http://127.0.0.1:{port}"))
        away = browser.get("/sign-in/oidc")
    assert away.status_code == 502
    assert "The provider cannot be reached" in away.text


def test_signing_in_needs_no_package_that_ringback_does_not_ask_for():
    """Authlib has clients over packages that it does not require itself."""
    code = "import sys; sys.modules['requests'] = None; import integration.dashboard.auth.oidc"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_other_roles_for_the_groups_end_the_sessions(make, provider, tmp_path, store):
    _, browser = make(with_provider(provider))
    through(browser)
    services = make_services(tmp_path, store, with_provider(provider, '{ callcentre = "viewer" }'))
    after = Browser(services, NoRates())
    after.client.set_cookie("ringback", browser.client.get_cookie("ringback").value)
    assert not after.inside


def test_without_a_provider_its_addresses_are_not_there(make):
    _, browser = make()
    assert browser.get("/sign-in/oidc").status_code == 404
