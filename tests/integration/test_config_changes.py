"""A changed configuration that removes what is in use is held back, in all processes, until it is accepted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from flask import Flask

from integration.alerts.monitor import AlertMonitor
from integration.config.changes import Removal
from integration.services.configuration import ConfigRefresher, watch_config
from integration.services.container import Services
from integration.services.parked import ParkedFilter
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
from integration.store.monitoring.config_changes import ConfigChanges
from integration.web.health import health_blueprint, metrics_blueprint
from integration.web.problems import install
from support import ENVIRON, SOURCES_AND_ROUTES, account, form_delivery, two_accounts, url_of, write_config
from support.cli_runner import Ringback
from support.dashboard_client import Pages
from support.reporters import SilentReporter
from support.waiting import wait_until

ALERTS = (
    '[alerts.channels.chat]\nkind = "webhook"\nurl = "http://127.0.0.1:9/"\n'
    '[[alerts.rules]]\nkind = "queue-stopped"\n'
)
WHOLE = two_accounts() + SOURCES_AND_ROUTES + ALERTS
BEFORE_ROUTES = WHOLE[: WHOLE.index("[[routes]]")]
FORMS = WHOLE[WHOLE.index("[sources.forms]") : WHOLE.index("[[routes]]")]
FORM_ROUTE = WHOLE[WHOLE.index('[[routes]]\nname = "form"') : WHOLE.index("[alerts")]
WITHOUT_FORMS = WHOLE.replace(FORMS, "").replace(FORM_ROUTE, "")
LIMA = account("lima", zone="Lima", country="PE")
LEAD = WHOLE[WHOLE.index('[[routes]]\nname = "salesforce lead"') : WHOLE.index('[[routes]]\nname = "form"')]
WITHOUT_BOGOTA = LIMA + SOURCES_AND_ROUTES[: SOURCES_AND_ROUTES.index("[[routes]]")] + LEAD + ALERTS


class Processes:
    """A file, and processes on one store that read it."""

    def __init__(self, folder, client):
        self.path, self.client = write_config(folder, WHOLE), client
        self.web, self.worker = self.start("web"), self.start("worker")
        self.web.binding.bind()

    def start(self, kind="web"):
        watch = watch_config(self.path, ENVIRON, every_seconds=0)
        return Services(watch, Store(connect(url_of(self.client)), kind=kind), WakeUpPublisher.silent())

    def queue_recall(self):
        self.web.admission.admit(*form_delivery(self.web, "C1"))

    def receive_form(self, what="taken", **ago):
        at = datetime.now(UTC) - timedelta(**ago)
        self.client.hset("{ringback}:source:forms", what, round(at.timestamp() * 1000))

    def names_of_routes(self):
        return {tuple(route.name for route in each.config.routes) for each in (self.web, self.worker)}

    def removed(self):
        """What each process holds back."""
        changes = [each.configuration.pending for each in (self.web, self.worker)]
        return [None if change is None else change.removed for change in changes]

    def accounts(self):
        return {tuple(each.config.accounts) for each in (self.web, self.worker)}

    def readyz(self):
        app = Flask("ringback", static_folder=None)
        install(app)
        app.register_blueprint(health_blueprint(self.web))
        app.register_blueprint(metrics_blueprint(self.web))
        return app.test_client().get("/readyz"), app.test_client().get("/metrics").text


@pytest.fixture
def processes(tmp_path, store):
    return Processes(tmp_path, store)


def test_a_file_cut_off_before_its_routes_is_held_back_in_all_processes(processes):
    before = processes.names_of_routes()
    processes.path.write_text(BEFORE_ROUTES)
    assert processes.names_of_routes() == before
    assert len(before) == 1
    expected = (
        Removal("alert rules"),
        Removal("routes", "forms"),
        Removal("routes", "hubspot"),
        Removal("routes", "salesforce"),
    )
    assert processes.removed() == [expected, expected]
    answer, metrics = processes.readyz()
    assert answer.status_code == 200
    assert len(answer.json["warnings"]) == 1
    assert '[[routes]] source = "forms"; [[routes]] source = "hubspot"' in answer.json["warnings"][0]
    assert "ringback config accept" in answer.json["warnings"][0]
    assert "ringback_config_pending 1.0" in metrics


@pytest.mark.parametrize("end", [0, 1, 30, len(two_accounts()) // 2, len(two_accounts()) + 20])
def test_a_file_cut_off_anywhere_takes_no_route_away(processes, end):
    before = processes.names_of_routes()
    processes.path.write_text(WHOLE[:end])
    assert processes.names_of_routes() == before
    answer, _ = processes.readyz()
    assert (answer.status_code, len(answer.json["warnings"])) == (200, 1)


def test_an_emptied_file_that_is_deleted_afterwards_changes_nothing(processes):
    before = processes.names_of_routes()
    processes.path.write_text("")
    assert processes.names_of_routes() == before
    processes.path.unlink()
    assert processes.names_of_routes() == before
    processes.path.write_bytes(b"\xff\xfe")
    assert processes.names_of_routes() == before
    assert processes.removed() == [None, None]


def test_a_source_that_received_a_delivery_is_held_back_and_one_that_did_not_is_not(processes):
    without_hubspot = WHOLE.replace(
        WHOLE[WHOLE.index("[sources.hubspot]") : WHOLE.index("[sources.salesforce]")], ""
    ).replace(WHOLE[WHOLE.index('[[routes]]\nname = "callback date') : WHOLE.index(LEAD)], "")
    processes.receive_form()
    processes.path.write_text(without_hubspot)
    assert [set(each.config.sources) for each in (processes.web, processes.worker)] == [
        {"salesforce", "forms"}
    ] * 2
    write_config(processes.path.parent, WHOLE)
    assert "hubspot" in processes.web.config.sources
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" in processes.web.config.sources
    assert processes.removed()[0] == (Removal("source", "forms"),)


def test_a_source_whose_deliveries_are_all_older_than_a_week_is_removed(processes):
    processes.receive_form(days=7, minutes=1)
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" not in processes.web.config.sources


def test_a_source_whose_deliveries_are_rejected_is_in_use_as_well(processes):
    processes.receive_form("refused")
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" in processes.web.config.sources


def test_an_account_is_held_back_while_it_has_queued_recalls(processes):
    processes.queue_recall()
    processes.path.write_text(WITHOUT_BOGOTA)
    assert processes.accounts() == {("bogota", "lima")}
    assert Removal("account", "bogota") in processes.removed()[0]


def test_an_account_without_queued_recalls_is_removed(processes):
    quito = account("quito", token="token-of-quito")
    processes.path.write_text(WHOLE + quito)
    assert processes.accounts() == {("bogota", "lima", "quito")}
    processes.path.write_text(WHOLE)
    assert processes.accounts() == {("bogota", "lima")}


def test_an_api_key_that_was_used_is_held_back_and_one_that_was_not_is_not(processes):
    processes.web.configuration.note_key("zapier")
    unused = 'partner = { key = "env:PARTNER_KEY", accounts = ["lima"] }\n'
    processes.path.write_text(WHOLE.replace(unused, ""))
    assert set(processes.web.config.api_keys) == {"zapier"}
    processes.path.write_text(WHOLE.replace('zapier = "env:ZAPIER_KEY"\n', "").replace(unused, ""))
    assert set(processes.web.config.api_keys) == {"zapier"}
    assert processes.removed()[0] == (Removal("api key", "zapier"),)


def test_all_alert_rules_are_held_back_and_one_of_two_is_not(processes):
    two = WHOLE + '[[alerts.rules]]\nkind = "no-worker"\n'
    processes.path.write_text(two)
    assert len(processes.web.config.alerts.rules) == 2
    processes.path.write_text(WHOLE)
    assert len(processes.web.config.alerts.rules) == 1
    processes.path.write_text(WHOLE.replace('[[alerts.rules]]\nkind = "queue-stopped"\n', ""))
    assert len(processes.web.config.alerts.rules) == 1
    assert processes.removed()[0] == (Removal("alert rules"),)


def test_a_restored_file_ends_the_pending_change(processes):
    processes.path.write_text(BEFORE_ROUTES)
    assert processes.web.config.routes
    assert processes.removed()[0] is not None
    processes.path.write_text(WHOLE)
    assert processes.web.config.routes
    assert processes.removed()[0] is None
    assert processes.readyz()[0].json["warnings"] == []


def test_a_restart_takes_the_file_as_it_is(processes):
    processes.path.write_text(BEFORE_ROUTES)
    assert processes.start().config.routes == ()
    assert processes.web.config.routes


# --- all processes alike -----------------------------------------------------------------------


def test_a_change_that_one_process_holds_back_is_held_back_by_those_that_look_later(processes):
    processes.receive_form()
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" in processes.web.config.sources
    processes.client.delete("{ringback}:source:forms")
    assert "forms" in processes.worker.config.sources
    assert processes.removed() == [(Removal("source", "forms"),)] * 2


def test_a_change_that_one_process_uses_is_used_by_those_that_look_later(processes):
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" not in processes.web.config.sources
    processes.receive_form()
    assert "forms" not in processes.worker.config.sources


def test_while_the_store_is_away_nothing_is_removed(tmp_path, start_valkey):
    server = start_valkey()
    processes = Processes(tmp_path, server.client())
    server.kill()
    processes.path.write_text(WITHOUT_FORMS)
    assert "forms" in processes.web.config.sources
    server.start()
    assert "forms" not in processes.web.config.sources


def test_an_idle_process_looks_by_itself(processes):
    ConfigRefresher(processes.web.configuration).start()
    processes.path.write_text(WHOLE.replace("queue-stopped", "no-worker"))
    wait_until(lambda: processes.web.configuration.watch.current.alerts.rules[0].kind == "no-worker")


# --- the operator ------------------------------------------------------------------------------


def test_an_accepted_change_is_used_by_all_processes(processes, tmp_path, store):
    run = Ringback(processes.path, {"REDIS_URL": url_of(store)})
    processes.path.write_text(BEFORE_ROUTES)
    assert processes.names_of_routes() != {()}
    (pending,) = run.json("check")["pending"]
    assert "[[alerts.rules]]" in pending["removes"]
    assert f"change {pending['digest']} is pending" in run("check").stdout
    done = run("config", "accept")
    assert done.exit_code == 0, done.output
    assert '[[routes]] source = "forms"' in done.stdout
    assert processes.names_of_routes() == {()}
    assert processes.removed() == [None, None]
    (entry,) = processes.web.audit.page(limit=10)[0]
    assert (entry.who, entry.what, entry.about) == (
        "command line",
        "accept configuration",
        (pending["digest"],),
    )


def test_with_nothing_pending_there_is_nothing_to_accept(processes, store):
    run = Ringback(processes.path, {"REDIS_URL": url_of(store)})
    assert run.json("check")["pending"] == []
    done = run("config", "accept")
    assert (done.exit_code, "no such change" in done.stderr) == (1, True)


def test_of_several_pending_changes_one_must_be_named(processes, tmp_path, store):
    run = Ringback(processes.path, {"REDIS_URL": url_of(store)})
    processes.path.write_text(BEFORE_ROUTES)
    assert processes.web.config.routes
    first = processes.web.configuration.pending.digest
    processes.path.write_text(BEFORE_ROUTES + '[vars]\nx = "1"\n')
    assert processes.worker.config.routes
    second = processes.worker.configuration.pending.digest
    assert run("config", "accept").exit_code == 1
    assert run.json("config", "accept", second)["digest"] == second
    assert processes.worker.config.vars == {"x": "1"}
    changes = ConfigChanges(processes.web.store)
    assert (changes.is_accepted(first), changes.is_accepted(second)) == (False, True)


def test_a_pending_change_is_an_alert_also_if_it_removes_all_rules(processes):
    monitor = AlertMonitor(processes.web, "web:1", SilentReporter())
    monitor.look()
    assert processes.web.alerts.holding() == []
    processes.path.write_text(WHOLE[: WHOLE.index("[[alerts.rules]]")])
    monitor.look()
    (alert,) = processes.web.alerts.holding()
    assert (alert.kind, alert.on, alert.channels) == ("config-pending", True, frozenset({"chat"}))
    assert alert.values == {"removed": "[[alerts.rules]]"}
    for language, title in (
        ("en", "A change of the configuration is pending"),
        ("es", "Hay un cambio pendiente de la"),
    ):
        page = Pages(processes.web, language=language).get("/").text
        assert title in page
        assert "[[alerts.rules]]" in page


# --- a source without a route ------------------------------------------------------------------


def test_a_source_without_any_route_parks_its_events(tmp_path, store):
    processes = Processes(tmp_path, store)
    processes.path.write_text(WHOLE.replace(FORM_ROUTE, ""))
    web = processes.start()
    _, (outcome,), _ = form_delivery(web, "C1")
    assert (outcome.field, outcome.found) == ("route", "missing, because this source has no route")
    web.binding.bind()
    assert web.admission.admit(*form_delivery(web, "C1")).answer.parked == 1
    processes.path.write_text(WHOLE)
    done = web.parked.remap(ParkedFilter(source="forms"), datetime.now(UTC))
    assert (len(done.recalls), done.still_parked) == (1, 0)
