"""The doorbell: ringing waits for nobody, and losing a ring loses nothing but time."""

from __future__ import annotations

import threading

from workers.doorbell import Doorbell


def test_a_ring_carries_the_trace_of_whoever_rang():
    rung, heard = [], threading.Event()

    def publish(lane, headers):
        rung.append((lane, headers, threading.current_thread().name))
        heard.set()

    here = threading.local()
    here.trace = {"sentry-trace": "of-the-request"}
    bell = Doorbell(publish, publish, trace=lambda: dict(getattr(here, "trace", {})))
    bell.ring("L1")
    assert heard.wait(10)
    assert rung == [("L1", {"sentry-trace": "of-the-request"}, "doorbell")]


def test_lanes_and_lookups_have_bells_of_their_own():
    heard = {"lane": threading.Event(), "lookup": threading.Event()}
    bell = Doorbell(lambda *_: heard["lane"].set(), lambda *_: heard["lookup"].set())
    bell.ring_lookup("hubspot")
    assert heard["lookup"].wait(10)
    assert not heard["lane"].is_set()


def test_a_broker_that_hangs_holds_nobody_up():
    hanging, released = threading.Event(), threading.Event()

    def publish(_lane, _headers):
        hanging.set()
        released.wait(30)

    bell = Doorbell(publish, publish)
    bell.ring("L1")
    assert hanging.wait(10)
    for number in range(20_000):
        bell.ring(f"L{number}")
    released.set()


def test_a_ring_that_cannot_be_published_is_followed_by_the_next():
    heard = threading.Event()

    def publish(lane, _headers):
        if lane == "L1":
            raise ConnectionError("the broker is away")
        heard.set()

    bell = Doorbell(publish, publish)
    bell.ring("L1")
    bell.ring("L2")
    assert heard.wait(10)


def test_a_silent_bell_rings_for_nobody():
    Doorbell.silent().ring("L1")
