"""`ringback backup` and `restore`: all records of one moment, back into an empty store, paused until confirmed."""

from __future__ import annotations

import os
import resource
import threading
from datetime import UTC, datetime

import pytest
import redis

from integration.domain.recall import Filter, State
from integration.store import backup as backup_module
from integration.store.backup import (
    RESTORED,
    BackupError,
    read_header,
    record_counts,
    restore_backup,
    write_backup,
)
from integration.store.scripting.layout import LAYOUT
from integration.store.token_queue import Claim, terms_of
from support import form_delivery, make_services, url_of
from support.cli_runner import Ringback
from support.waiting import wait_until

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def services(tmp_path, store):
    services = make_services(tmp_path, store)
    services.binding.bind()
    return services


@pytest.fixture
def other(start_valkey):
    """Another server, empty."""
    with start_valkey().client() as client:
        yield client


def raw(client):
    """Return a client that returns bytes."""
    return redis.Redis.from_url(url_of(client))


def admit(services, *numbers):
    return [
        services.admission.admit(*form_delivery(services, f"C{n}", message_id=f"m{n}")).answer.recalls[0]
        for n in numbers
    ]


def acquire(services, nonce="worker"):
    queue = services.queues.bound()["bogota"]
    return services.queues.acquire(
        queue, nonce, terms_of(services.config.accounts["bogota"], datetime.now(UTC))
    )[0]


def restored(tmp_path, client):
    folder = tmp_path / "restored"
    folder.mkdir()
    return make_services(folder, client)


def test_a_restored_store_has_every_record_and_its_queues_are_paused(tmp_path, services, store, other):
    admit(services, 1, 2, 3)
    services.recalls.records.cancel(admit(services, 4)[0], "by the operator")
    file = tmp_path / "backup"
    backup = write_backup(raw(store), file, NOW)
    assert backup.counts == {"queued": 3, "cancelled": 1}
    assert restore_backup(raw(other), file).counts == backup.counts
    assert record_counts(other) == record_counts(store)
    there = restored(tmp_path, other)
    ids = [recall.id for recall in there.recalls.records.page(Filter(), limit=9)[0]]
    assert ids == [recall.id for recall in services.recalls.records.page(Filter(), limit=9)[0]]
    states = {view.name: (view.state, view.reason) for view in there.accounts.all(["bogota", "lima"])}
    assert states == {"bogota": ("paused", RESTORED), "lima": ("paused", RESTORED)}
    assert acquire(there).kind == "paused"


def test_keys_keep_their_time_to_live(tmp_path, services, store, other):
    admit(services, 1)
    write_backup(raw(store), tmp_path / "backup", NOW)
    restore_backup(raw(other), tmp_path / "backup")
    (seen,) = store.keys("*seen:*")
    assert 0 < store.pttl(seen) - 60_000 < other.pttl(seen) <= store.pttl(seen) + 60_000


def test_what_was_admitted_before_the_backup_is_a_duplicate_after_it(tmp_path, services, store, other):
    first = admit(services, 1)
    write_backup(raw(store), tmp_path / "backup", NOW)
    restore_backup(raw(other), tmp_path / "backup")
    assert admit(restored(tmp_path, other), 1) == first


def test_a_restore_is_confirmed_by_the_operator_and_the_queues_go_on(tmp_path, services, store, other):
    (recall,) = admit(services, 1)
    run = Ringback(tmp_path / "ringback.toml")
    file = str(tmp_path / "backup")
    written = run("backup", file, REDIS_URL=url_of(store))
    assert written.exit_code == 0, written.output
    assert "1 queued" in written.output
    back = run("restore", file, REDIS_URL=url_of(other))
    assert back.exit_code == 0, back.output
    assert back.output.count("1 queued") == 2, "before and after"
    assert "restore --confirm" in back.output
    there = restored(tmp_path, other)
    assert acquire(there).kind == "paused"
    confirmed = run("restore", "--confirm", REDIS_URL=url_of(other))
    assert (confirmed.exit_code, "2 queues resumed" in confirmed.output) == (0, True), confirmed.output
    # A new server waits for its workers first. Each acquire has a nonce of its own, or it gets the old reply.
    claims = [acquire(there, "n0")]
    wait_until(
        lambda: isinstance(claims[-1], Claim) or claims.append(acquire(there, f"n{len(claims)}")),
        what="a claim",
    )
    assert claims[-1].recall_id == recall
    assert run("restore", "--confirm", REDIS_URL=url_of(other)).exit_code == 1


def test_a_pause_of_the_operator_outlives_the_confirmation(tmp_path, services, store, other):
    admit(services, 1)
    write_backup(raw(store), tmp_path / "backup", NOW)
    restore_backup(raw(other), tmp_path / "backup")
    there = restored(tmp_path, other)
    there.accounts.pause("bogota", "the campaign is being changed")
    run = Ringback(tmp_path / "ringback.toml")
    assert "1 queue resumed" in run("restore", "--confirm", REDIS_URL=url_of(other)).output
    assert there.accounts.get("bogota").state == "paused"
    assert there.accounts.get("lima").state == "idle"


