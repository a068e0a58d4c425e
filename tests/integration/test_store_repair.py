"""An embedded store with damaged data does not start, says what to do, and starts again after the repair."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
import redis
from click.testing import CliRunner

from integration.cli.store.repair import repair, repair_command
from integration.local.embedded_store import EmbeddedBusyError, EmbeddedError, EmbeddedStore

NOW = datetime(2026, 11, 30, 12, 0, 5, tzinfo=UTC)
GARBAGE = b"\x00\xffnot a command\r\n"
AFTER = b"*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n3\r\n"


@pytest.fixture
def folder(tmp_path):
    """The folder of a store that was stopped, with two keys."""
    folder = tmp_path / "data"
    with EmbeddedStore(folder) as store, redis.Redis.from_url(store.url) as client:
        client.mset({"a": "1", "b": "2"})
    return folder


def log_file(folder):
    (found,) = (folder / "appendonlydir").glob("*.incr.aof")
    return found


def keys(folder):
    with EmbeddedStore(folder) as store, redis.Redis.from_url(store.url, decode_responses=True) as client:
        return sorted(client.keys())


@pytest.mark.parametrize("damage", [GARBAGE, GARBAGE + AFTER, AFTER[:-4] + GARBAGE + AFTER])
def test_a_damaged_store_says_what_to_do_and_starts_after_the_repair(folder, damage):
    before = log_file(folder).read_bytes()
    log_file(folder).write_bytes(before + damage)
    with pytest.raises(EmbeddedError, match="its data are damaged; run: ringback store repair"):
        EmbeddedStore(folder).start()
    done = repair(folder, NOW)
    assert (done.removed_bytes, done.kept_bytes) == (len(damage), len(before))
    assert (done.copy / log_file(folder).name).read_bytes() == before + damage
    assert keys(folder) == ["a", "b"]


def test_data_that_are_not_damaged_are_left_as_they_are(folder):
    before = log_file(folder).read_bytes()
    assert repair(folder, NOW) is None
    assert log_file(folder).read_bytes() == before
    assert keys(folder) == ["a", "b"]


def test_a_store_that_runs_is_not_repaired(folder):
    with EmbeddedStore(folder), pytest.raises(EmbeddedBusyError):
        repair(folder, NOW)


def test_damage_before_the_newest_file_is_reported_and_nothing_is_changed(folder):
    (base,) = (folder / "appendonlydir").glob("*.base.*")
    base.write_bytes(GARBAGE + base.read_bytes())
    before = {path.name: path.read_bytes() for path in (folder / "appendonlydir").iterdir()}
    with pytest.raises(EmbeddedError, match="Restore a backup"):
        repair(folder, NOW)
    assert {path.name: path.read_bytes() for path in (folder / "appendonlydir").iterdir()} == before


def test_the_command_says_what_was_removed_and_where_the_copy_is(folder, monkeypatch):
    monkeypatch.setenv("RINGBACK_DATA_DIR", str(folder))
    run = CliRunner().invoke
    assert "Nothing was changed" in run(repair_command).output
    log_file(folder).write_bytes(log_file(folder).read_bytes() + GARBAGE)
    said = run(repair_command).output
    assert f"Removed the last {len(GARBAGE)} bytes" in said
    assert str(folder / "damaged-") in said


def test_a_folder_without_a_store_is_named(tmp_path):
    with pytest.raises(EmbeddedError, match="has no data of an embedded store"):
        repair(tmp_path, NOW)
