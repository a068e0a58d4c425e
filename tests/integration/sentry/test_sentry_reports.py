"""What is reported: exceptions that are logged, log lines beside them, dead recalls, stopped queues, alerts."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import pytest
import sentry_sdk
import structlog

from integration.store.scripting.protocol import EpochLoss
from integration.telemetry import logging as logs
from integration.telemetry.sentry import MOST_A_MINUTE, SentryReporter
from support.planted import NAME, PLANTED, TELEPHONE, assert_clean

# --- log lines ---------------------------------------------------------------------------------


@pytest.fixture
def log_set_up():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    logs.configure("INFO", json=True)
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def test_an_exception_that_is_logged_is_reported_once_with_its_line(log_set_up, sentry):
    log = structlog.get_logger("ringback.worker")
    try:
        raise OSError("the disk is gone")
    except OSError:
        log.exception("the sweep goes on after a fault", during="purge")
    [event] = sentry.events()
    assert event["logentry"]["message"] == "the sweep goes on after a fault"
    assert event["exception"]["values"][0]["value"] == "the disk is gone"
    assert event["logger"] == "ringback.worker"


def test_an_exception_that_a_library_logs_is_reported(log_set_up, sentry):
    try:
        raise OSError("gone")
    except OSError:
        logging.getLogger("kombu").exception("cannot say %s", TELEPHONE)
    [event] = sentry.events()
    assert event["exception"]["values"][0]["type"] == "OSError"
    assert_clean(sentry.everything())


def test_what_the_sdk_logs_of_itself_is_not_reported(sentry):
    try:
        raise OSError("inside")
    except OSError:
        logging.getLogger("sentry_sdk.errors").exception("internal error")
    assert sentry.events() == []


def test_an_error_line_without_an_exception_is_no_event(log_set_up, sentry):
    structlog.get_logger("ringback.drain").error("queue stopped", account="bogota")
    try:
        raise OSError("handled")
    except OSError:
        structlog.get_logger("ringback.drain").error("handled")
    assert sentry.events() == []


def test_log_lines_become_breadcrumbs_with_their_harmless_facts_only(log_set_up, sentry):
    structlog.get_logger("ringback.drain").info("pushed", account="bogota", recall="rc_00000001ab", body=NAME)
    logging.getLogger("celery").info("says %s", PLANTED)
    sentry_sdk.capture_message("hello")
    crumbs = sentry.events()[0]["breadcrumbs"]["values"]
    [pushed] = [crumb for crumb in crumbs if crumb.get("message") == "pushed"]
    assert pushed["data"] == {"account": "bogota", "recall": "rc_00000001ab", "logger": "ringback.drain"}
    assert NAME not in sentry.everything()
    assert_clean(sentry.everything())


# --- dead recalls and stopped queues ------------------------------------------------------------


@dataclass
class Dead:
    recall_id: str = "rc_00000001ab"
    account: str = "bogota"
    campaign_id: str = "67812"
    customer_id: str = "C-99"
    telephone: str = "3001112233"


def test_a_dead_recall_is_grouped_by_verdict_and_account_and_names_no_customer(sentry):
    reason = f"wolkvox refuses it: customer_id C-99 in 67812 to {TELEPHONE}, 3001112233"
    SentryReporter().dead(Dead(), "refused", reason)
    [event] = sentry.events()
    assert event["fingerprint"] == ["recall-dead", "refused", "bogota"]
    assert event["tags"]["recall"] == "rc_00000001ab"
    assert event["tags"]["verdict"] == "refused"
    assert event["tags"]["account"] == "bogota"
    assert event["message"].startswith("recall dead: bogota: wolkvox refuses it")
    for private in ("C-99", "67812", "3001112233"):
        assert private not in sentry.everything()


def test_a_stopped_queue_is_grouped_by_account(sentry):
    SentryReporter().stopped("bogota", "PLEASE VALIDATE TOKEN")
    [event] = sentry.events()
    assert event["fingerprint"] == ["queue-stopped", "bogota"]
    assert event["level"] == "error"
    assert "PLEASE VALIDATE TOKEN" in event["message"]


def test_a_stalled_worker_is_reported_and_that_it_recovers(sentry):
    SentryReporter().consumers_stalled("host-1:4711", 21.4)
    SentryReporter().consumers_recovered("host-1:4711", 80.0)
    stalled, hears = sentry.events()
    assert stalled["message"].startswith("worker takes no wake-ups: host-1:4711: none taken for 21 s")
    assert (stalled["level"], stalled["fingerprint"]) == ("error", ["worker-stalled"])
    assert hears["message"] == "worker takes wake-ups again: host-1:4711: after 80 s"
    assert (hears["level"], hears["fingerprint"]) == ("info", ["worker-recovered"])


def test_a_store_that_lost_its_history_is_reported_with_what_it_lacks(sentry):
    SentryReporter().store_lost(EpochLoss(how="went back", missing=12))
    SentryReporter().store_lost(EpochLoss(how="was emptied", missing=None))
    back, emptied = sentry.events()
    assert back["message"].startswith(
        "the store went back: at least 12 changes are missing; each queue waits"
    )
    assert (back["level"], back["fingerprint"]) == ("error", ["store-lost", "went back"])
    assert emptied["message"].startswith("the store was emptied: each queue waits")


def test_an_alert_is_an_issue_when_it_begins_and_an_information_when_it_is_over(sentry):
    reporter = SentryReporter()
    reporter.alert_begins("source-silent", "forms")
    reporter.alert_is_over("source-silent", "forms")
    begins, over = sentry.events()
    assert (begins["level"], begins["message"]) == ("error", "alert begins: source-silent: forms")
    assert begins["fingerprint"] == ["alert", "source-silent", "forms"]
    assert begins["tags"]["kind"] == "source-silent"
    assert (over["level"], over["message"]) == ("info", "alert ended: source-silent: forms")
    assert over["fingerprint"] != begins["fingerprint"], "an issue that was resolved is not opened again"


def test_the_sweep_checks_in_at_its_monitor(sentry):
    SentryReporter().swept(0.0123)
    (checkin,) = sentry.items("check_in")
    assert (checkin["monitor_slug"], checkin["status"]) == ("ringback-sweep", "ok")
    assert checkin["duration"] == 0.012
    assert checkin["monitor_config"]["schedule"] == {"type": "interval", "value": 1, "unit": "minute"}
    assert checkin["environment"] == "production"


def test_one_report_leaves_nothing_on_the_next(sentry):
    SentryReporter().dead(Dead(), "refused", "no")
    sentry_sdk.capture_message("hello")
    other = sentry.events()[1]
    assert "fingerprint" not in other
    assert "recall" not in other.get("tags", {})


def test_a_flood_of_one_kind_is_cut_and_hides_no_other(sentry):
    now = [0.0]
    reporter = SentryReporter(clock=lambda: now[0])
    for _ in range(MOST_A_MINUTE + 5):
        reporter.dead(Dead(), "refused", "no")
    reporter.dead(Dead(account="lima"), "refused", "no")
    assert len(sentry.events()) == MOST_A_MINUTE + 1
    now[0] = 60.0
    reporter.dead(Dead(), "refused", "no")
    assert len(sentry.events()) == MOST_A_MINUTE + 2


def test_without_sentry_a_report_costs_next_to_nothing():
    reporter = SentryReporter()
    began = time.perf_counter()
    for _ in range(1000):
        reporter.dead(Dead(), "refused", "no")
    assert time.perf_counter() - began < 1
