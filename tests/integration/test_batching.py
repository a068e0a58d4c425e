"""Script calls that share a round trip: each has its own reply, one that fails harms none, none waits too long."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from integration.domain.errors import StoreAwayError
from integration.store.client import Store, connect
from integration.store.deliveries import admission_args
from integration.store.scripting import batching
from integration.store.scripting.batching import (
    MOST_CALLS,
    PATIENCE_SECONDS,
    RUN_BYTES,
    RUN_CALLS,
    ScriptBatcher,
    _Call,
    _runs,
)
from integration.store.scripting.protocol import ScriptProtocol
from support import form_delivery, make_services, url_of
from support.waiting import wait_until


def store_at(url):
    return Store(connect(url, timeout_seconds=1.2, connect_seconds=0.4))


class AtOnce:
    """Makes calls in threads of their own; `result` gives each one's reply or error, in their order."""

    def __init__(self, *acts):
        self._pool = ThreadPoolExecutor(len(acts))
        self._futures = [self._pool.submit(act) for act in acts]

    def done(self):
        return sum(future.done() for future in self._futures)

    def result(self):
        self._pool.shutdown(wait=True)
        return [future.exception() or future.result() for future in self._futures]


class Held:
    """Holds a batcher's round trips back, so that calls gather behind the first one; notes their sizes."""

    def __init__(self, monkeypatch):
        self.sizes, self.go, self.began = [], threading.Event(), threading.Event()
        trip = ScriptBatcher._trip

        def watched(batcher, calls):
            self.sizes.append(len(calls))
            self.began.set()
            assert self.go.wait(30)
            return trip(batcher, calls)

        monkeypatch.setattr(ScriptBatcher, "_trip", watched)

    def freely(self, act):
        """Do something while nothing is held back, and forget its sizes."""
        self.go.set()
        act()
        self.go.clear()
        self.began.clear()
        self.sizes.clear()

    def behind_one(self, store, acts):
        """Make a call, and while its trip is under way the others; give their replies."""
        first = AtOnce(lambda: store.call("take_messages", 1))
        assert self.began.wait(30)
        others = AtOnce(*acts)
        wait_until(lambda: len(store._batcher._waiting) == len(acts))
        self.go.set()
        assert first.result() == [[]]
        return others.result()


@pytest.fixture
def held(monkeypatch):
    return Held(monkeypatch)


def test_those_who_wait_share_a_round_trip_and_each_gets_its_own_reply(store, held):
    acts = [lambda n=n: ours.call("pause", f"queue{n}", f"why {n}") for n in range(20)]
    ours = store_at(url_of(store))
    assert [reply[0] for reply in held.behind_one(ours, acts)] == [""] * 20
    assert held.sizes == [1, 20]
    assert [store.hget(f"{{ringback}}:queue:queue{n}", "paused") for n in range(20)] == [
        f"why {n}" for n in range(20)
    ]


def test_a_call_tells_the_store_all_that_was_heard_before_it(store, held, monkeypatch):
    """Else a reply of a history that is lost by now could hide the loss."""
    ours = store_at(url_of(store))
    known, header = [], ours._protocol.header

    def watched(command):
        known.append(ours.epoch.name)
        return header(command)

    monkeypatch.setattr(ours._protocol, "header", watched)
    held.behind_one(ours, [lambda: ours.call("take_messages", 1)])
    assert known == ["", store.hget("{ringback}:store", "epoch")]


def test_a_trip_has_a_bounded_number_of_calls_and_the_next_one_takes_the_rest(store, held):
    ours = store_at(url_of(store))
    acts = [lambda: ours.call("take_messages", 1)] * (MOST_CALLS + 10)
    assert held.behind_one(ours, acts) == [[]] * (MOST_CALLS + 10)
    assert held.sizes == [1, MOST_CALLS, 10]


def test_a_trip_has_a_bounded_number_of_bytes(store, held, monkeypatch):
    monkeypatch.setattr(batching, "MOST_BYTES", 100)
    ours = store_at(url_of(store))
    acts = [lambda n=n: ours.call("pause", f"queue{n}", "w" * 60) for n in range(4)]
    assert len(held.behind_one(ours, acts)) == 4
    assert held.sizes == [1, 2, 2]


def test_one_that_is_refused_harms_none_beside_it(store, held):
    ours = store_at(url_of(store))
    asked = [("take_messages", 1), ("pause", "queue", "why"), ("no such command",), ("take_messages", 1)]
    first, paused, refused, last = held.behind_one(ours, [lambda a=a: ours.call(*a) for a in asked])
    assert (first, last) == ([], [])
    assert paused[0] == ""
    assert isinstance(refused, redis.ResponseError)


