"""Backups: write the records of a store to one file, and restore them into an empty store.

The server blocks writes while the keys are read (`CLIENT PAUSE … WRITE`, Redis 6.2), so a backup is a
consistent snapshot. If this process dies, the pause expires within seconds. Records have the format of
DUMP, so the target server must have the same version or a later one (valkey.io, DUMP).

File format: MAGIC; the length of a JSON header, and the header; for each key its length, its time to live
in ms (0: none), the length of its value, the key and the value; an entry without a key, which has the
number of keys in place of the time to live; the SHA-256 of everything before.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import orjson
from redis.exceptions import ResponseError

from integration.domain.errors import RingbackError
from integration.domain.recall import State
from integration.store.scripting.layout import LAYOUT, VERSION
from integration.store.scripting.protocol import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

    import redis

    from integration.store.token_queue import TokenQueues

RESTORED: Final = "restored from a backup: queued recalls may be older than those in wolkvox"
"""Reason of the pause of each queue between a restore and `ringback restore --confirm`."""

MAGIC: Final = b"ringback backup 1\n"
CHUNK: Final = 500
PAUSE_MS: Final = 3000
"""How long the server blocks writes. The pause restarts with each chunk of keys."""
_RECORD: Final = struct.Struct(">IQI")
_LENGTH: Final = struct.Struct(">I")
_PREFIX: Final = PREFIX.encode()
# Excluded from backups: Celery messages, and keys of running processes and of sessions.
_LEFT_OUT: Final = tuple(
    _PREFIX + name
    for name in (
        b"celery:",
        b"rate:",
        b"process",
        b"flushed:",
        b"probe",
        b"awaited_workers",
        b"session:",
        b"once:",
    )
)


class BackupError(RingbackError):
    """A backup cannot be written, read or restored. The message names the cause and the remedy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """The header of a backup, and `keys`, the number of keys in it.

    `taken_at` is in ISO 8601 format. `counts` has the numbers of recalls by state, of parked events and
    of lookups, without zeros.
    """

    version: str
    layout: int
    taken_at: str
    counts: Mapping[str, int]
    keys: int = 0


def record_counts(client: redis.Redis) -> dict[str, int]:
    """Return the number of recalls in each state, of parked events, and of lookups, without zeros."""
    names = {**{str(state): f"in:{state}" for state in State}, "parked": "parked", "lookups": "lookups"}
    with client.pipeline(transaction=False) as pipe:
        for name in names.values():
            pipe.zcard(PREFIX + name)
        found = pipe.execute()
    return {name: number for name, number in zip(names, found, strict=True) if number}


def _difference(found: Mapping[str, int], wanted: Mapping[str, int]) -> str:
    names = sorted(name for name in {*found, *wanted} if found.get(name, 0) != wanted.get(name, 0))
    return ", ".join(f"{name}: {found.get(name, 0)} of {wanted.get(name, 0)}" for name in names)


# --- writing ------------------------------------------------------------------------------------


