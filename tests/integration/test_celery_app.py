"""How Celery is set: a wake-up on its way must never cost a worker its life."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import sys
from pathlib import Path

import pytest
import redis
from kombu import Consumer, Exchange, Queue
from kombu.common import ignore_errors

from integration.celery_app import app, publish
from integration.local.child_process import spawn
from integration.local.supervisor import free_port
from integration.store.token_queue import WakeUp
from support import ENVIRON, write_config
from support.procfile import ROOT, procfile_line
from support.waiting import wait_until


@pytest.fixture
def raw(valkey):
    url = f"{valkey.url.rsplit('/', 1)[0]}/9"
    with redis.Redis.from_url(url, decode_responses=True) as client:
        client.flushdb()
        yield client
        client.flushdb()


@pytest.fixture
def broker(valkey, raw):
    url = f"{valkey.url.rsplit('/', 1)[0]}/9"
    with app.connection(url, transport_options=app.conf.broker_transport_options) as connection:
        yield connection


@pytest.fixture
def publishing(valkey, raw, monkeypatch):
    """Let this process publish to the broker, whatever an earlier test connected it to."""
    monkeypatch.setattr(app.conf, "broker_url", f"{valkey.url.rsplit('/', 1)[0]}/9")
    monkeypatch.setattr(app, "_pool", None)
    monkeypatch.setattr(app.amqp, "_producer_pool", None)


def test_a_worker_logs_in_its_form_from_the_first_line_on(tmp_path):
    log = tmp_path / "worker.log"
    environ = {
        **os.environ,
        **ENVIRON,
        "RINGBACK_CONFIG": str(write_config(tmp_path)),
        "REDIS_URL": f"redis://127.0.0.1:{free_port()}",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environ.pop("BROKER_URL", None)
    with log.open("wb") as out:
        worker = spawn(["sh", "-c", f"exec {procfile_line('worker')}"], env=environ, cwd=ROOT, output=out)
    try:
        wait_until(lambda: b"waiting for the store" in log.read_bytes(), 60, what="the first line")
    finally:
        worker.kill()
    said = next(line for line in log.read_text().splitlines() if "waiting for the store" in line)
    assert json.loads(said)["level"] == "warning"


def take_one(connection):
    """Take a wake-up as a worker does, and stop before it is acknowledged."""
    taken = []
    queue = Queue("bells", Exchange("bells"), "bells")
    connection.Producer().publish(
        {"queue": "l"}, exchange=queue.exchange, routing_key="bells", declare=[queue]
    )
    consumer = Consumer(connection, [queue], callbacks=[lambda _, message: taken.append(message)])
    consumer.consume()
    connection.drain_events(timeout=10)
    return taken[0]


def lose_the_broker(connection, raw):
    """Cut the line while the consumer, and another one on the same connection, wait for a message."""
    other = connection.channel()
    with Consumer(other, [Queue("other", Exchange("other"), "other")]):
        _lose(connection, raw)


def _lose(connection, raw):
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.1)
    for client in raw.client_list():
        if client["db"] == "9" and client["cmd"] != "client|list":
            raw.client_kill_filter(_id=client["id"])


def test_a_broker_lost_with_a_wake_up_in_hand_does_not_end_the_worker(broker, raw, caplog):
    take_one(broker)
    lose_the_broker(broker, raw)
    # As Celery does it (`on_connection_error_after_connected`): what else is raised here ends the worker.
    with contextlib.suppress(Exception):
        broker.collect()
    ignore_errors(broker, broker.close)
    assert [line for line in caplog.messages if "RESTORE" in line or "DUMP" in line] == []


def test_a_wake_up_in_hand_leaves_nothing_in_the_broker(broker, raw):
    take_one(broker)
    assert [key for key in raw.keys("*") if "unacked" in key] == []


def test_a_wake_up_in_the_broker_is_a_queues_id_and_a_number_and_nothing_else(publishing, raw):
    publish("ringback.drain", WakeUp("3f9a77c1", 7), {})
    (message,) = raw.lrange("{ringback}:celery:ringback", 0, -1)
    words, named, _ = json.loads(base64.b64decode(json.loads(message)["body"]))
    assert (words, named) == (["3f9a77c1", 7], {})


def test_a_look_up_does_not_wait_behind_the_wake_ups_of_busy_queues(publishing, broker, raw):
    for number in range(20):
        publish("ringback.drain", WakeUp("3f9a77c1", number), {})
    publish("ringback.look_up", ("hubspot",), {})
    taken = []

    def take(message):
        taken.append(message.headers["task"])
        message.ack()

    consumer = Consumer(broker, list(app.amqp.queues.values()), on_message=take)
    consumer.qos(prefetch_count=1)
    consumer.consume()
    while len(taken) < 4:
        broker.drain_events(timeout=10)
    assert "ringback.look_up" in taken
