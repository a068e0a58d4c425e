"""Publishing wake-ups never waits for the broker, and continues after an error."""

from __future__ import annotations

import threading

from integration.services.wakeup import WakeUpPublisher
from integration.store.token_queue import WakeUp


def test_a_wake_up_is_published_by_a_thread_of_its_own_with_the_trace_of_its_cause():
    sent, done = [], threading.Event()

    def send(*message):
        sent.append((*message, threading.current_thread().name))
        done.set()

    here = threading.local()
    here.trace = {"sentry-trace": "of-the-request"}
    wake_ups = WakeUpPublisher(send, trace=lambda: dict(getattr(here, "trace", {})))
    wake_ups.publish(WakeUp("L1", 7))
    assert done.wait(10)
    assert sent == [("ringback.drain", ("L1", 7), {"sentry-trace": "of-the-request"}, "wake-ups")]


def test_the_publisher_connects_at_its_start_and_continues_if_that_fails():
    acts, connected, sent = [], threading.Event(), threading.Event()

    def connect():
        acts.append("connect")
        connected.set()
        raise ConnectionError("the broker is away")

    def send(*_message):
        acts.append("send")
        sent.set()

    wake_ups = WakeUpPublisher(send, connect=connect)
    wake_ups.start()
    assert connected.wait(10)
    wake_ups.publish(WakeUp("L1", 7))
    assert sent.wait(10)
    assert acts == ["connect", "send"]


def test_lookups_are_another_task():
    sent, done = [], threading.Event()

    def send(task, arguments, _headers):
        sent.append((task, arguments))
        done.set()

    WakeUpPublisher(send).publish_lookup("hubspot")
    assert done.wait(10)
    assert sent == [("ringback.look_up", ("hubspot",))]


def test_a_broker_that_hangs_does_not_block_publish():
    hanging, released = threading.Event(), threading.Event()

    def send(*_message):
        hanging.set()
        released.wait(30)

    wake_ups = WakeUpPublisher(send)
    wake_ups.publish(WakeUp("L1", 7))
    assert hanging.wait(10)
    for number in range(20_000):
        wake_ups.publish(WakeUp("L1", number))
    released.set()


def test_after_a_failed_wake_up_the_next_is_published():
    done = threading.Event()

    def send(_task, arguments, _headers):
        if arguments == ("L1", 7):
            raise ConnectionError("the broker is away")
        done.set()

    wake_ups = WakeUpPublisher(send)
    wake_ups.publish(WakeUp("L1", 7))
    wake_ups.publish(WakeUp("L2", 7))
    assert done.wait(10)
