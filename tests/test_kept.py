"""Scripts over a connection of each thread's own, on a real store."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from sentry_sdk.client import NonRecordingClient

from support import url_of
from workers import kept
from workers.kept import KeptConnections
from workers.store import connect


@pytest.fixture
def client(store):
    return KeptConnections(connect(url_of(store), timeout_seconds=0.5))


@pytest.fixture
def address(client):
    """Asks something; gives the address of the connection over which it went."""
    one = client.script_load("return 1")

    def ask():
        assert client.evalsha(one, 0) == 1
        host, port = client._mine.connection._sock.getsockname()
        return f"{host}:{port}"

    return ask


def test_a_thread_keeps_its_connection_and_shares_it_with_no_other(client, address):
    mine = {address() for _ in range(3)}
    with ThreadPoolExecutor(1) as pool:
        theirs = {pool.submit(address).result() for _ in range(3)}
    assert len(mine) == len(theirs) == 1
    assert mine != theirs


def test_replies_are_read_as_the_pools_connections_read_them(client):
    echo = client.script_load("return {ARGV[1], 7, {ARGV[2]}}")
    assert client.evalsha(echo, 0, "ñ", b"\xff") == ["ñ", 7, ["\udcff"]]


def test_an_error_of_a_script_costs_no_connection(client, address):
    before = address()
    with pytest.raises(redis.ResponseError):
        client.evalsha("f" * 40, 0)
    assert address() == before


def test_after_a_break_the_connection_is_opened_anew_and_nothing_is_asked_twice(client, store, address):
    count = client.script_load("return redis.call('INCR', 'asked')")
    store.client_kill_filter(addr=address())
    with pytest.raises(redis.ConnectionError):
        client.evalsha(count, 0)
    assert client.evalsha(count, 0) == 1


def test_a_reply_that_came_too_late_is_not_taken_for_the_next(client, store, address):
    address()
    hit = client.script_load("return 'late'")
    store.client_pause(800, all=True)
    with pytest.raises(redis.TimeoutError):
        client.evalsha(hit, 0)
    store.client_unpause()
    address()


def test_a_connection_that_was_idle_is_looked_at_first(client, store, address, monkeypatch):
    monkeypatch.setattr(kept, "IDLE_SECONDS", 0.0)
    before = address()
    store.client_kill_filter(addr=before)
    assert address() != before


def test_where_sentry_listens_scripts_go_by_the_command_that_it_listens_to(client, monkeypatch):
    class Listening(NonRecordingClient):
        def is_active(self):
            return True

    asked = []
    monkeypatch.setattr("sentry_sdk.get_client", Listening)
    monkeypatch.setattr(redis.Redis, "execute_command", lambda *args, **_: asked.append(args[1]))
    client.evalsha("f" * 40, 0)
    assert asked == ["EVALSHA"]
