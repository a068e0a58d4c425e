"""An upgrade from 0.1.0: neither version changes a store of the other."""

from __future__ import annotations

import base64
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from redis.exceptions import ResponseError

from integration.domain.errors import StoreAwayError, StoreUnsafeError
from integration.store.backup import BackupError, restore_backup, write_backup
from integration.store.durability import assure
from support import form_delivery, make_services, url_of
from support.cli_runner import Ringback

SAMPLES = Path(__file__).parent.parent / "samples" / "release_0_1_0"
SCRIPT = gzip.decompress((SAMPLES / "script.lua.gz").read_bytes()).decode()
PREFIX = "{ringback}:"
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
# The commands that web and worker of 0.1.0 send at their start and in use, with arguments.
COMMANDS = {
    "bind": ['{"bogota":"L1"}'],
    "admit": ["{}"],
    "sweep": ["9"],
    "beat": ["web:1", "{}"],
    "tally": ["p", "1", "{}"],
    "acquire": ["L1", "n", "{}"],
    "finish": ["L1", "{}"],
    "purge": ["0"],
    "upgrade": [],
    "pause": ["L1", "why", ""],
    "note": ["who", "what", "about", ""],
    "take_messages": ["1000"],
}


def run_script(store, command, *args):
    """Run a command of 0.1.0 as a new process of it does: it knows no history of the store."""
    return store.eval(SCRIPT, 1, PREFIX, command, "", "", 0, "", 0, "web:1", *args)


def put_store_of_0_1_0(store):
    def bytes_of(value):
        return base64.b64decode(value["base64"]) if isinstance(value, dict) else value

    for key, record in json.loads((SAMPLES / "store.json").read_text("utf-8")).items():
        value = record["value"]
        match record["type"]:
            case "hash":
                store.hset(key, mapping={name: bytes_of(each) for name, each in value.items()})
            case "string":
                store.set(key, bytes_of(value))
            case "zset":
                store.zadd(key, {bytes_of(member): score for member, score in value})
            case "set":
                store.sadd(key, *map(bytes_of, value))
            case "list":
                store.rpush(key, *map(bytes_of, value))
            case "stream":
                for id_, fields in value:
                    store.xadd(key, fields, id=id_)


def raw(client):
    """Return a client that returns bytes."""
    return redis.Redis.from_url(url_of(client))


def data(store):
    return {key: store.dump(key) for key in store.keys("*")}


@pytest.fixture
def old_store(store):
    put_store_of_0_1_0(store)
    return store


# --- 0.1.0 on a store of this version ----------------------------------------------------------


@pytest.mark.parametrize("command", COMMANDS)
def test_0_1_0_changes_nothing_in_a_store_of_this_version(tmp_path, store, command):
    services = make_services(tmp_path, store)
    services.binding.bind()
    services.admission.admit(*form_delivery(services, "C1"))
    before = data(store)
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        run_script(store, command, *COMMANDS[command])
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        store.hsetnx(f"{PREFIX}meta", "lane_key", "00")
    assert data(store) == before


def test_the_script_of_0_1_0_works_in_a_store_of_its_own(store):
    run_script(store, "bind", *COMMANDS["bind"])
    assert store.hgetall(f"{PREFIX}accounts") == {"bogota": "L1"}


def test_an_emptied_store_stops_0_1_0_again(tmp_path, store):
    services = make_services(tmp_path, store)
    services.binding.bind()
    store.flushall()
    services.admission.admit(*form_delivery(services, "C1"))
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        run_script(store, "sweep", "9")


def test_a_restored_backup_stops_0_1_0(tmp_path, store, start_valkey):
    services = make_services(tmp_path, store)
    services.binding.bind()
    write_backup(raw(store), tmp_path / "backup", NOW)
    server = start_valkey()
    with server.client() as client:
        restore_backup(raw(client), tmp_path / "backup")
        with pytest.raises(ResponseError, match="WRONGTYPE"):
            run_script(client, "bind", *COMMANDS["bind"])


# --- this version on a store of 0.1.0 ----------------------------------------------------------


def test_a_store_of_0_1_0_is_refused_at_the_start(old_store):
    before = data(old_store)
    with pytest.raises(StoreUnsafeError, match=r"Ringback 0\.1\.0 .* start \S+ with an empty store"):
        assure(old_store, accept_loss=True)
    assert data(old_store) == before


@pytest.mark.parametrize("left", ["everything", "no accounts", "the hash alone"])
def test_a_running_process_of_this_version_changes_nothing_in_a_store_of_0_1_0(tmp_path, old_store, left):
    """Its store is exchanged for one of 0.1.0 while it runs."""
    services = make_services(tmp_path, old_store)
    if left != "everything":
        old_store.delete(f"{PREFIX}accounts")
    if left == "the hash alone":
        keys = [key for key in old_store.keys("*") if key != f"{PREFIX}meta"]
        old_store.delete(*keys)
        old_store.hdel(f"{PREFIX}meta", "seq", "history", "tick")
    before = data(old_store)
    with pytest.raises(StoreAwayError):
        services.queues.bind({"bogota": "L1"})
    with pytest.raises(StoreAwayError):
        services.counter_flusher.flush()
    assert data(old_store) == before


def test_a_backup_is_not_restored_into_a_store_of_0_1_0(tmp_path, old_store, start_valkey):
    server = start_valkey()
    with server.client() as client:
        make_services(tmp_path, client).binding.bind()
        write_backup(raw(client), tmp_path / "backup", NOW)
    with pytest.raises(BackupError, match="not empty"):
        restore_backup(raw(old_store), tmp_path / "backup")


def test_the_check_names_the_version_that_wrote_the_store(tmp_path, old_store):
    make_services(tmp_path, old_store)
    ringback = Ringback(tmp_path / "ringback.toml", {"REDIS_URL": url_of(old_store)})
    result = ringback("check", "--online")
    assert result.exit_code == 1
    assert "0.1.0" in result.stdout + result.stderr
