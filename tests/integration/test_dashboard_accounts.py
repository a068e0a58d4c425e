"""Now, Accounts and the audit log: what an operator on shift sees, and what pausing, resuming and testing do."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from integration.dashboard.presenting.account_cache import (
    FRESH_SECONDS,
    MOST_AT_ONCE,
    OLDEST_SECONDS,
    AccountCache,
    AccountSnapshot,
)
from integration.dashboard.presenting.account_overview import QuotaUse, overview
from integration.domain.account import AccountView
from integration.domain.errors import StoreAwayError
from integration.store.token_queue import PushResult, terms_of
from support import SOURCES_AND_ROUTES, make_services, on_one_token, two_accounts
from support.dashboard_client import Pages, text_of

BOGOTA = ZoneInfo("America/Bogota")
NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


@pytest.fixture
def services(tmp_path, store, sandbox):
    text = two_accounts(sandbox.url, "daily_limit = 10\nserver_limit_seconds = 1") + SOURCES_AND_ROUTES
    services = make_services(tmp_path, store, text)
    services.binding.bind()
    return services


def heartbeat_of(services, kind="worker"):
    facts = {"kind": kind, "host": "app-1", "pid": 7, "version": "0.1.0", "by_wake_up": 0, "by_sweep": 0}
    services.processes.heartbeat(f"{kind}:1", {**facts, "started": 1000, "wake_ups": 0, "sweeps": 0})


def tile(text, title):
    """Give a tile's value and its words."""
    found = re.search(rf"<dt>(?:<a [^>]*>)?{title}(?:</a>)?</dt>\s*<dd>(.*?)</dd>", text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", found[1]).split())


# --- now ----------------------------------------------------------------------------------------


def test_all_quiet_is_said_when_there_is_nothing_to_do(services):
    heartbeat_of(services)
    text = Pages(services).get("/").text
    assert "All quiet." in text
    assert tile(text, "Oldest waiting") == "– nothing waits"
    assert tile(text, "Queues held") == "0 all queues may push"


def test_it_is_not_quiet_without_a_worker(services):
    text = Pages(services).get("/").text
    assert "All quiet." not in text
    assert "No worker is running" in text


def test_what_waits_is_stopped_or_lost_is_there_with_reason_and_end(services, installation):
    heartbeat_of(services)
    for customer in ("1", "2", "3"):
        installation.ask(customer)
    installation.push(PushResult(kind="ended", state="dead", reason="refused", passed=True, sent_ms=1))
    installation.push(PushResult(kind="again", reason="401", stop="the token is refused", sent_ms=1))
    services.accounts.pause("lima", "a break", datetime.now(UTC) + timedelta(hours=1))
    text = Pages(services).get("/").text
    assert "All quiet." not in text
    assert tile(text, "Queued").startswith("2")
    assert tile(text, "Dead") == "1 rejected by wolkvox or failed repeatedly"
    assert tile(text, "Queues held") == "2 1 stopped, 1 paused"
    (row,) = re.findall(r"<tr>\s*<th scope=\"row\" data-name=\"What\">(.*?)</tr>", text, re.DOTALL)
    assert re.search(r">(\w+)</a>", row)[1] == "bogota"
    assert "the token is refused" in row
    assert "Dead recalls of account bogota: 1" in row


def test_a_stopped_queue_that_is_overdue_has_dates_at_risk(services, installation):
    past = datetime.now(UTC) - timedelta(minutes=5)
    installation.admit(replace(installation.request(), recall_date=past, requested_date=past))
    services.accounts.pause("bogota", "x")
    assert tile(Pages(services).get("/").text, "Dates at risk").startswith("1")


def test_all_that_a_stopped_queue_holds_is_at_risk_and_it_is_never_done(services, installation):
    for hours in (1, 48, 20 * 24):
        installation.ask(f"8012345{hours}", hours=hours)
    services.accounts.pause("bogota", "x")
    text = Pages(services).get("/").text
    assert tile(text, "Dates at risk").startswith("3 will be late at the current rate")
    assert "done in" not in tile(text, "Queued")


def test_the_calls_of_the_day_are_told_with_their_forecast(services, installation):
    for customer in "123456789":
        installation.ask(customer)
        installation.push(PushResult(kind="ended", state="accepted", reason="ok", passed=True, sent_ms=1))
    text = Pages(services).get("/").text
    assert tile(text, "Calls of the day").startswith("90% bogota:")
    assert "9 of 10 calls used" in text


def test_a_store_that_fills_up_is_seen(services, store):
    text = Pages(services).get("/").text
    assert re.search(r"\d+ MiB used, no limit is set", tile(text, "Store"))
    store.config_set("maxmemory", round(store.info("memory")["used_memory"] * 1.1))
    try:
        full = Pages(services).get("/").text
    finally:
        store.config_set("maxmemory", 0)
    assert re.search(r"\d\d% of its memory", tile(full, "Store"))
    assert re.search(r'<div class="tile (warn|bad)">\s*<dt>Store', full)


def test_the_plot_is_empty_and_sound_before_anything_was_counted(services):
    text = Pages(services).get("/").text
    assert "Webhooks accepted: 0, calls to wolkvox: 0, webhooks rejected: 0 in the last hour." in text


def test_no_number_of_a_customer_is_on_these_pages(services, installation):
    installation.ask("80123456")
    for address in ("/", "/accounts", "/accounts/bogota"):
        text = Pages(services).get(address).text
        assert "80123456" not in text
        assert "3001112233" not in text


def test_the_quota_that_runs_out_first_is_the_tightest():
    views = [_view("a", pushed_today=900, daily_limit=1000), _view("b", pushed_today=10, daily_limit=1000)]
    resets = dict.fromkeys("ab", NOW + timedelta(hours=10))
    forecasts = {"b": _forecast(quota_out_at=NOW + timedelta(hours=2)), "a": _forecast()}
    seen = overview(views, forecasts, resets)
    assert seen.tightest.account == "b"
    assert [quota.account for quota in seen.quotas] == ["a", "b"]
    late = {"b": _forecast(quota_out_at=NOW + timedelta(hours=11)), "a": _forecast()}
    assert overview(views, late, resets).tightest == QuotaUse(
        account="a", used=900, limit=1000, out_at=None, resets_at=resets["a"]
    )


def _view(name, **more):
    fields = {"state": "idle", "reason": None, "until": None, "queued": 0, "dead": 0, "pushed_today": 0}
    return AccountView(**{"name": name, **fields, "daily_limit": None, "oldest_seconds": None, **more})


def _forecast(**more):
    return SimpleNamespace(**{"at_risk": 0, "drained_at": None, "quota_out_at": None, **more})


# --- the list -----------------------------------------------------------------------------------


def names(text):
    return re.findall(r'data-name="Account"><a href="/accounts/([^"]+)"', text)


def test_those_that_need_a_look_come_first_and_are_found_by_name_and_state(services):
    services.accounts.pause("lima", "x")
    pages = Pages(services)
    assert names(pages.get("/accounts").text) == ["lima", "bogota"]
    assert names(pages.get("/accounts?q=OGO").text) == ["bogota"]
    assert names(pages.get("/accounts?state=paused").text) == ["lima"]
    assert "No account fits" in pages.get("/accounts?q=quito").text


def test_many_accounts_come_by_pages_whose_filters_stay(tmp_path, store):
    from support import account

    text = "".join(account(f"a{number:03}", token=f"token-{number:03}") for number in range(120))
    services = make_services(tmp_path, store, text)
    services.binding.bind()
    pages = Pages(services)
    seen, address = [], "/accounts?q=a"
    while address:
        shown = pages.get(address).text
        seen += names(shown)
        following = re.search(r'rel="next" href="([^"]+)"', shown)
        address = following and following[1].replace("&amp;", "&")
        assert address is None or "q=a" in address
    assert sorted(seen) == [f"a{number:03}" for number in range(120)]


@pytest.mark.parametrize("start", ["-1", "x", "9" * 30, "٣", ""])
def test_a_made_up_start_is_the_first_page(services, start):
    assert names(Pages(services).get(f"/accounts?start={start}").text) == ["bogota", "lima"]


# --- one account --------------------------------------------------------------------------------


def test_an_account_shows_its_rules_by_its_own_clock(services):
    text = Pages(services).get("/accounts/lima").text
    assert "America/Lima" in text
    assert "salesforce lead" in text
    assert "TOKEN" not in text
    assert "token-of-lima" not in text


def test_an_account_shows_which_numbers_it_dials(tmp_path, store):
    more = 'dial_format = "00{e164}"\ncountries = ["PE", "EC"]'
    services = make_services(tmp_path, store, two_accounts(more=more) + SOURCES_AND_ROUTES)
    services.binding.bind()
    pages = Pages(services)
    assert "CO, PE, EC, 00{e164}" in pages.get("/accounts/bogota").text
    assert "PE, EC, 00{e164}" in pages.get("/accounts/lima").text


def test_an_account_that_there_is_not_says_so(services):
    answer = Pages(services).get("/accounts/medellin")
    assert answer.status_code == 404
    assert "There is no record with this id" in answer.text


def test_accounts_on_one_token_name_each_other(tmp_path, store):
    text = on_one_token(two_accounts() + SOURCES_AND_ROUTES)
    services = make_services(tmp_path, store, text)
    services.binding.bind()
    assert re.search(
        r"Accounts with the same token.*/accounts/lima",
        Pages(services).get("/accounts/bogota").text,
        re.DOTALL,
    )


def test_pausing_says_until_when_and_is_written_down(services):
    pages = Pages(services)
    done = pages.post("/accounts/bogota/pause", {"reason": "  the\ncampaign changes ", "for": "60"})
    assert "Paused until" in done.text
    view = services.accounts.get("bogota")
    assert (view.state, view.reason) == ("paused", "the campaign changes")
    assert timedelta(minutes=58) < view.until - datetime.now(UTC) < timedelta(minutes=62)
    entry = services.audit.page()[0][0]
    assert (entry.who, entry.what, entry.about) == ("ana", "pause", ("bogota",))


def test_a_pause_until_a_time_ends_then_by_the_accounts_clock(services):
    local = (datetime.now(BOGOTA) + timedelta(days=1)).replace(second=0, microsecond=0)
    until = local.strftime("%Y-%m-%dT%H:%M")
    done = Pages(services).post("/accounts/bogota/pause", {"for": "time", "until": until})
    assert "Paused until" in done.text
    assert services.accounts.get("bogota").until == local


@pytest.mark.parametrize(("chosen", "minutes"), [("30", 30), ("60", 60)])
def test_a_pause_for_a_duration_ends_after_it(services, chosen, minutes):
    Pages(services).post("/accounts/bogota/pause", {"for": chosen, "until": ""})
    left = services.accounts.get("bogota").until - datetime.now(UTC)
    assert timedelta(minutes=minutes - 2) < left < timedelta(minutes=minutes + 2)


@pytest.mark.parametrize(
    ("hours", "opening"),
    [
        ("", "08:00"),
        ('calling_hours = { every_day = ["09:30-12:00", "14:00-18:00"] }', "09:30"),
        ('calling_hours = { every_day = ["00:00-06:00", "20:00-24:00"] }', "00:00"),
    ],
)
def test_a_pause_until_the_opening_ends_tomorrow_by_the_accounts_clock(tmp_path, store, hours, opening):
    services = make_services(tmp_path, store, two_accounts(more=hours))
    services.binding.bind()
    Pages(services).post("/accounts/bogota/pause", {"for": "morning"})
    until = services.accounts.get("bogota").until.astimezone(BOGOTA)
    assert f"{until:%H:%M}" == opening
    assert until.date() == (datetime.now(BOGOTA) + timedelta(days=1)).date()


@pytest.mark.parametrize(
    ("hours", "english", "spanish"),
    [
        ("", "Pause until tomorrow 08:00 GMT-05:00", "Pausar hasta mañana 08:00 GMT-05:00"),
        (
            'calling_hours = { every_day = ["09:30-12:00"] }',
            "Pause until the opening, tomorrow 09:30 GMT-05:00",
            "Pausar hasta la apertura, mañana 09:30 GMT-05:00",
        ),
    ],
)
def test_the_end_of_a_pause_names_an_opening_only_if_there_is_one_and_its_time_with_the_zone(
    tmp_path, store, hours, english, spanish
):
    services = make_services(tmp_path, store, two_accounts(more=hours))
    services.binding.bind()
    for language, words in (("en", english), ("es", spanish)):
        text = Pages(services, language=language).get("/accounts/bogota").text
        assert re.search(rf'<button [^>]*value="morning">(<svg.*?</svg>)?{words}</button>', text, re.DOTALL)
    done = Pages(services).post("/accounts/bogota/pause", {"for": "morning"}).text
    assert re.search(r"Paused until tomorrow \d\d:\d\d GMT-05:00; it then resumes by itself", done)


def test_a_pause_without_an_end_waits_until_it_is_resumed(services):
    assert (
        "Paused until it is resumed."
        in Pages(services).post("/accounts/bogota/pause", {"for": "resumed"}).text
    )
    assert services.accounts.get("bogota").until is None


def test_a_paused_account_shows_by_whom_since_when_and_until_when(services):
    pages = Pages(services, name="olga")
    pages.post("/accounts/bogota/pause", {"reason": "the list is wrong", "for": "30"})
    view = services.accounts.get("bogota")
    assert view.pause.by == "olga"
    assert abs(view.pause.since - datetime.now(UTC)) < timedelta(minutes=1)
    text = text_of(pages.get("/accounts/bogota"))
    assert re.search(r"Paused by olga .* it resumes by itself", text)
    pages.post("/accounts/bogota/resume")
    assert services.accounts.get("bogota").pause is None
    services.accounts.pause("lima", "", by="api:crm")
    assert re.search(r"Paused by api:crm .* until it is resumed", text_of(pages.get("/accounts/lima")))


FUTURE = "2999-01-01T10:00"


@pytest.mark.parametrize(
    ("chosen", "until"),
    [
        *(("time", text) for text in ("", "yesterday", "2020-01-01T10:00", "2200-01-01T10:00", "10:00")),
        *((chosen, FUTURE) for chosen in ("30", "60", "morning", "resumed", "")),
        *(("forever", ""), ("15", ""), ("", "")),
    ],
)
def test_an_end_that_cannot_be_pauses_nothing_and_says_why(services, chosen, until):
    done = Pages(services).post("/accounts/bogota/pause", {"for": chosen, "until": until})
    assert "Not paused" in done.text
    assert services.accounts.get("bogota").state == "idle"
    assert services.audit.page()[0] == []


def test_a_test_call_tells_what_wolkvox_said_and_is_written_down(services, sandbox):
    done = Pages(services).post("/accounts/bogota/test")
    assert "wolkvox accepts the token; campaigns listed: 2" in done.text
    assert len(sandbox.calls()) == 1
    assert services.audit.page()[0][0].what == "test call"


def test_a_test_call_is_told_in_the_readers_language(services, installation):
    pages = Pages(services, language="es")
    assert "wolkvox acepta el token; campañas en su lista: 2" in pages.post("/accounts/bogota/test").text
    installation.ask("80123456")
    installation.push(PushResult(kind="again", reason="no answer in time", sent_ms=0, wait_ms=60_000))
    facts = pages.post("/accounts/bogota/test").text
    assert re.search(r"no se hizo ninguna llamada de prueba: la cola espera: (?!no answer)", facts)


def test_a_test_call_on_a_queue_in_use_is_not_made(services, installation, sandbox):
    installation.ask("80123456")
    queue = services.queues.bound()["bogota"]
    services.queues.acquire(queue, "n", terms_of(services.config.accounts["bogota"], datetime.now(UTC)))
    done = Pages(services).post("/accounts/bogota/test")
    assert "no test call was made: a call may be running" in done.text
    assert sandbox.calls() == []


@pytest.mark.parametrize("act", ["pause", "resume", "test"])
def test_a_viewer_acts_on_nothing_and_sees_no_button(services, act, sandbox):
    services.accounts.pause("lima", "x")
    pages = Pages(services, "viewer")
    assert pages.post(f"/accounts/bogota/{act}").status_code == 403
    assert services.accounts.get("bogota").state == "idle"
    assert sandbox.calls() == []
    assert f"/{act}" not in pages.get("/accounts/lima").text


def test_an_act_by_htmx_is_answered_by_the_new_state(services):
    done = Pages(services).post("/accounts/bogota/pause", {"reason": "x", "for": "30"}, htmx=True)
    assert done.status_code == 200
    assert 'id="said"' in done.text
    assert "paused" in done.text
    assert "<!doctype" not in done.text


# --- the audit log ------------------------------------------------------------------------------


def test_only_an_admin_sees_the_audit_log(services):
    assert Pages(services, "operator").get("/audit").status_code == 403
    assert 'href="/audit"' not in Pages(services, "operator").get("/").text
    assert 'href="/audit"' in Pages(services, "admin").get("/").text


def test_the_audit_log_shows_and_finds_what_was_done(services):
    services.audit.note("luis", "reveal telephone", ["rc_00000001a1b2"], address="192.0.2.5")
    services.audit.note("ana", "pause", ["bogota"])
    pages = Pages(services, "admin")
    text = pages.get("/audit").text
    assert text.index("pause") < text.index("reveal telephone")
    assert 'href="/recalls/rc_00000001a1b2"' in text
    assert 'href="/accounts/bogota"' in text
    found = pages.get("/audit?what=reveal").text
    assert "192.0.2.5" in found
    assert ">bogota</a>" not in found
    assert "192.0.2.5" not in pages.get("/audit?who=ana").text


def test_what_was_done_is_said_in_the_readers_language(services):
    services.audit.note("luis", "failed sign-in")
    services.audit.note("luis", "reveal telephone", ["rc_00000001a1b2"])
    services.audit.note("luis", "something new")
    text = Pages(services, "admin", language="es").get("/audit").text
    assert "inicio de sesión fallido" in text
    assert "mostrar teléfono" in text
    assert "something new" in text
    assert "mostrar teléfono" in Pages(services, "admin", language="es").get("/audit?what=reveal").text


@pytest.mark.parametrize("cursor", ["x", "1", "9" * 40 + "-1", "$", "+"])
def test_a_made_up_cursor_is_the_first_page(services, cursor):
    services.audit.note("ana", "pause", ["bogota"])
    assert ">bogota</a>" in Pages(services, "admin").get("/audit", query_string={"cursor": cursor}).text


# --- many accounts ------------------------------------------------------------------------------


class Reading:
    """Reads how accounts stand, and counts how often."""

    def __init__(self, many):
        self.times, self.error = 0, None
        self.views = [_view(f"a{number}") for number in range(MOST_AT_ONCE + 1 if many else 3)]

    def __call__(self):
        self.times += 1
        if self.error:
            raise self.error
        return AccountSnapshot(self.views, overview(self.views, {}, {}), NOW + timedelta(seconds=self.times))


def account_cache(reading):
    clock = [100.0]
    return AccountCache(reading, lambda: clock[0]), clock


def rest(account_cache):
    account_cache._reading.join(10)


def test_few_accounts_are_read_for_every_page():
    reading = Reading(many=False)
    seen, _ = account_cache(reading)
    assert [seen.now().moment, seen.now().moment] == [NOW + timedelta(seconds=1), NOW + timedelta(seconds=2)]


def test_many_accounts_are_read_aside_while_a_page_shows_what_was_read_before():
    reading = Reading(many=True)
    seen, clock = account_cache(reading)
    first = seen.now()
    clock[0] += FRESH_SECONDS / 2
    assert seen.now() is first
    clock[0] += FRESH_SECONDS
    assert seen.now() is first
    rest(seen)
    assert reading.times == 2
    assert seen.now().moment == NOW + timedelta(seconds=2)


def test_what_was_read_too_long_ago_is_not_shown():
    reading = Reading(many=True)
    seen, clock = account_cache(reading)
    first = seen.now()
    clock[0] += OLDEST_SECONDS + 1
    assert seen.now() is not first


def test_a_store_that_goes_away_is_told_once_what_is_kept_is_too_old():
    reading = Reading(many=True)
    seen, clock = account_cache(reading)
    first = seen.now()
    reading.error = StoreAwayError("x")
    clock[0] += FRESH_SECONDS + 1
    assert seen.now() is first
    rest(seen)
    clock[0] += OLDEST_SECONDS
    with pytest.raises(StoreAwayError):
        seen.now()