def test_a_backup_of_a_store_in_use_shows_one_moment(tmp_path, services, store, other):
    """A thread admits all the time. Each recall of the backup is whole: its record, its index, its place."""
    stop = threading.Event()
    numbers = []

    def load():
        while not stop.is_set():
            numbers.append(len(numbers))
            admit(services, numbers[-1])

    admit(services, *range(10_000, 10_050))
    thread = threading.Thread(target=load)
    thread.start()
    try:
        backup = write_backup(raw(store), tmp_path / "backup", NOW)
    finally:
        stop.set()
        thread.join()
    restore_backup(raw(other), tmp_path / "backup")
    queued = other.zrange("{ringback}:in:queued", 0, -1)
    assert len(queued) == backup.counts["queued"]
    queue = services.queues.bound()["bogota"]
    assert sorted(other.zrange(f"{{ringback}}:queue:{queue}:recalls", 0, -1)) == queued
    assert sorted(other.keys("*:recall:*")) == [f"{{ringback}}:recall:{recall}" for recall in queued]
    assert len(other.keys("*:seen:*")) == len(queued)


def test_writes_go_on_after_a_backup(tmp_path, services, store):
    write_backup(raw(store), tmp_path / "backup", NOW)
    (recall,) = admit(services, 1)
    assert services.recalls.records.get(recall).state is State.QUEUED


def test_only_the_owner_may_read_the_file_and_no_file_is_overwritten(tmp_path, services, store):
    before = os.umask(0)
    try:
        write_backup(raw(store), tmp_path / "backup", NOW)
    finally:
        os.umask(before)
    assert (tmp_path / "backup").stat().st_mode & 0o777 == 0o600
    with pytest.raises(BackupError, match="already exists"):
        write_backup(raw(store), tmp_path / "backup", NOW)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nodir/backup", "No such file or directory"),
        ("afile/backup", "Not a directory"),
        ("x" * 256, "File name too long"),
    ],
    ids=["no folder", "a file as folder", "a long name"],
)
def test_a_file_that_cannot_be_written_is_an_error_with_its_reason(tmp_path, services, store, name, reason):
    (tmp_path / "afile").touch()
    with pytest.raises(BackupError, match=rf"cannot be written: {reason}\. Choose an existing folder"):
        write_backup(raw(store), tmp_path / name, NOW)


def test_a_backup_that_does_not_fit_leaves_no_file_and_writes_go_on(tmp_path, services, store):
    admit(services, 1)
    # Python ignores SIGXFSZ, so a write beyond the limit fails as on a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(BackupError, match="cannot be written: File too large"):
            write_backup(raw(store), tmp_path / "backup", NOW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.glob("backup*")) == []
    assert len(admit(services, 2)) == 1


def test_a_server_that_refuses_to_pause_writes_leaves_no_file(tmp_path, services, start_valkey):
    with start_valkey().client() as client:
        client.execute_command("ACL", "SETUSER", "guest", "on", "nopass", "~*", "+@all", "-client|pause")
        guest = redis.Redis.from_url(url_of(client), username="guest", password="any")
        with guest, pytest.raises(BackupError, match="does not allow CLIENT PAUSE"):
            write_backup(guest, tmp_path / "backup", NOW)
    assert list(tmp_path.glob("backup*")) == []


def test_a_backup_that_cannot_be_read_is_an_error_with_its_reason(tmp_path, services, store):
    for name, reason in (("missing", "No such file or directory"), ("", "Is a directory")):
        with pytest.raises(BackupError, match=rf"cannot be read: {reason}\. Name a backup"):
            restore_backup(raw(store), tmp_path / name)


def test_a_store_that_is_not_empty_is_left_as_it_is(tmp_path, services, store):
    admit(services, 1)
    write_backup(raw(store), tmp_path / "backup", NOW)
    before = {key: store.dump(key) for key in store.keys("*")}
    with pytest.raises(BackupError, match="not empty"):
        restore_backup(raw(store), tmp_path / "backup")
    assert {key: store.dump(key) for key in store.keys("*")} == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
        lambda data: data + b"more",
        lambda _: b"",
        lambda _: b"something else",
    ],
    ids=["half", "a byte short", "a bit flipped", "longer", "empty", "another file"],
)
def test_a_damaged_file_restores_nothing(tmp_path, services, store, other, damage):
    admit(services, 1)
    file = tmp_path / "backup"
    write_backup(raw(store), file, NOW)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(BackupError, match=r"damaged or incomplete|not a Ringback backup"):
        restore_backup(raw(other), file)
    assert other.keys("*") == []


def test_a_backup_of_another_layout_is_refused_with_the_version_to_use(
    tmp_path, services, store, other, monkeypatch
):
    monkeypatch.setattr(backup_module, "LAYOUT", LAYOUT + 1)
    monkeypatch.setattr(backup_module, "VERSION", "9.1.0")
    write_backup(raw(store), tmp_path / "backup", NOW)
    monkeypatch.undo()
    assert read_header(tmp_path / "backup").version == "9.1.0"
    with pytest.raises(BackupError, match=r"Restore it with Ringback 9\.1\.0"):
        restore_backup(raw(other), tmp_path / "backup")
    assert other.keys("*") == []


def test_a_stopped_embedded_store_is_backed_up_and_restored(tmp_path):
    run = Ringback(tmp_path / "ringback.toml")
    file = str(tmp_path / "backup")
    assert run("backup", file, RINGBACK_DATA_DIR=str(tmp_path / "one")).exit_code == 0
    back = run("restore", file, RINGBACK_DATA_DIR=str(tmp_path / "two"))
    assert back.exit_code == 0, back.output
    assert "no records" in back.output
