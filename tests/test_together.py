"""Calls sent together: each has its own reply, one that fails harms none, a store that hangs holds nobody up."""

from __future__ import annotations

import os
import queue
import signal
import socket
import threading
import time
from datetime import UTC, datetime

import pytest
import redis

from integration.delivery import Delivery
from integration.errors import StoreAwayError
from integration.plan import plan_delivery
from integration.sources import SOURCES
from support import make_desk, signed, url_of
from workers.store import Store, connect
from workers.together import MOST_CALLS, PATIENCE_SECONDS, TRIPS_AT_ONCE, Together


class Slow(Store):
    """A store whose first trip does not begin until it is told to, so that others gather behind it."""

    def __init__(self, client):
        super().__init__(client)
        self.go = threading.Event()
        self.sizes = []

    def call_all(self, calls):
        self.sizes.append(len(calls))
        assert self.go.wait(10)
        return super().call_all(calls)


def ask(together, *words):
    told = queue.Queue()
    together.call(*words, tell=told.put)
    return told


def test_those_who_wait_share_a_round_trip_and_each_gets_its_own_reply(store):
    slow = Slow(connect(url_of(store)))
    together = Together(slow)
    asked = [ask(together, "pause", f"lane{n}", "why") for n in range(20)]
    slow.go.set()
    assert [told.get(timeout=10)[0] for told in asked] == [""] * 20
    assert sum(slow.sizes) == 20
    assert len(slow.sizes) <= 4
    assert [store.hget(f"{{ringback}}:lane:lane{n}", "paused") for n in range(20)] == ["why"] * 20


def test_one_that_is_refused_harms_none_beside_it(store):
    slow = Slow(connect(url_of(store)))
    together = Together(slow)
    first = ask(together, "sweep", 1)
    asked = [
        ask(together, "pause", "lane", "why"),
        ask(together, "no such command"),
        ask(together, "sweep", 1),
    ]
    slow.go.set()
    replies = [told.get(timeout=10) for told in [first, *asked]]
    assert replies[0] == []
    assert replies[1][0] == ""
    assert isinstance(replies[2], redis.ResponseError)
    assert replies[3] == []


def test_a_store_that_lost_the_script_gets_it_again(store):
    together = Together(Store(connect(url_of(store))))
    assert ask(together, "sweep", 1).get(timeout=10) == []
    store.script_flush()
    assert ask(together, "sweep", 1).get(timeout=10) == []


@pytest.mark.parametrize("how", ["stopped", "gone"])
def test_with_a_store_that_does_not_answer_everybody_is_told_within_two_seconds(start_valkey, how):
    server = start_valkey()
    together = Together(Store(connect(server.url, timeout_seconds=1.2, connect_seconds=0.4)))
    assert ask(together, "sweep", 1).get(timeout=10) == []
    if how == "stopped":
        os.kill(server.pid, signal.SIGSTOP)
    else:
        server.kill()
    took = []
    asked = []
    for _ in range(12):
        asked.append((time.monotonic(), ask(together, "sweep", 1)))
        time.sleep(0.1)
    for at, told in asked:
        assert isinstance(told.get(timeout=10), StoreAwayError)
        took.append(time.monotonic() - at)
    # Each was told when it was due; what is measured here may be late by what this thread waited.
    assert max(took) < 2.5
    if how == "stopped":
        os.kill(server.pid, signal.SIGCONT)
        assert ask(together, "sweep", 1).get(timeout=10) == []


def one_delivery(desk):
    """A delivery of one event, and what follows from it."""
    body = b'{"customer":"C1","phone":"3001112233","at":"2030-01-01T10:00:00-05:00"}'
    headers = {k.lower(): v for k, v in signed(desk, "forms", body, url="u").items()}
    now = datetime.now(UTC)
    delivery = Delivery(
        id="dl_1", source="forms", method="POST", url="u", headers=headers, body=body, received_at=now
    )
    events = SOURCES["json"].read(delivery, desk.config.sources["forms"])
    return delivery, plan_delivery(desk.book, delivery, events, now), body


def admit_soon(desk):
    told = queue.Queue()
    desk.admit_soon(*one_delivery(desk), told.put)
    return told.get(timeout=10)


def test_an_admission_is_told_only_when_the_store_has_it(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    admitted = admit_soon(desk)()
    assert len(admitted.answer.recalls) == 1
    assert store.exists(f"{{ringback}}:recall:{admitted.answer.recalls[0]}")


def test_a_full_store_is_told_as_one_that_cannot_take_it(tmp_path, start_valkey):
    with start_valkey().client() as client:
        desk = make_desk(tmp_path, client)
        desk.bind()
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreAwayError):
            admit_soon(desk)()
        assert client.keys("*recall*") == []
        client.config_set("maxmemory", "0")
        assert len(admit_soon(desk)().answer.recalls) == 1


def test_an_admission_into_a_store_that_was_emptied_is_not_acknowledged_and_the_next_one_binds(
    tmp_path, store
):
    desk = make_desk(tmp_path, store)
    desk.bind()
    store.flushall()
    with pytest.raises(StoreAwayError):
        admit_soon(desk)()
    assert not desk.at_hand
    assert len(desk.admit(*one_delivery(desk)).answer.recalls) == 1


class Away:
    """A store that cannot be reached, and says so only when it is told to."""

    def __init__(self):
        self.sizes = []
        self.may_say_so = threading.Semaphore(0)

    def call_all(self, calls):
        self.sizes.append(len(calls))
        self.may_say_so.acquire(timeout=20)
        raise StoreAwayError("TimeoutError")


def test_who_waited_too_long_is_told_with_those_whose_trip_failed():
    away, now = Away(), [100.0]
    together = Together(away, clock=lambda: now[0])
    asked = [ask(together, "sweep", 1) for _ in range(3 * MOST_CALLS)]
    assert eventually(lambda: len(away.sizes) == TRIPS_AT_ONCE)
    now[0] += PATIENCE_SECONDS * 2
    away.may_say_so.release()
    # All but those of the other trip, which is still under way.
    longest = max(away.sizes)
    assert eventually(lambda: sum(told.qsize() for told in asked) >= len(asked) - longest)
    away.may_say_so.release(100)


def eventually(holds, seconds=10.0):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def test_the_store_is_asked_once_whatever_comes_of_it():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        came = []

        def hang_up():
            while True:
                connection, _ = listening.accept()
                came.append(connection)
                connection.recv(65536)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        store = Store(connect(f"redis://127.0.0.1:{listening.getsockname()[1]}/0"))
        with pytest.raises(StoreAwayError):
            store.call("sweep", 1)
        assert len(came) == 1
