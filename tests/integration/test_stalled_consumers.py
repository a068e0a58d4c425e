"""A worker that is there but takes no wake-ups: its queues are worked off, it shows, and it is reports once.

The consumer of a real Celery worker is cancelled: it stays connected, answers pings, and takes nothing.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from celery import Celery

from integration.celery_app import app as ours
from integration.config.environment import broker_url_for
from integration.domain.recall import State
from integration.web.metrics.snapshot import read_figures
from support.waiting import wait_until
from support.worker_processes import WorkerProcesses

pytestmark = pytest.mark.thorough

LIMITS = "timeout_seconds = 2\nserver_limit_seconds = 1\n"


class SentryServer(ThreadingHTTPServer):
    """Takes what the SDK sends, on this machine."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Taker)
        self.messages = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def dsn(self):
        return f"http://key@127.0.0.1:{self.server_port}/1"

    def reports(self, words):
        return [message for message in self.messages if words in message]


class _Taker(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        for line in body.split(b"\n"):
            event = json.loads(line) if line.startswith(b"{") else {}
            if event.get("message"):
                self.server.messages.append(event["message"])
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def sentry():
    server = SentryServer()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def workers_running(tmp_path, start_valkey, sandbox):
    workers_running = WorkerProcesses(tmp_path, start_valkey(), sandbox, LIMITS)
    yield workers_running
    workers_running.kill_workers()


def as_an_operator(workers_running):
    """What an operator's `celery` is."""
    celery = Celery("ringback", broker=broker_url_for(workers_running.server.url))
    celery.conf.update(broker_transport_options=ours.conf.broker_transport_options)
    return celery


def worked_off(workers_running, celery, customer):
    recall = workers_running.ask(customer)
    # As the web does.
    celery.send_task("ringback.drain", args=workers_running.wake_up(), queue="ringback")
    wait_until(lambda: workers_running.state(recall) is State.ACCEPTED, 60, what="the recall")


def only_process(workers_running):
    (process,) = workers_running.services.processes.all()
    return process


@pytest.mark.timeout(240)
def test_the_queues_of_a_stalled_worker_are_worked_off_and_it_shows_until_it_recovers(
    workers_running, sentry
):
    workers_running.start_worker(SENTRY_DSN=sentry.dsn)
    celery = as_an_operator(workers_running)
    worked_off(workers_running, celery, "before")
    assert celery.control.cancel_consumer("ringback", reply=True, timeout=60, limit=1)
    assert celery.control.broadcast("ping", reply=True, timeout=60, limit=1)

    def stalled():
        worked_off(workers_running, celery, f"c{time.monotonic_ns()}")
        return only_process(workers_running).stalled_since is not None

    wait_until(stalled, 120, what="the stalled consumers")
    process = only_process(workers_running)
    assert process.drains_by_sweep >= 3
    assert process.stalled_since > process.wake_up_at
    assert read_figures(workers_running.services).counts["drains:sweep"] >= 3
    # A queue with work, while the call is under way.
    workers_running.sandbox.add_rule(action="delay", seconds=1.5, times=1)
    workers_running.ask("slow")
    workers_running.ask("behind it")
    wait_until(
        lambda: "taken no wake-ups" in (workers_running.services.accounts.get("bogota").reason or ""),
        60,
        what="the reason",
    )
    wait_until(lambda: len(sentry.reports("takes no wake-ups")) == 1, 60, what="the report")

    assert celery.control.add_consumer("ringback", reply=True, timeout=60, limit=1)
    worked_off(workers_running, celery, "after")
    wait_until(lambda: only_process(workers_running).stalled_since is None, 60, what="the end of it")
    wait_until(lambda: len(sentry.reports("takes wake-ups again")) == 1, 60, what="the report of its end")
    assert "taken no wake-ups" not in (workers_running.services.accounts.get("bogota").reason or "")
    assert len(sentry.reports("takes no wake-ups")) == 1
    assert workers_running.sandbox.stats()["overlaps"] == []


@pytest.mark.timeout(120)
def test_with_a_broker_that_nobody_listens_to_all_is_worked_off_by_the_sweep(workers_running):
    workers_running.start_worker(BROKER_URL=workers_running.server.url.replace("/0", "/9"))
    recalls = [workers_running.ask(f"c{n}") for n in range(5)]
    wait_until(
        lambda: all(workers_running.state(r) is State.ACCEPTED for r in recalls), 60, what="all recalls"
    )
    assert workers_running.sandbox.stats()["overlaps"] == []
