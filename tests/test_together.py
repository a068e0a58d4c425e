"""Calls sent together: each has its own reply, one that fails harms none, a store that hangs holds nobody up."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time

import pytest
import redis

from integration.errors import StoreAwayError
from support import form_delivery, make_desk, url_of
from workers.ledger import Admission
from workers.runs import MOST_IN_A_RUN, SMALL_BYTES, runs_of
from workers.store import Store, connect, connection_maker
from workers.together import MOST_CALLS, PATIENCE_SECONDS, TRIPS_AT_ONCE, Together, _Line


def together_on(url, **more):
    store = Store(connect(url, timeout_seconds=1.2, connect_seconds=0.4))
    return Together(store, connection_maker(url, connect_seconds=0.4), answer_seconds=1.2, **more)


@pytest.fixture
def sizes(monkeypatch):
    """How many calls each round trip had."""
    seen, ask = [], _Line._ask

    async def watched(self, calls, *, load=False):
        seen.append(len(calls))
        return await ask(self, calls, load=load)

    monkeypatch.setattr(_Line, "_ask", watched)
    return seen


async def all_of(*asked):
    return await asyncio.gather(*asked, return_exceptions=True)


def test_those_who_wait_share_a_round_trip_and_each_gets_its_own_reply(store, sizes):
    async def many():
        together = together_on(url_of(store))
        await together.call("sweep", 1)
        sizes.clear()
        return await all_of(*(together.call("pause", f"lane{n}", f"why {n}") for n in range(20)))

    assert [reply[0] for reply in asyncio.run(many())] == [""] * 20
    assert sum(sizes) == 20
    assert len(sizes) <= TRIPS_AT_ONCE
    assert [store.hget(f"{{ringback}}:lane:lane{n}", "paused") for n in range(20)] == [
        f"why {n}" for n in range(20)
    ]


def test_one_that_is_refused_harms_none_beside_it(store):
    async def several():
        together = together_on(url_of(store))
        asked = [("sweep", 1), ("pause", "lane", "why"), ("no such command",), ("sweep", 1)]
        return await all_of(*(together.call(*words) for words in asked))

    first, paused, refused, last = asyncio.run(several())
    assert (first, last) == ([], [])
    assert paused[0] == ""
    assert isinstance(refused, redis.ResponseError)


def test_a_store_that_lost_the_script_gets_it_again(store):
    async def twice():
        together = together_on(url_of(store))
        first = await together.call("sweep", 1)
        store.script_flush()
        return first, await together.call("sweep", 1)

    assert asyncio.run(twice()) == ([], [])


def test_connections_are_opened_before_somebody_asks_and_a_store_that_is_away_is_found_by_who_asks(
    store, start_valkey
):
    async def opened(url):
        together = together_on(url)
        await together.open()
        return together, [line._connection.is_connected for line in together._trips._free]

    assert asyncio.run(opened(url_of(store)))[1] == [True] * TRIPS_AT_ONCE
    server = start_valkey()
    server.kill()

    async def ask_in_vain():
        together, connected = await opened(server.url)
        with pytest.raises(StoreAwayError):
            await together.call("sweep", 1)
        return connected

    assert asyncio.run(ask_in_vain()) == [False] * TRIPS_AT_ONCE


def test_another_loop_begins_anew(store):
    together = together_on(url_of(store))
    assert [asyncio.run(together.call("sweep", 1)) for _ in range(2)] == [[], []]


@pytest.mark.parametrize("how", ["stopped", "gone"])
def test_with_a_store_that_does_not_answer_everybody_is_told_within_two_seconds(start_valkey, how):
    server = start_valkey()

    async def timed(together):
        asked_at = time.monotonic()
        with pytest.raises(StoreAwayError):
            await together.call("sweep", 1)
        return time.monotonic() - asked_at

    async def go_on():
        together = together_on(server.url)
        assert await together.call("sweep", 1) == []
        if how == "stopped":
            os.kill(server.pid, signal.SIGSTOP)
        else:
            server.kill()
        asked = []
        for _ in range(12):
            asked.append(asyncio.create_task(timed(together)))
            await asyncio.sleep(0.1)
        took = await asyncio.gather(*asked)
        if how == "stopped":
            os.kill(server.pid, signal.SIGCONT)
            assert await together.call("sweep", 1) == []
        return took

    # Each was told when it was due; what is measured here may be late by what this loop waited.
    assert max(asyncio.run(go_on())) < 2.5


def test_who_asked_and_is_gone_harms_nobody(store):
    async def leave():
        together = together_on(url_of(store))
        gone = asyncio.create_task(together.call("pause", "lane", "why"))
        await asyncio.sleep(0)
        gone.cancel()
        return await together.call("sweep", 1)

    assert asyncio.run(leave()) == []
    assert store.hget("{ringback}:lane:lane", "paused") == "why"


def test_a_reply_that_comes_too_late_is_nobody_elses(start_valkey):
    server = start_valkey()

    async def go_on():
        together = together_on(server.url)
        assert await together.call("sweep", 1) == []
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(StoreAwayError):
            await together.call("pause", "late", "why")
        os.kill(server.pid, signal.SIGCONT)
        return await all_of(*(together.call("sweep", 1) for _ in range(3 * TRIPS_AT_ONCE)))

    assert asyncio.run(go_on()) == [[]] * 3 * TRIPS_AT_ONCE


def deliveries(desk, number):
    """What is to be stored of so many deliveries of one event each."""
    for place in range(number):
        yield desk.admission(*form_delivery(desk, f"C{place}", message_id=f"m{place}"))


def runs_of_the_script(client):
    return client.info("commandstats")["cmdstat_evalsha"]["calls"]


async def admit_all(desk, admissions):
    return await all_of(*(desk.admit_soon(admission) for admission in admissions))


def test_small_deliveries_of_the_same_moment_share_a_run_of_the_script(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    asyncio.run(admit_all(desk, deliveries(desk, 1)))
    before = runs_of_the_script(store)
    admitted = asyncio.run(admit_all(desk, deliveries(desk, 20)))
    assert runs_of_the_script(store) == before + 1
    ids = [one.answer.recalls[0] for one in admitted]
    assert len({each[:11] for each in ids}) == 20, "each has a number of its own"
    assert ids == sorted(ids)
    assert [one.again for one in admitted] == [True] + [False] * 19
    assert [store.hget(f"{{ringback}}:recall:{each}", "customer") for each in ids] == [
        f"C{n}" for n in range(20)
    ]
    assert store.zcard("{ringback}:in:queued") == 20


def test_the_same_delivery_twice_at_the_same_moment_is_one(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    [one] = deliveries(desk, 1)
    first, second = asyncio.run(admit_all(desk, [one, one]))
    assert first.answer == second.answer
    assert (first.again, second.again) == (False, True)


def test_a_fault_of_one_harms_none_in_its_run(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    good = list(deliveries(desk, 3))
    bad = Admission((b"{ no JSON", *good[0].words[1:]))
    asked = [good[0], bad, *good[1:]]
    told = asyncio.run(admit_all(desk, asked))
    assert isinstance(told[1], redis.ResponseError)
    assert [len(told[place].answer.recalls) for place in (0, 2, 3)] == [1, 1, 1]
    assert store.zcard("{ringback}:in:queued") == 3


def test_what_a_full_store_refuses_is_refused_to_each_of_a_run(tmp_path, start_valkey):
    with start_valkey().client() as client:
        desk = make_desk(tmp_path, client)
        desk.bind()
        client.config_set("maxmemory", "1")
        told = asyncio.run(admit_all(desk, deliveries(desk, 3)))
        assert all(isinstance(one, StoreAwayError) for one in told)
        assert client.keys("*recall*") == []
        client.config_set("maxmemory", "0")
        assert all(one.answer.recalls for one in asyncio.run(admit_all(desk, deliveries(desk, 3))))


def test_calls_are_put_together_by_size_and_each_is_in_one_run():
    small, large = ("admit", b"d", b"r"), ("admit", b"d" * SMALL_BYTES, b"r")
    calls = [small, ("sweep", 1), large, *[small] * MOST_IN_A_RUN]
    runs = list(runs_of(calls))
    assert sorted(place for run in runs for place in run.places) == list(range(len(calls)))
    assert [(run.words[0], len(run.places)) for run in runs] == [
        ("sweep", 1),
        ("admit", 1),
        ("admit_all", MOST_IN_A_RUN),
        ("admit", 1),
    ]
    assert runs[2].words[:4] == ("admit_all", 2, b"d", b"r")
    away = StoreAwayError("away")
    assert runs[2].replies(away) == [away] * MOST_IN_A_RUN
    assert runs[1].replies(["new"]) == [["new"]]


def admit_soon(desk):
    return asyncio.run(desk.admit_soon(desk.admission(*form_delivery(desk, "C1"))))


def test_an_admission_is_told_only_when_the_store_has_it(tmp_path, store):
    desk = make_desk(tmp_path, store)
    desk.bind()
    admitted = admit_soon(desk)
    assert len(admitted.answer.recalls) == 1
    assert store.exists(f"{{ringback}}:recall:{admitted.answer.recalls[0]}")


def test_a_full_store_is_told_as_one_that_cannot_take_it(tmp_path, start_valkey):
    with start_valkey().client() as client:
        desk = make_desk(tmp_path, client)
        desk.bind()
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreAwayError):
            admit_soon(desk)
        assert client.keys("*recall*") == []
        client.config_set("maxmemory", "0")
        assert len(admit_soon(desk).answer.recalls) == 1


def test_an_admission_into_a_store_that_was_emptied_is_not_acknowledged_and_the_next_one_binds(
    tmp_path, store
):
    desk = make_desk(tmp_path, store)
    desk.bind()
    store.flushall()
    with pytest.raises(StoreAwayError):
        admit_soon(desk)
    assert not desk.at_hand
    assert len(desk.admit(*form_delivery(desk, "C1")).answer.recalls) == 1


class Away:
    """A connection on which nothing is answered, until it is told to break."""

    def __init__(self):
        self.packed = []
        self.breaks = asyncio.Event()
        self.left = False

    async def send_packed_command(self, packed, check_health):
        self.packed.append(packed)

    async def read_response(self, timeout):  # noqa: ASYNC109  (redis-py's)
        await self.breaks.wait()
        raise redis.ConnectionError

    async def disconnect(self, nowait):
        self.left = True


def test_who_waited_too_long_is_told_with_those_whose_trip_failed(store):
    now = [100.0]

    async def wait():
        lines = [Away() for _ in range(TRIPS_AT_ONCE)]
        made = iter(lines)
        together = Together(Store(store), lambda: next(made), answer_seconds=60, clock=lambda: now[0])
        asked = [asyncio.create_task(together.call("sweep", 1)) for _ in range(3 * MOST_CALLS)]
        await asyncio.sleep(0.05)
        under_way = [line for line in lines if line.packed]
        now[0] += PATIENCE_SECONDS * 2
        under_way[0].breaks.set()
        await asyncio.sleep(0.2)
        told = sum(task.done() for task in asked)
        for line in lines:
            line.breaks.set()
        await asyncio.wait(asked)
        return len(under_way), told, [task.exception() for task in asked]

    under_way, told, errors = asyncio.run(wait())
    # All but those of the other trips, which are still under way.
    assert told == (3 - under_way + 1) * MOST_CALLS
    assert all(isinstance(error, StoreAwayError) for error in errors)


def test_a_connection_on_which_something_went_wrong_is_left(store):
    """What is still to come on it would be taken for the reply of the next who asks."""

    async def ask_in_vain():
        line = Away()
        line.breaks.set()
        with pytest.raises(StoreAwayError):
            await Together(Store(store), lambda: line, answer_seconds=60).call("sweep", 1)
        return line.left

    assert asyncio.run(ask_in_vain())


@pytest.mark.parametrize("on_the_loop", [False, True])
def test_the_store_is_asked_once_whatever_comes_of_it(on_the_loop):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        came = []

        def hang_up():
            while True:
                connection, _ = listening.accept()
                came.append(connection)
                connection.recv(65536)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}/0"
        on_a_loop, here = together_on(url), Store(connect(url))
        with pytest.raises(StoreAwayError):
            asyncio.run(on_a_loop.call("sweep", 1)) if on_the_loop else here.call("sweep", 1)
        assert len(came) == 1
