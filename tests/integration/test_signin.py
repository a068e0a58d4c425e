"""Signing in to the dashboard: who gets in, for how long, and what those learn who do not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from datetime import timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from click.testing import CliRunner
from joserfc.jwk import RSAKey
from werkzeug.test import Client

from integration.app import compose
from integration.cli.main import main
from integration.dashboard.addresses import local_address
from integration.dashboard.auth import oidc
from integration.dashboard.auth.access import mark_of_user
from integration.dashboard.auth.throttle import A_MINUTE_BY_NAME_AND_ADDRESS, NOTED_A_MINUTE
from integration.domain import passwords
from integration.domain.passwords import BusyError, Verifier, is_sound
from integration.services.configuration import load_config
from integration.web.rate_limit import RateLimit
from support import NoRates, make_services, two_accounts, write_config
from support.alert_receivers import dripping
from support.oidc_stub import CLIENT_ID, CLIENT_SECRET, OidcStub

ANA, LUIS = "correct horse battery", "staple of another kind"
# As cheap as argon2 goes: their cost is not what is tested here.
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASHES = {"ana": CHEAP.hash(ANA), "luis": CHEAP.hash(LUIS)}


def users(more="", **roles):
    roles = roles or {"ana": "operator", "luis": "admin"}
    tables = [
        f'[users.{name}]\npassword = "{HASHES[name]}"\nrole = "{role}"\n' for name, role in roles.items()
    ]
    return two_accounts() + "\n" + "\n".join(tables) + more


@pytest.fixture
def make(tmp_path, store):
    def make(text=None, rates=None):
        services = make_services(tmp_path, store, text or users())
        return services, Browser(services, rates or NoRates())

    return make


class Browser:
    """A browser with its cookies, somewhere."""

    def __init__(self, services, rates, address="192.0.2.1"):
        self.app = compose(services, rates)
        self.client = Client(self.app)
        self.address = address

    def get(self, path, **headers):
        return self.client.get(path, headers=headers, environ_overrides={"REMOTE_ADDR": self.address})

    def post(self, path, data, **headers):
        proof = re.search(r'"X-CSRFToken": "([^"]+)"', self.get("/sign-in").text)[1]
        headers = {"X-CSRFToken": proof, **headers}
        place = {"REMOTE_ADDR": self.address}
        return self.client.post(path, data=data, headers=headers, environ_overrides=place)

    def sign_in(self, name="ana", password=ANA, wanted="", **headers):
        return self.post("/sign-in", {"name": name, "password": password, "next": wanted}, **headers)

    @property
    def inside(self):
        return self.get("/accounts").status_code == 200


def session_key(store):
    (key,) = store.keys("{ringback}:session:*")
    return key


# --- in and out ---------------------------------------------------------------------------------


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
    answer = browser.get("/accounts", **{"HX-Request": "true", "X-Tick": "1"})
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


# --- those who do not get in --------------------------------------------------------------------


def test_a_wrong_name_and_a_wrong_password_are_told_the_same(make, monkeypatch):
    checked = []
    real = passwords._matches
    monkeypatch.setattr(passwords, "_matches", lambda p, h: checked.append(h) or real(p, h))
    _, browser = make()
    answers = [browser.sign_in("ana", "not her password"), browser.sign_in("nobody", ANA)]
    shown = [re.sub(r'value="[^"]*"|"X-CSRFToken": "[^"]*"', "", answer.text) for answer in answers]
    assert [answer.status_code for answer in answers] == [401, 401]
    assert shown[0] == shown[1]
    assert "Name and password do not fit." in shown[0]
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
    assert "Too many tries" in late.text
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


# --- how long it lasts --------------------------------------------------------------------------


def test_work_begins_the_idle_time_anew_and_a_page_that_renews_itself_does_not(make, store):
    _, browser = make()
    browser.sign_in()
    key = session_key(store)
    store.pexpire(key, 60_000)
    browser.get("/accounts", **{"X-Tick": "1"})
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
    assert len({mark_of_user(config.users["ana"]) for config in configs}) == 2


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


# --- `ringback user` and what the configuration takes ------------------------------------------


def test_the_table_that_is_printed_is_a_user_who_gets_in(make):
    done = CliRunner().invoke(main, ["user", "eva", "--role", "admin"], input="a password from a pipe\n")
    assert done.exit_code == 0, done.output
    _, browser = make(two_accounts() + done.stdout)
    assert browser.sign_in("eva", "a password from a pipe").status_code == 303
    assert browser.inside


@pytest.mark.parametrize(("name", "password"), [("ana", "short"), ("a b", ANA), ("", ANA), ("ana", "")])
def test_a_bad_name_or_a_short_password_is_wrong_usage(name, password):
    done = CliRunner().invoke(main, ["user", name], input=f"{password}\n")
    assert done.exit_code == 2
    assert not done.stdout


def test_a_program_gets_the_user_as_json():
    done = CliRunner().invoke(main, ["user", "ana", "--json"], input=f"{ANA}\n")
    told = json.loads(done.stdout)
    assert (told["name"], told["role"], is_sound(told["password"])) == ("ana", "viewer", True)


@pytest.mark.parametrize(
    "text",
    [
        "plain", "$2b$12$" + "a" * 53, HASHES["ana"].replace("argon2id", "argon2i"),
        HASHES["ana"].replace("m=8", "m=999999"), HASHES["ana"].replace("t=1", "t=99"),
    ],
    # A hash is another one in each process, and the workers of a run must agree on the names.
    ids=["no hash", "bcrypt", "argon2i", "much memory", "many rounds"],
)  # fmt: skip
def test_what_cannot_be_checked_at_a_bounded_cost_is_no_password(text):
    assert not is_sound(text)


# --- an identity provider -----------------------------------------------------------------------


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
    assert "None of your groups has a role here" in back.text
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
    assert "It cannot be reached" in away.text


def test_a_provider_that_drips_its_answer_is_given_up_in_time(make, provider, monkeypatch):
    monkeypatch.setattr(oidc, "ANSWER_SECONDS", 0.4)
    with dripping() as port:
        _, browser = make(with_provider(provider).replace(provider.url, f"http://127.0.0.1:{port}"))
        away = browser.get("/sign-in/oidc")
    assert away.status_code == 502
    assert "It cannot be reached" in away.text


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
