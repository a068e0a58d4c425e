"""What processes count reaches the store once: over faults, forks and the end of a process."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from integration.domain.errors import StoreAwayError
from integration.store.monitoring import counter_flusher as counters_module
from integration.telemetry.counters import ADMIT, PUSH_UNIT, Counters
from support import url_of
from support.counting import Counting, counting, counts
from support.waiting import wait_until

ROOT = Path(__file__).parent.parent.parent


# --- in the process ----------------------------------------------------------------------------


def test_counts_are_sums_by_name_and_are_given_once():
    counters = Counters()
    counters.count("wake_ups:published")
    for _ in range(2):
        counters.count("wake_ups:published")
    assert counters.take() == {"counts": {"wake_ups:published": 3}}
    assert counters.take() == {}


def test_a_histogram_counts_its_bucket_and_sums_microseconds():
    counters = Counters()
    for seconds in (0.001, 0.0011, 99.0):
        counters.observe(ADMIT, seconds)
    assert counters.take()["counts"] == {
        "admit seconds:0.001": 1,
        "admit seconds:0.0025": 1,
        "admit seconds:+Inf": 1,
        "admit seconds:sum": 99_002_100,
    }


@pytest.mark.parametrize(
    ("result", "source_requests"),
    [
        ("admitted", {"taken:forms": 1}),
        ("again", {"taken:forms": 1}),
        ("not verified", {"refused:forms": 1}),
        ("unreadable", {"refused:forms": 1}),
        ("address verified", {"checked:forms": 1}),
        ("not stored", None),
        ("too many", None),
        ("overloaded", None),
    ],
)
def test_a_store_that_is_away_says_nothing_about_the_sender(result, source_requests):
    counters = Counters()
    counters.delivery("forms", result)
    taken = counters.take()
    assert taken["counts"] == {f"deliveries:forms:{result}": 1, f"results:{result}": 1}
    assert taken.get("source_requests") == source_requests


def test_many_threads_lose_no_count():
    counters = Counters()

    def work():
        for _ in range(2000):
            counters.count("x")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counters.take() == {"counts": {"x": 16000}}


def test_who_counts_first_wakes_the_thread_and_the_next_ones_do_not():
    woken = []
    counters = Counters()
    counters.wake_with(lambda: woken.append(1))
    for _ in range(3):
        counters.count("x")
    assert woken == [1]
    counters.take()
    counters.count("x")
    assert woken == [1, 1]


# --- to the store ------------------------------------------------------------------------------


def test_two_processes_count_into_one_sum(store):
    for by in (2, 3):
        process = counting(store)
        for _ in range(by):
            process.counters.count("wake_ups:published")
        process.flusher.flush()
    assert counts(store) == {"wake_ups:published": 5}


def test_counts_are_there_within_seconds_without_anybody_asking(store):
    counting(store).counters.count("x")
    wait_until(lambda: counts(store) == {"x": 1})


def test_a_reply_that_was_lost_does_not_count_twice(store, monkeypatch):
    process = counting(store)
    process.counters.count("x")
    real = process.store.call

    def lost(*args):
        real(*args)
        raise StoreAwayError("the reply is lost")

    monkeypatch.setattr(process.store, "call", lost)
    with pytest.raises(StoreAwayError):
        process.flusher.flush()
    monkeypatch.setattr(process.store, "call", real)
    for _ in range(10):
        process.counters.count("x")
    process.flusher.flush()
    assert counts(store) == {"x": 11}


def test_what_is_counted_while_the_store_is_away_arrives_when_it_is_back(start_valkey):
    server = start_valkey()
    process = Counting(server.url)
    process.counters.count("x")
    process.flusher.flush()
    server.kill()
    for _ in range(2):
        process.counters.count("x")
    for _ in range(2):
        with pytest.raises(StoreAwayError):
            process.flusher.flush()
    for _ in range(4):
        process.counters.count("x")
    server.start()
    process.flusher.flush()
    with server.client() as client:
        assert counts(client) == {"x": 7}


def test_a_full_store_still_takes_counts(start_valkey):
    server = start_valkey(
        "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"
    )
    process = Counting(server.url)
    with server.client() as client:
        process.counters.count("x")
        process.flusher.flush()
        client.config_set("maxmemory", 1)
        process.counters.count("x")
        process.flusher.flush()
        assert counts(client) == {"x": 2}


def test_a_thread_with_nothing_to_do_ends_and_the_next_count_starts_one(store, monkeypatch):
    monkeypatch.setattr(counters_module, "EVERY_SECONDS", 0.02)
    monkeypatch.setattr(counters_module, "IDLE_SECONDS", 0.1)
    process = counting(store)
    process.counters.count("x")
    wait_until(lambda: process.flusher._thread is None)
    process.counters.count("x")
    wait_until(lambda: counts(store) == {"x": 2})


def test_a_thread_that_is_always_wanted_stays(store, monkeypatch):
    monkeypatch.setattr(counters_module, "EVERY_SECONDS", 0.02)
    monkeypatch.setattr(counters_module, "IDLE_SECONDS", 0.05)
    process = counting(store)
    process.flusher.start(always=True)
    time.sleep(0.5)
    assert process.flusher._thread.is_alive()
    assert store.keys("{ringback}:series:*"), "it notes quiet minutes too"
    process.flusher.stop()
    wait_until(lambda: process.flusher._thread is None)


def test_the_last_outcome_of_each_source_is_remembered(store):
    process = counting(store)

    def source():
        process.flusher.flush()
        return store.hgetall("{ringback}:source:forms")

    process.counters.delivery("forms", "not verified")
    process.counters.delivery("forms", "not verified")
    first = source()
    assert first["refusals"] == "2"
    assert first["refusing"] == first["refused"]
    process.counters.delivery("forms", "unreadable")
    second = source()
    assert (second["refusals"], second["refusing"]) == ("3", first["refusing"])
    process.counters.delivery("forms", "admitted")
    process.counters.delivery("forms", "not verified")
    third = source()
    assert set(third) == {"taken", "refused"}


def test_who_is_taken_and_refused_in_one_second_is_not_refused(store):
    process = counting(store)
    names = [f"source-{n}" for n in range(20)]
    for name in names:
        process.counters.delivery(name, "not verified")
        process.counters.delivery(name, "admitted")
    process.flusher.flush()
    for name in names:
        assert set(store.hgetall(f"{{ringback}}:source:{name}")) == {"taken", "refused"}, name


def test_an_accounts_calls_of_a_minute_lie_in_one_number(store):
    process = counting(store)
    process.counters.pushed("bogota", 0.25)
    process.counters.pushed("bogota", 1.5)
    process.flusher.flush()
    (key,) = store.keys("{ringback}:pushed:*")
    assert store.hgetall(key) == {"bogota": str(2 * PUSH_UNIT + 1750)}
    assert 0 < store.ttl(key) <= 65 * 60


# --- processes ---------------------------------------------------------------------------------

CHILD = """
import os, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from support.waiting import wait_until
from support.counting import Counting, counts
process = Counting({url!r})
process.counters.count("parent")
process.flusher.flush()
process.counters.count("parent, not yet sent")
if os.fork() == 0:
    process.counters.count("child")
    wait_until(lambda: "child" in counts(process.store.client), 50)
    os._exit(0)