def write_backup(client: redis.Redis, path: Path, now: datetime) -> Backup:
    """Write a backup to a new file with mode 0600. `client` must return bytes, `now` is aware.

    Raise BackupError if the file exists or cannot be written, or if the server does not allow CLIENT
    PAUSE. The file is written as `path` with the suffix `.part`, and renamed when it is complete; after any
    error, it is removed.
    """
    part = path.with_name(path.name + ".part")
    try:
        if path.exists():
            raise BackupError(f"{path}: the file already exists; name a new file")
        part.unlink(missing_ok=True)
        return _write_file(client, path, part, now)
    except OSError as error:
        raise BackupError(
            f"{path}: cannot be written: {error.strerror}. Choose an existing folder that this user can "
            "write to and that has space for the whole store"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _write_file(client: redis.Redis, path: Path, part: Path, now: datetime) -> Backup:
    with os.fdopen(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        try:
            _pause_writes(client)
            backup = Backup(
                version=VERSION, layout=LAYOUT, taken_at=now.isoformat(), counts=record_counts(client)
            )
            keys = _write(client, file, backup)
        finally:
            _resume_writes(client)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    return Backup(**{**_fields(backup), "keys": keys})


def _fields(backup: Backup) -> dict[str, Any]:
    return {name: getattr(backup, name) for name in backup.__slots__}


def _pause_writes(client: Any) -> None:
    try:
        client.execute_command("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
    except ResponseError as error:
        raise BackupError(
            f"the server does not allow CLIENT PAUSE, which a consistent backup needs: {error}. "
            "Use the backup function of the server's provider"
        ) from error


def _resume_writes(client: Any) -> None:
    try:
        client.execute_command("CLIENT", "UNPAUSE")
    except ResponseError:
        return  # it was not paused, or the pause ends by itself


def _write(client: redis.Redis, file: IO[bytes], backup: Backup) -> int:
    digest, number = hashlib.sha256(), 0

    def put(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    header = orjson.dumps({name: value for name, value in _fields(backup).items() if name != "keys"})
    put(MAGIC + _LENGTH.pack(len(header)) + header)
    for key, ttl, value in _records(client):
        put(_RECORD.pack(len(key), ttl, len(value)) + key + value)
        number += 1
    put(_RECORD.pack(0, number, 0))
    file.write(digest.digest())
    return number


def _records(client: Any) -> Iterator[tuple[bytes, int, bytes]]:
    seen: set[bytes] = set()  # SCAN may return a key twice
    cursor = 0
    while True:
        _pause_writes(client)
        cursor, keys = client.scan(cursor, match=f"{PREFIX}*", count=CHUNK)
        wanted = [key for key in dict.fromkeys(keys) if key not in seen and not key.startswith(_LEFT_OUT)]
        seen.update(wanted)
        with client.pipeline(transaction=False) as pipe:
            for key in wanted:
                pipe.dump(key)
                pipe.pttl(key)
            found = pipe.execute()
        for key, value, ttl in zip(wanted, found[::2], found[1::2], strict=True):
            if value is not None:
                yield key, max(0, ttl), value
        if cursor == 0:
            return


# --- restoring ----------------------------------------------------------------------------------


def read_header(path: Path) -> Backup:
    """Return the header of a backup, after checking the file's digest.

    `keys` of the result is the number of keys found in the file. Raise BackupError if the file cannot be
    read, is damaged, or is not a backup.
    """
    digest = hashlib.sha256()
    with _opened(path) as file:
        backup = _read_header(file, path)
        file.seek(0)
        left = path.stat().st_size - digest.digest_size
        while left > 0 and (data := file.read(min(left, 1 << 20))):
            digest.update(data)
            left -= len(data)
        if not hmac.compare_digest(file.read(), digest.digest()):
            raise BackupError(f"{path}: the backup is damaged or incomplete; use another backup")
        file.seek(0)
        return Backup(**{**_fields(backup), "keys": sum(1 for _ in _read_records(file))})


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise BackupError(
            f"{path}: cannot be read: {error.strerror}. Name a backup that this user can read"
        ) from error


def _read_header(file: IO[bytes], path: Path) -> Backup:
    if file.read(len(MAGIC)) != MAGIC:
        raise BackupError(f"{path}: not a Ringback backup; name a file that `ringback backup` wrote")
    try:
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        return Backup(**orjson.loads(file.read(length)))
    except (struct.error, orjson.JSONDecodeError, TypeError) as error:
        raise BackupError(f"{path}: the backup is damaged or incomplete; use another backup") from error


def _read_records(file: IO[bytes]) -> Iterator[tuple[bytes, int, bytes]]:
    file.seek(len(MAGIC))
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    file.seek(length, os.SEEK_CUR)
    while True:
        key_size, ttl, size = _RECORD.unpack(file.read(_RECORD.size))
        if key_size == 0:
            return
        yield file.read(key_size), ttl, file.read(size)


def restore_backup(client: redis.Redis, path: Path) -> Backup:
    """Restore a backup into an empty store and pause all queues. `client` must return bytes.

    The hash `store` is restored last. A store with accounts and without this hash is refused by each
    process, because its layout is unknown. Raise BackupError if the file is damaged or has another
    layout, if the store is not empty, if the server rejects a record, or if the restored counts differ
    from the header's.
    """
    backup = read_header(path)
    if backup.layout != LAYOUT:
        raise BackupError(
            f"{path}: Ringback {backup.version} wrote this backup with layout {backup.layout}, but this "
            f"version uses layout {LAYOUT}. Restore it with Ringback {backup.version}"
        )
    _require_empty(client)
    facts: tuple[bytes, int, bytes] | None = None
    with _opened(path) as file:
        chunk = []
        for record in _read_records(file):
            if record[0] == _PREFIX + b"store":
                facts = record
                continue
            chunk.append(record)
            if len(chunk) == CHUNK:
                _restore(client, chunk)
                chunk = []
        _restore(client, chunk)
    _pause_queues(client)
    if facts is not None:
        _restore(client, [facts])
    found = record_counts(client)
    if found != dict(backup.counts):
        raise BackupError(
            f"the restored records differ from the backup ({_difference(found, backup.counts)}); "
            "empty the store and restore again"
        )
    return backup


def _pause_queues(client: Any) -> None:
    for queue in set(client.hgetall(PREFIX + "accounts").values()):
        fields = {"paused": RESTORED, "paused_until": "", "paused_ms": ""}
        client.hset(f"{PREFIX}queue:{queue.decode()}", mapping=fields)


def _require_empty(client: Any) -> None:
    for key in client.scan_iter(match=f"{PREFIX}*", count=CHUNK):
        if not key.startswith(_LEFT_OUT):
            raise BackupError(
                "the store is not empty, and a restore would mix its data with the backup. Stop all "
                "processes and use an empty store: set another RINGBACK_DATA_DIR, or another database in "
                "REDIS_URL"
            )


def _restore(client: redis.Redis, records: list[tuple[bytes, int, bytes]]) -> None:
    with client.pipeline(transaction=False) as pipe:
        for key, ttl, value in records:
            pipe.restore(key, ttl, value)
        try:
            pipe.execute()
        except ResponseError as error:
            raise BackupError(
                f"the server rejected a record: {error}. Use an empty store on a server of the same version "
                "as the original one, or of a later version"
            ) from error


def confirm_restore(queues: TokenQueues, client: redis.Redis) -> int:
    """Resume the queues that a restore paused, and return how many. `client` must return text.

    Raise StoreAwayError.
    """
    paused = [
        queue
        for queue in sorted(set(queues.bound().values()))
        if client.hget(f"{PREFIX}queue:{queue}", "paused") == RESTORED
    ]
    for queue in paused:
        queues.resume(queue)
    return len(paused)