def test_a_store_that_lost_the_script_gets_it_again(store):
    ours = store_at(url_of(store))
    assert ours.call("take_messages", 1) == []
    store.script_flush()
    assert ours.call("take_messages", 1) == []


def test_a_store_that_is_away_is_found_by_the_one_who_asks(start_valkey):
    server = start_valkey()
    ours = store_at(server.url)
    server.kill()
    with pytest.raises(StoreAwayError):
        ours.call("take_messages", 1)


@pytest.mark.parametrize("how", ["stopped", "gone"])
def test_with_a_store_that_does_not_answer_everybody_is_told_and_it_goes_on_afterwards(start_valkey, how):
    server = start_valkey()
    ours = store_at(server.url)
    assert ours.call("take_messages", 1) == []
    if how == "stopped":
        os.kill(server.pid, signal.SIGSTOP)
    else:
        server.kill()
    asked = AtOnce(*[lambda: ours.call("take_messages", 1)] * 12)
    assert all(isinstance(told, StoreAwayError) for told in asked.result())
    if how == "stopped":
        os.kill(server.pid, signal.SIGCONT)
        assert ours.call("take_messages", 1) == []


def test_a_reply_that_comes_too_late_is_nobody_elses(start_valkey):
    server = start_valkey()
    ours = store_at(server.url)
    assert ours.call("take_messages", 1) == []
    os.kill(server.pid, signal.SIGSTOP)
    with pytest.raises(StoreAwayError):
        ours.call("pause", "late", "why")
    os.kill(server.pid, signal.SIGCONT)
    assert [ours.call("take_messages", 1) for _ in range(3)] == [[]] * 3


def test_an_interrupted_round_trip_leaves_no_reply_for_the_next_call(store, monkeypatch):
    ours = store_at(url_of(store))

    def interrupted(_batcher, _ends_at):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ScriptBatcher, "_answer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            ours.call("sweep", 10, 0, 1)
    assert ours.call("take_messages", 1) == []


def test_a_connection_that_was_idle_is_checked_before_it_is_used(store, monkeypatch):
    monkeypatch.setattr(batching, "IDLE_SECONDS", 0.0)
    ours = store_at(url_of(store))
    assert ours.call("take_messages", 1) == []
    host, port = ours._batcher._connection.raw._sock.getsockname()
    store.client_kill_filter(addr=f"{host}:{port}")
    assert ours.call("take_messages", 1) == []


def test_a_forked_process_shares_neither_the_connection_nor_a_trip_under_way(store, held):
    ours = store_at(url_of(store))
    held.freely(lambda: ours.call("take_messages", 1))
    under_way = AtOnce(lambda: ours.call("take_messages", 1))
    assert held.began.wait(30)
    connections = store.info("stats")["total_connections_received"]
    child = os.fork()
    if child == 0:
        held.go.set()
        os._exit(0 if ours.call("pause", "queue", "forked")[0] == "" else 1)
    try:
        wait_until(lambda: store.hget("{ringback}:queue:queue", "paused") == "forked")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        held.go.set()
    assert store.info("stats")["total_connections_received"] == connections + 1
    assert under_way.result() == [[]]
    assert ours.call("take_messages", 1) == []


def test_replies_are_read_as_the_pools_connections_read_them(store):
    ours = store_at(url_of(store))
    ours.call("pause", "queue", "ñ")
    assert ours.client.hget(ours.key("queue:queue"), "paused") == "ñ"


# --- runs of the script --------------------------------------------------------------------------


def runs_of_the_script(client):
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]


def admit(services, number):
    """Acts that admit so many deliveries of one event each."""
    taken = [form_delivery(services, f"C{place}", message_id=f"m{place}") for place in range(number)]
    return [lambda one=one: services.admission.admit(*one) for one in taken]


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store)
    services.binding.bind()
    return services


def test_small_deliveries_of_the_same_moment_share_a_run_of_the_script(services, store, held):
    held.freely(
        lambda: services.admission.admit(*form_delivery(services, "the one by which the script is loaded"))
    )
    before = runs_of_the_script(store)
    admitted = held.behind_one(services.store, admit(services, 20))
    assert runs_of_the_script(store) == before + 2
    ids = [one.answer.recalls[0] for one in admitted]
    assert len({each[:11] for each in ids}) == 20, "each has a number of its own"
    assert [store.hget(f"{{ringback}}:recall:{each}", "customer") for each in ids] == [
        f"C{n}" for n in range(20)
    ]
    assert store.zcard("{ringback}:in:queued") == 21


def test_the_same_delivery_twice_at_the_same_moment_is_one(services, held):
    one = admit(services, 1)[0]
    told = held.behind_one(services.store, [one, one])
    assert told[0].answer == told[1].answer
    assert sorted(each.again for each in told) == [False, True]


