"""A worker that is there but takes no wake-ups: its queues are worked off, it shows, and it is told once.

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
from integration.web.metrics.figures import read_figures
from support.plant import Plant
from support.waiting import wait_until

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

    def told(self, words):
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
def plant(tmp_path, start_valkey, sandbox):
    plant = Plant(tmp_path, start_valkey(), sandbox, LIMITS)
    yield plant
    plant.kill_workers()


def as_an_operator(plant):
    """What an operator's `celery` is."""
    celery = Celery("ringback", broker=broker_url_for(plant.server.url))
    celery.conf.update(broker_transport_options=ours.conf.broker_transport_options)
    return celery


def worked_off(plant, celery, customer):
    recall = plant.ask(customer)
    # As the web does.
    celery.send_task("ringback.drain", args=plant.wake_up(), queue="ringback")
    wait_until(lambda: plant.state(recall) is State.ACCEPTED, 60, what="the recall")


def only_process(plant):
    (process,) = plant.services.processes.all()
    return process


@pytest.mark.timeout(240)
def test_the_queues_of_a_stalled_worker_are_worked_off_and_it_shows_until_it_recovers(plant, sentry):
    plant.start_worker(SENTRY_DSN=sentry.dsn)
    celery = as_an_operator(plant)
    worked_off(plant, celery, "before")
    assert celery.control.cancel_consumer("ringback", reply=True, timeout=60, limit=1)
    assert celery.control.broadcast("ping", reply=True, timeout=60, limit=1)

    def stalled():
        worked_off(plant, celery, f"c{time.monotonic_ns()}")
        return only_process(plant).stalled_since is not None

    wait_until(stalled, 120, what="the stalled consumers")
    process = only_process(plant)
    assert process.drains_by_sweep >= 3
    assert process.stalled_since > process.wake_up_at
    assert read_figures(plant.services).counts["drains:sweep"] >= 3
    # A queue with work, while the call is under way.
    plant.sandbox.add_rule(action="delay", seconds=1.5, times=1)
    plant.ask("slow")
    plant.ask("behind it")
    wait_until(
        lambda: "take no wake-ups" in (plant.services.accounts.get("bogota").reason or ""),
        60,
        what="the reason",
    )
    wait_until(lambda: len(sentry.told("takes no wake-ups")) == 1, 60, what="the report")

    assert celery.control.add_consumer("ringback", reply=True, timeout=60, limit=1)
    worked_off(plant, celery, "after")
    wait_until(lambda: only_process(plant).stalled_since is None, 60, what="the end of it")
    wait_until(lambda: len(sentry.told("takes wake-ups again")) == 1, 60, what="the report of its end")
    assert "take no wake-ups" not in (plant.services.accounts.get("bogota").reason or "")
    assert len(sentry.told("takes no wake-ups")) == 1
    assert plant.sandbox.stats()["overlaps"] == []


@pytest.mark.timeout(120)
def test_with_a_broker_that_nobody_listens_to_all_is_worked_off_by_the_sweep(plant):
    plant.start_worker(BROKER_URL=plant.server.url.replace("/0", "/9"))
    recalls = [plant.ask(f"c{n}") for n in range(5)]
    wait_until(lambda: all(plant.state(r) is State.ACCEPTED for r in recalls), 60, what="all recalls")
    assert plant.sandbox.stats()["overlaps"] == []
