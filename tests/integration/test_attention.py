"""The page "Requires attention": one row for each account or source, and who takes care of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from integration.alerts.monitor import AlertMonitor
from integration.alerts.problems import ActiveProblem, rows_of
from integration.store.monitoring.problem_notes import ProblemNote
from integration.store.token_queue import PushResult
from support import SOURCES_AND_ROUTES, make_services, two_accounts
from support.dashboard_client import Pages, text_of
from support.installation import Installation

NOW = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


class Silent:
    def alert_begins(self, *_alert):
        raise AssertionError("a built-in alert is reported")

    alert_is_over = alert_begins


class Attention(Installation):
    """A running worker, and the monitor of a process without rules in its configuration."""

    def __init__(self, services):
        super().__init__(services)
        services.binding.bind()
        facts = {
            "kind": "worker",
            "host": "app-1",
            "pid": 7,
            "version": "0.2.0",
            "by_wake_up": 0,
            "by_sweep": 0,
        }
        services.processes.heartbeat("worker:1", {**facts, "started": 1000, "wake_ups": 0, "sweeps": 0})
        self.now = datetime.now(UTC)
        self.monitor = AlertMonitor(services, "web:1", Silent(), lambda: self.now)
        self.pages = Pages(services, name="ana")

    def stop(self, customer="c1"):
        self.ask(customer)
        self.push(PushResult(kind="again", reason="401", stop="the token is refused", sent_ms=1))

    def refuse(self, customer="c2"):
        self.ask(customer)
        self.push(PushResult(kind="ended", state="dead", reason="refused", passed=True, sent_ms=1))

    def rows(self, pages=None):
        """Return the text of each row, by its id."""
        text = (pages or self.pages).get("/attention").text
        found = re.findall(r'<tr id="problem:([^"]+)">(.*?)</tr>', text, re.DOTALL)
        return {row: re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", cells)) for row, cells in found}

    def title(self, address="/recalls"):
        return re.search(r"<title>(.*?)</title>", self.pages.get(address).text)[1]

    def act(self, what, row="account:bogota", **fields):
        return self.pages.post(f"/attention/{row}/{what}", fields)


@pytest.fixture
def installation(tmp_path, store):
    return Attention(make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES))


def test_an_account_has_one_row_with_all_its_problems(installation):
    assert "Nothing requires attention" in text_of(installation.pages.get("/attention"))
    installation.refuse()
    installation.stop()
    rows = installation.rows()
    assert list(rows) == ["account:bogota"]
    assert rows["account:bogota"].index("is stopped") < rows["account:bogota"].index(
        "Dead recalls of account bogota: 1"
    )
    assert "Fix the cause, then run: ringback resume bogota" in rows["account:bogota"]
    assert 'href="/recalls?state=dead&amp;account=bogota"' in installation.pages.get("/attention").text


def test_a_problem_is_there_at_once_and_gone_at_once(installation):
    installation.stop()
    installation.monitor.look()
    assert "account:bogota" in installation.rows()
    installation.pages.post("/accounts/bogota/resume", {"page": "attention"})
    assert installation.rows() == {}


def test_parked_events_and_missing_workers_have_rows(installation):
    services = installation.services
    services.store.client.delete(services.store.key("processes"))
    from support.hook_client import HookClient

    answer = HookClient(services).post("forms", {"customer": "1", "phone": "none", "at": "none"})
    assert answer.json["parked"] == 1
    rows = installation.rows()
    assert list(rows) == ["installation", "source:forms"]
    assert "No worker is running" in rows["installation"]
    assert "Parked events of source forms: 1" in rows["source:forms"]


def test_the_title_of_every_tab_counts_open_rows(installation):
    assert installation.title() == "Recalls · Ringback"
    installation.stop()
    installation.monitor.look()
    assert installation.title() == "(1) Recalls · Ringback"
    assert "<title>(1) Recalls" in installation.pages.get("/recalls", headers={"HX-Request": "true"}).text
    installation.act("acknowledge")
    assert installation.title() == "Recalls · Ringback"


def test_an_acknowledged_row_is_open_again_with_a_further_problem(installation):
    installation.stop()
    installation.act("acknowledge")
    assert "acknowledged by ana" in installation.rows()["account:bogota"]
    installation.services.accounts.resume("bogota")
    installation.refuse()
    installation.stop()
    assert " open " in installation.rows()["account:bogota"]


def test_a_snooze_ends_by_itself_and_can_be_undone(installation):
    installation.stop()
    assert "Not snoozed: this duration is not offered." in text_of(
        installation.act("snooze", **{"for": "99"})
    )
    installation.act("snooze", **{"for": "1"})
    assert "snoozed by ana" in installation.rows()["account:bogota"]
    note = installation.services.problem_notes.all()["account:bogota"]
    row = rows_of(
        [ActiveProblem(kind="queue-stopped", subject="bogota", since=NOW)],
        {"account:bogota": note},
        installation.now,
    )[0]
    assert row.is_snoozed(note.snoozed_until - timedelta(seconds=1))
    assert row.is_open(note.snoozed_until)
    installation.act("reopen")
    assert " open " in installation.rows()["account:bogota"]


def test_a_row_is_assigned_to_the_user_and_each_act_is_audited(installation):
    installation.stop()
    for what in ("assign", "acknowledge", "snooze", "reopen"):
        installation.act(what, **{"for": "4"})
    assert "assigned to ana" in installation.rows()["account:bogota"]
    entries, _ = installation.services.audit.page(limit=10)
    assert [(entry.who, entry.what, entry.about) for entry in entries] == [
        ("ana", f"{what} problem", ("account:bogota",))
        for what in ("reopen", "snooze", "acknowledge", "assign")
    ]


def test_notes_go_when_the_problem_is_over_and_not_before(installation):
    installation.stop()
    installation.monitor.look()
    installation.act("assign")
    installation.services.accounts.resume("bogota")
    installation.monitor.look()
    assert installation.services.problem_notes.all(), (
        "a cause that comes back within a minute is the same problem"
    )
    installation.now += timedelta(seconds=61)
    installation.monitor.look()
    assert installation.services.problem_notes.all() == {}


def test_a_viewer_reads_and_does_not_act(installation):
    installation.stop()
    viewer = Pages(installation.services, "viewer")
    assert "is stopped" in installation.rows(viewer)["account:bogota"]
    assert 'action="/attention/' not in viewer.get("/attention").text
    assert viewer.post("/attention/account:bogota/acknowledge").status_code == 403
    assert installation.pages.post("/attention/account:lima/acknowledge").status_code == 404


def test_open_rows_come_first_then_acknowledged_then_snoozed():
    problems = [
        ActiveProblem(kind="queue-stopped", subject="a", since=NOW),
        ActiveProblem(kind="queue-stopped", subject="b", since=NOW),
        ActiveProblem(kind="dead-letters", subject="c", since=NOW),
        ActiveProblem(kind="nothing-verified", subject="c", since=NOW),
    ]
    notes = {
        "account:a": ProblemNote(snoozed_by="ana", snoozed_until=NOW + timedelta(hours=1)),
        "account:b": ProblemNote(acknowledged_by="ana", acknowledged_kinds=frozenset({"queue-stopped"})),
    }
    rows = rows_of(problems, notes, NOW)
    assert [row.id for row in rows] == ["source:c", "account:c", "account:b", "account:a"]


def test_a_spanish_page_names_problems_and_acts_in_spanish(installation):
    installation.stop()
    pages = Pages(installation.services, language="es")
    text = text_of(pages.get("/attention"))
    assert "La cuenta bogota está detenida" in text
    assert "Enterado" in text
    assert "Requiere su atención" in text