def test_a_fault_of_one_harms_none_in_its_run(services, store, held):
    delivery, outcomes, body = form_delivery(services, "C9")
    _, raw, headers = admission_args(delivery, outcomes, services.admission.retention("forms"), body)
    bad = lambda: services.store.call("admit", b"{ no JSON", raw, headers)  # noqa: E731
    told = held.behind_one(services.store, [*admit(services, 2), bad, admit(services, 3)[2]])
    assert isinstance(told[2], redis.ResponseError)
    assert [len(told[place].answer.recalls) for place in (0, 1, 3)] == [1, 1, 1]
    assert store.zcard("{ringback}:in:queued") == 3


def test_what_a_full_store_refuses_is_refused_to_each_of_a_run(tmp_path, start_valkey, held):
    with start_valkey().client() as client:
        services = make_services(tmp_path, client)
        held.freely(services.binding.bind)
        client.config_set("maxmemory", "1")
        told = held.behind_one(services.store, admit(services, 3))
        assert all(isinstance(one, StoreAwayError) for one in told)
        assert client.keys("*recall*") == []
        client.config_set("maxmemory", "0")
        assert all(act().answer.recalls for act in admit(services, 3))


def call_of(command, size=1):
    return _Call(command, (b"d", b"r"), size, 0.0)


def test_calls_share_a_run_by_command_and_size_and_each_is_in_one_run():
    calls = [call_of("admit"), call_of("sweep"), call_of("admit", RUN_BYTES + 1)]
    calls += [call_of("admit") for _ in range(RUN_CALLS)]
    runs = list(_runs(calls))
    assert sorted(map(id, calls)) == sorted(id(call) for run in runs for call in run)
    found = sorted((run[0].command, run[0].size > RUN_BYTES, len(run)) for run in runs)
    assert found == [
        ("admit", False, 1),
        ("admit", False, RUN_CALLS),
        ("admit", True, 1),
        ("sweep", False, 1),
    ]


# --- a trip that fails ---------------------------------------------------------------------------


def test_who_waited_too_long_when_a_trip_fails_is_told_so_and_the_others_wait_on(store, monkeypatch):
    now = [100.0]
    ours = Store(connect(url_of(store)))
    batcher = ours._batcher
    batcher._clock = lambda: now[0]
    began, breaks, trips = threading.Event(), threading.Event(), []

    def trip(self, calls):
        trips.append(len(calls))
        began.set()
        assert breaks.wait(30)
        if len(trips) == 1:
            raise redis.ConnectionError
        for call in calls:
            call.reply = "done"

    monkeypatch.setattr(ScriptBatcher, "_trip", trip)
    first = AtOnce(lambda: ours.call("take_messages", 1))
    assert began.wait(30)
    early = AtOnce(*[lambda: ours.call("take_messages", 1)] * 5)
    wait_until(lambda: len(batcher._waiting) == 5)
    now[0] += PATIENCE_SECONDS * 2
    late = AtOnce(*[lambda: ours.call("take_messages", 1)] * 3)
    wait_until(lambda: len(batcher._waiting) == 8)
    breaks.set()
    assert [str(told) for told in early.result()] == ["the store did not answer an earlier call in time"] * 5
    assert late.result() == ["done"] * 3
    assert isinstance(first.result()[0], StoreAwayError)
    assert trips == [1, 3]


def test_a_fault_of_ours_in_a_trip_leaves_nobody_waiting(store, monkeypatch, held):
    ours = store_at(url_of(store))
    monkeypatch.setattr(ScriptProtocol, "_report", lambda *_: None)
    real = ours._protocol.replies

    def fail(answer):
        if held.sizes == [1, 3]:
            raise ZeroDivisionError
        return real(answer)

    ours._protocol.replies = fail
    told = held.behind_one(ours, [lambda: ours.call("take_messages", 1)] * 3)
    assert sorted(type(one).__name__ for one in told) == [
        "StoreAwayError",
        "StoreAwayError",
        "ZeroDivisionError",
    ]
    held.sizes.append(0)
    assert ours.call("take_messages", 1) == []


@pytest.mark.parametrize(
    "ask",
    [lambda store: store.call("take_messages", 1), lambda store: store.secret("queue_key")],
    ids=["the script", "a command"],
)
def test_the_store_is_asked_once_whatever_comes_of_it(ask):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        came = []

        def hang_up():
            with contextlib.suppress(OSError):  # the end of the test closes the socket
                while True:
                    connection, _ = listening.accept()
                    came.append(connection)
                    connection.recv(65536)
                    connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        ours = store_at(f"redis://127.0.0.1:{listening.getsockname()[1]}/0")
        with pytest.raises(StoreAwayError):
            ask(ours)
        assert len(came) == 1
