"""The list of recalls: acting on ticked ones, exporting, counting, and the times on every page."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from html import unescape
from io import StringIO
from zoneinfo import ZoneInfo

import pytest
from flask import Flask
from flask_babel import force_locale
from werkzeug.test import Client

from integration.app import compose
from integration.dashboard import language
from integration.dashboard.presenting.times import ago, clock, when
from integration.dashboard.views.recalls import EXPORTS_A_MINUTE
from integration.domain.errors import StoreAwayError
from integration.domain.recall import State
from integration.services.personal_data.export import _cell
from integration.web.rate_limit import RateLimit
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, SignedIn, text_of
from support.installation import Installation
from support.seeded import fill

NUMBER = "3001112233"
BOGOTA = ZoneInfo("America/Bogota")
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=BOGOTA)


@pytest.fixture
def installation(tmp_path, store):
    return Installation(make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES))


def audited(installation):
    return [(entry.what, entry.about) for entry in installation.services.audit.page()[0]]


# --- ticked recalls ----------------------------------------------------------------------------


def test_ticked_recalls_are_cancelled_and_others_stay(installation):
    recalls = [installation.ask(f"c{number}") for number in range(4)]
    ended = installation.admit(installation.request("late"), expired="too late")
    chosen = [*recalls[:2], ended, "rc_000000000000"]
    pages = Pages(installation.services)
    answer = pages.post("/recalls/chosen", {"kind": "cancel", "chosen": chosen, "account": "bogota"})
    assert answer.request.full_path == "/recalls?account=bogota"
    assert "2 recalls were cancelled." in answer.text
    assert "2 were not changed" in answer.text
    states = [installation.state(recall) for recall in recalls]
    assert states == [State.CANCELLED, State.CANCELLED, State.QUEUED, State.QUEUED]
    assert audited(installation) == [("cancel", tuple(recalls[:2]))]


def test_ticked_recalls_are_retried(installation):
    ended = [installation.admit(installation.request(f"c{n}"), expired="too late") for n in range(2)]
    queued = installation.ask("other")
    pages = Pages(installation.services)
    answer = pages.post("/recalls/chosen", {"kind": "retry", "chosen": [ended[0], queued]})
    assert "1 recall is queued again." in answer.text
    assert [installation.state(recall) for recall in ended] == [State.QUEUED, State.EXPIRED]
    assert audited(installation) == [("retry", (ended[0],))]


def test_nothing_ticked_does_nothing_and_says_so(installation):
    recall = installation.ask()
    answer = Pages(installation.services).post("/recalls/chosen", {"kind": "cancel"})
    assert "tick the recalls first" in answer.text
    assert installation.state(recall) is State.QUEUED


def test_a_viewer_has_no_tick_boxes_and_cannot_act(installation):
    recall = installation.ask()
    viewer = Pages(installation.services, "viewer")
    assert 'name="chosen"' not in viewer.get("/recalls").text
    assert viewer.post("/recalls/chosen", {"kind": "cancel", "chosen": [recall]}).status_code == 403
    assert installation.state(recall) is State.QUEUED


# --- export ------------------------------------------------------------------------------------


def exported(pages, **filters):
    answer = pages.post("/recalls/export", filters)
    assert answer.status_code == 200
    assert answer.content_type == "text/csv; charset=utf-8"
    assert answer.data.startswith(b"\xef\xbb\xbf")
    assert "attachment" in answer.headers["Content-Disposition"]
    return list(csv.DictReader(StringIO(answer.data.decode("utf-8-sig"))))


def test_an_operator_exports_what_the_filters_find(installation):
    recalls = [installation.ask(f"c{number}") for number in range(3)]
    installation.ask("elsewhere", account="lima")
    table = exported(Pages(installation.services), account="bogota")
    assert [row["id"] for row in table] == recalls[::-1]
    assert {row["recall_telephone"] for row in table} == {NUMBER}
    assert [row["customer_id"] for row in table] == ["c2", "c1", "c0"]
    assert audited(installation) == [("export recalls", ("account=bogota",))]


def test_a_viewer_exports_masked_values(installation):
    installation.ask("80123456")
    installation.admit(installation.request("80123457"), expired=f"80123457 at {NUMBER} is too late")
    answer = Pages(installation.services, "viewer").post("/recalls/export")
    for secret in (NUMBER, "80123456", "80123457"):
        assert secret not in answer.text
    assert len(answer.text.splitlines()) == 3


@pytest.mark.parametrize("customer", ["=1+2", "+cmd", "-1", "@SUM(A1)", "\t=1"])
def test_no_cell_of_an_export_is_a_formula(installation, customer):
    recall = installation.ask(customer)
    (row,) = exported(Pages(installation.services))
    assert row["id"] == recall
    assert not row["customer_id"].startswith(("=", "+", "-", "@", "\t"))


def test_no_cell_of_an_export_is_a_formula_where_semicolons_separate():
    for text in ("x;=HYPERLINK(1)", 'x; "=1"', "x\t=1", "x\r=1", "x\n@1", "\n+1"):
        assert not re.search(r"(^|[;\t\r\n])[ \"]*[=+@-]", _cell(text))
    assert _cell("a;b - c\n1") == "a;b - c\n1"


def test_the_exports_of_a_user_are_limited(installation, store):
    pages = Pages(installation.services, "viewer")
    pages.client = Client(compose(installation.services, RateLimit(store), SignedIn("viewer")))
    answers = [pages.post("/recalls/export") for _again in range(EXPORTS_A_MINUTE + 2)]
    assert answers[0].status_code == 200
    limited = next(answer for answer in answers if answer.status_code != 200)
    assert limited.status_code == 429
    assert "Too many exports" in limited.text


def test_a_store_that_goes_away_during_an_export_is_an_error_page(installation, monkeypatch):
    def broken(_which, **_order):
        yield installation.recall(recall)
        raise StoreAwayError("gone")

    recall = installation.ask()
    pages = Pages(installation.services)
    monkeypatch.setattr(installation.services.recalls.records, "every", broken)
    assert pages.post("/recalls/export").status_code == 503


def test_ticked_recalls_that_were_done_are_audited_when_the_store_goes_away(installation, monkeypatch):
    first, second = installation.ask("c1"), installation.ask("c2")
    cancel = installation.services.recalls.cancel

    def broken(recall_id, reason):
        if recall_id == second:
            raise StoreAwayError("gone")
        cancel(recall_id, reason)

    monkeypatch.setattr(installation.services.recalls, "cancel", broken)
    answer = Pages(installation.services).post(
        "/recalls/chosen", {"kind": "cancel", "chosen": [first, second]}
    )
    assert answer.status_code == 503
    assert audited(installation) == [("cancel", (first,))]


def test_an_export_logs_nothing_that_a_user_typed(installation):
    exported(Pages(installation.services), campaign=NUMBER, state="dead")
    assert audited(installation) == [("export recalls", ("state=dead",))]


def test_an_export_without_the_token_against_forged_requests_is_rejected(installation):
    installation.ask()
    assert Pages(installation.services).client.post("/recalls/export").status_code == 400
    assert audited(installation) == []


# --- counts and times --------------------------------------------------------------------------


def test_the_list_shows_how_many_recalls_the_filters_find(installation):
    fill(installation.services.store, 1200, states=(State.DEAD,))
    installation.ask(account="lima")
    pages = Pages(installation.services)
    assert "1,201 recalls" in text_of(pages.get("/recalls"))
    assert "1 recall " in text_of(pages.get("/recalls?state=queued"))


@pytest.mark.parametrize(
    "path", ["/", "/recalls", "/deliveries", "/parked", "/calendar", "/accounts", "/search"]
)
@pytest.mark.parametrize(
    ("name", "words"), [("en", "Times are"), ("es", "Las horas están"), ("pt", "Os horários estão")]
)
def test_every_page_names_the_time_zone(installation, path, name, words):
    text = unescape(Pages(installation.services, language=name).get(path).text)
    assert words in text
    assert "America/Bogota (GMT-05:00)" in text


@pytest.mark.parametrize(
    ("hours", "english", "spanish", "portuguese"),
    [
        (5.5, "today 17:30", "hoy 17:30", "hoje 17:30"),
        (29.5, "tomorrow 17:30", "mañana 17:30", "amanhã 17:30"),
        (-14, "yesterday 22:00:00", "ayer 22:00:00", "ontem 22:00:00"),
        (53.5, "4 Mar 17:30", "4 mar 17:30", "4 mar. 17:30"),
        (-5, "today 07:00:00", "hoy 07:00:00", "hoje 07:00:00"),
        (24 * 365, "2 Mar 2027 12:00", "2 mar 2027 12:00", "2 mar. 2027 12:00"),
    ],
)
def test_days_that_are_near_are_named(hours, english, spanish, portuguese):
    app = Flask("times")
    language.install(app)
    for name, words in (("en", english), ("es", spanish), ("pt_BR", portuguese)):
        with app.test_request_context(), force_locale(name):
            assert clock((NOON + timedelta(hours=hours)).astimezone(UTC), BOGOTA, NOON) == words


@pytest.mark.parametrize(
    ("name", "relative", "whole"),
    [
        ("en", "5 min ago", "Monday 2 March 2026 12:00:00"),
        ("es", "hace 5 min", "lunes 2 de marzo de 2026 12:00:00"),
        ("pt_BR", "há 5 min", "segunda-feira, 2 de março de 2026 12:00:00"),
    ],
)
def test_dates_have_the_form_of_the_language_and_texts_can_continue_after_them(name, relative, whole):
    app = Flask("times")
    language.install(app)
    with app.test_request_context(), force_locale(name):
        assert ago(NOON - timedelta(minutes=5), NOON) == relative
        assert whole in when(NOON, BOGOTA)


@pytest.mark.parametrize(("name", "heading"), [("es", "lunes 2 de marzo"), ("en", "Monday 2 March")])
def test_the_heading_of_a_day_has_the_form_of_the_language(installation, name, heading):
    pages = Pages(installation.services, language=name)
    assert f": {heading}</h2>" in pages.get("/calendar?day=2026-03-02").text
