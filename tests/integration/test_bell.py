"""The bell in the store: what it rings is taken by Celery as its own, and it rings for who is asleep alone."""

from __future__ import annotations

import json

import pytest
from kombu import Consumer, Queue

from integration.app import _bell
from support import form_delivery, make_desk, url_of
from workers.bell import NO_BELL, bell_of, hang
from workers.celery_app import app
from workers.tasks import TAKE_TURN

QUEUE = "{ringback}:celery:ringback"


@pytest.fixture
def desk(tmp_path, store):
    made = make_desk(tmp_path, store)
    made._bell = bell_of(app, TAKE_TURN)
    made.bind()
    return made


def admit(desk, customer="C1"):
    delivery, outcomes, body = form_delivery(desk, customer)
    return desk.ledger.admit(delivery, outcomes, desk.keeping("forms"), raw=body)


def taken(store, number):
    """Take messages as a worker does; gives what Celery's tasks would be handed."""
    found = []
    options = app.conf.broker_transport_options
    with app.connection(url_of(store), transport_options=options) as connection:
        queue = Queue("ringback")
        consumer = Consumer(
            connection, [queue], callbacks=[lambda body, message: found.append((body, message))]
        )
        with consumer:
            while len(found) < number:
                connection.drain_events(timeout=10)
                found[-1][1].ack()
    return found


def test_what_it_rings_is_what_celery_rings(desk, store, monkeypatch):
    lane = desk.lanes.bound()["bogota"]
    assert admit(desk).lanes == ()
    assert store.keys("*celery*") == [QUEUE]
    monkeypatch.setattr(app.conf, "broker_url", url_of(store))
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        app.send_task(TAKE_TURN, args=(lane,), producer=producer, ignore_result=True)
    (ours, one), (theirs, other) = taken(store, 2)
    assert ours == theirs == [[lane], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
    own = {"id", "root_id", "origin"}
    assert {k: v for k, v in one.headers.items() if k not in own} == {
        k: v for k, v in other.headers.items() if k not in own
    }
    assert one.headers["id"] == one.properties["correlation_id"] == one.headers["root_id"] != ""
    assert (one.content_type, one.content_encoding) == (other.content_type, other.content_encoding)
    assert one.delivery_info == other.delivery_info


def test_it_rings_once_for_a_lane_that_is_asleep_and_each_ring_has_a_name_of_its_own(desk, store):
    admit(desk, "C1")
    admit(desk, "C2")
    assert store.llen(QUEUE) == 1
    # As a worker leaves a lane that has nothing more to do.
    lane = desk.lanes.bound()["bogota"]
    store.hset(f"{{ringback}}:lane:{lane}", "rung", 0)
    store.zrem("{ringback}:due", lane)
    admit(desk, "C3")
    names = {message.headers["id"] for _, message in taken(store, 2)}
    assert len(names) == 2
    assert store.hget("{ringback}:counts", "doorbells:rung") == "2"


def test_a_message_holds_a_lanes_id_and_nothing_of_a_customer(desk, store):
    admit(desk)
    [message] = store.lrange(QUEUE, 0, -1)
    assert desk.lanes.bound()["bogota"] in message
    assert "3001112233" not in message
    assert "C1" not in message
    assert "<" not in message


def test_where_none_hangs_the_caller_rings(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    assert len(admit(desk).lanes) == 1
    assert store.llen(QUEUE) == 0


def test_it_is_taken_down_when_the_broker_is_elsewhere_and_hung_again_in_a_store_that_was_emptied(
    desk, store
):
    hang(desk.store, NO_BELL)
    assert len(admit(desk).lanes) == 1
    store.flushall()
    desk._bound = None
    desk.bind()
    assert admit(desk, "C2").lanes == ()


def test_a_full_store_goes_without(tmp_path, start_valkey):
    with start_valkey().client() as client:
        desk = make_desk(tmp_path, client)
        desk.bind()
        client.config_set("maxmemory", "1")
        hang(desk.store, bell_of(app, TAKE_TURN))
        client.config_set("maxmemory", "0")
        assert client.hget("{ringback}:meta", "bell") is None


@pytest.mark.parametrize(
    ("broker", "hangs"),
    [
        ("", True),
        ("redis://store:6379/0", True),
        ("redis://store:6379/1", False),
        ("redis://other:6379/0", False),
    ],
)
def test_it_hangs_where_the_store_is_the_broker(broker, hangs):
    bell = _bell({"REDIS_URL": "redis://store:6379/0", "BROKER_URL": broker})
    assert (bell != NO_BELL) is hangs


def test_two_processes_make_the_same(monkeypatch):
    assert bell_of(app, TAKE_TURN) == bell_of(app, TAKE_TURN)
    assert "gen" not in json.loads(bell_of(app, TAKE_TURN).message)["headers"]["origin"]