os.wait()
{end}
"""


def run(store, end):
    text = CHILD.format(root=str(ROOT), tests=str(ROOT / "tests"), url=url_of(store), end=end)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_a_child_counts_for_itself_and_the_parents_rest_goes_at_its_exit(store):
    run(store, "process.counters.count('at its exit')")
    assert counts(store) == {"parent": 1, "child": 1, "parent, not yet sent": 1, "at its exit": 1}


def test_a_process_that_dies_hard_takes_what_was_not_sent_with_it(store):
    run(store, "process.counters.count('late'); os._exit(0)")
    assert "late" not in counts(store)


SPAWNED = """
import multiprocessing, os, sys
sys.path[:0] = [{root!r}, {tests!r}]
def work(url):
    from support.counting import Counting
    process = Counting(url)
    process.counters.count("spawned")
    del process
if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work, args=({url!r},))
    child.start()
    child.join()
"""


def test_a_child_of_multiprocessing_sends_its_rest_too(store, tmp_path):
    script = tmp_path / "spawned.py"
    script.write_text(SPAWNED.format(root=str(ROOT), tests=str(ROOT / "tests"), url=url_of(store)))
    done = subprocess.run([sys.executable, script], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert counts(store) == {"spawned": 1}


def test_a_count_costs_next_to_nothing():
    counters = Counters()
    started = time.process_time()
    for _ in range(20_000):
        counters.delivery("forms", "admitted")
    assert time.process_time() - started < 2, "100 microseconds each would be far too much"
    assert os.getpid()
