"""Starts programs as child processes, restarts them, and stops them in reverse order.

Children do not outlive the supervisor, even if it is killed with SIGKILL. Environments are not logged.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

import structlog

from integration.clients.backoff import backoff_seconds
from integration.config.environment import LIVENESS_FILE
from integration.domain.errors import RingbackError
from integration.local.child_process import WATCH_SECONDS, Child, SpawnError, describe_exit, spawn
from integration.telemetry.liveness import LOOK_SECONDS, STALLED_LOOKS, ProcessWatch, TickCounter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType, TracebackType

log = structlog.get_logger(__name__)

LONGEST_LINE_BYTES = 64 * 1024
# As wide as the longest name, "dashboard".
NAME_WIDTH = 9


class NotReadyError(RingbackError):
    """A service was not ready in time, or ended before it was ready."""


# --- services ---------------------------------------------------------------------------------


class Service(Protocol):
    """The interface of a service that a supervisor can start, watch and stop."""

    @property
    def name(self) -> str:
        """The service's name in reports."""

    def start(self) -> None:
        """Start or restart the service. Raise RingbackError if it does not start."""

    def poll(self) -> int | None:
        """Return the exit status, or None while the service runs."""

    def ticks(self) -> int | None:
        """Return a count that changes at least once a second while the service works.

        Return 0 while the service starts, None if the service cannot be watched. The call takes at most a
        second.
        """

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop the service within a bounded time, or at once if `hurry()` returns True.

        Do nothing if the service is not running.
        """


def write_line(line: str) -> None:
    """Write a line to standard output and flush it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Program:
    """A program as a service. `relay` gets each line of the output, prefixed with the program's name.

    Pass secrets in `env` and not in `arguments`, which every user of the machine can read. `stop_seconds`
    is the time between SIGTERM and SIGKILL. `relay=None` discards the output. The program inherits
    `listener`. The socket stays open in this process, so connections wait while the program restarts.
    With `counts_ticks` the program must count ticks in the file named by RINGBACK_LIVENESS_FILE.
    """

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: Path | None = None
    stop_seconds: float = 10.0
    relay: Callable[[str], None] | None = field(default=write_line, repr=False)
    listener: socket.socket | None = field(default=None, repr=False)
    counts_ticks: bool = False
    _counter: TickCounter | None = field(default=None, init=False, repr=False)
    _child: Child | None = field(default=None, init=False, repr=False)
    _reader: threading.Thread | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id, or None before the first start."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start the program. Raise SpawnError if it cannot be started."""
        self._child = child = self._spawn()
        reader = threading.Thread(
            target=self._read, args=(child,), name=f"output of {self.name}", daemon=True
        )
        reader.start()
        # Set after start(): another thread that stops the program joins the reader.
        self._reader = reader

    def _spawn(self) -> Child:
        inherited = [] if self.listener is None else [self.listener.fileno()]
        env = os.environ if self.env is None else self.env
        # The file has no name and is deleted when both processes have ended. The child opens it by
        # descriptor.
        with tempfile.TemporaryFile() as file:
            if self.counts_ticks:
                self._counter = TickCounter(file.fileno())
                inherited.append(file.fileno())
                env = {**env, LIVENESS_FILE: f"/dev/fd/{file.fileno()}"}
            return spawn(self.arguments, env=env, cwd=self.cwd, output=subprocess.PIPE, pass_fds=inherited)

    def poll(self) -> int | None:
        """Return the program's exit status, or None if it runs or was never started."""
        return None if self._child is None else self._child.poll()

    def ticks(self) -> int | None:
        """Return the program's tick count, or None before the first start or without `counts_ticks`."""
        return None if self._counter is None else self._counter.value

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Send SIGTERM, wait up to `stop_seconds` or until `hurry` returns True, then kill.

        The program and its process group are killed. Do nothing if the program was not started.
        """
        if self._child is None:
            return
        self._child.stop(self.stop_seconds, hurry=hurry)
        if self._reader is not None:
            self._reader.join(1)

    def _read(self, child: Child) -> None:
        if child.output is None:
            return
        with child.output as pipe:
            while raw := pipe.readline(LONGEST_LINE_BYTES):
                line = raw.decode(errors="replace").rstrip("\r\n")
                self._relay_line(line)

    def _relay_line(self, line: str) -> None:
        # If the terminal is gone, keep reading: the program would block on a full pipe.
        if self.relay is not None:
            with contextlib.suppress(OSError, ValueError):
                self.relay(f"{self.name:<{NAME_WIDTH}} | {line}")


# --- the supervisor ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backoff:
    """The delays before restarts of a service that ended, in seconds.

    The first restart is immediate. Then the delay doubles from `first_seconds` to `longest_seconds`.
    After the service has run for `steady_seconds`, the next restart is immediate again.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 15.0
    steady_seconds: float = 30.0

    def seconds(self, failures: int) -> float:
        """Return the delay in seconds after `failures` failures in a row (1 for the first)."""
        if failures <= 1:
            return 0.0
        return backoff_seconds(failures - 1, base=self.first_seconds, maximum=self.longest_seconds)


@dataclass(frozen=True, slots=True)
class Ended:
    """The unexpected end of a service. `again_in_seconds` is None if the service is not restarted."""

    name: str
    how: str
    again_in_seconds: float | None

    def __str__(self) -> str:
        """Return a description on one line."""
        action = "not started again"
        if self.again_in_seconds is not None:
            action = "starting it again"
            if self.again_in_seconds:
                action += f" in {self.again_in_seconds:g} s"
        return f"{self.name} {self.how}; {action}"


def log_ended(ended: Ended) -> None:
    """Log the unexpected end of a service."""
    log.error("a process ended", process=ended.name, how=ended.how, again_in_seconds=ended.again_in_seconds)


@dataclass(slots=True)
class _Watched:
    service: Service
    started_at: float
    failures: int = 0
    start_at: float | None = None
    given_up: bool = False
    watch: ProcessWatch = field(default_factory=ProcessWatch)
    looked_at: float = 0.0

    def has_stalled(self, now: float) -> bool:
        """Check the ticks of the service at most once a second. Return True if `watch` finds it stalled.

        `now` is the monotonic time in seconds.
        """
        if now - self.looked_at < LOOK_SECONDS:
            return False
        self.looked_at = now
        ticks = self.service.ticks()
        return ticks is not None and self.watch.look(ticks) > 0


class Supervisor:
    """Starts services in order, watches them, and stops them in reverse order.

    A service that ends is started again if `restart` is given. A service that `ProcessWatch` finds
    stalled is killed first.

    As a context manager, a supervisor stops all services on exit. In the main thread SIGTERM and SIGHUP
    then raise KeyboardInterrupt, as Ctrl-C does. A second signal kills the remaining services.
    """

    def __init__(
        self, *, restart: Backoff | None = None, on_ended: Callable[[Ended], None] = log_ended
    ) -> None:
        """Create a supervisor. With `restart=None` a service that ends is reported and not restarted."""
        self._restart = restart
        self._on_ended = on_ended
        self._watched: list[_Watched] = []
        self._stopping = threading.Event()
        # Plain flags: a signal handler that interrupts Event.set() could deadlock on the event's lock.
        self._asked = False
        self._hurry = False
        self._watcher: threading.Thread | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], object] | int | None] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                self._handlers[number] = signal.signal(number, self._signalled)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def start(self, service: Service) -> None:
        """Start a service and watch it.

        Raise the errors of the service's `start` method, and SpawnError if the supervisor is stopping.
        """
        if self._stopping.is_set():
            raise SpawnError(f"{service.name}: not started, because the supervisor is stopping")
        # Append it first: if its start is interrupted, it must still be stopped.
        watched = _Watched(service, time.monotonic(), given_up=True)
        self._watched.append(watched)
        service.start()
        watched.given_up = False
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()

    def alive(self, service: Service) -> bool:
        """Return True if a service was started and runs. Return False while it waits for a restart."""
        return any(
            watched.service is service and not watched.given_up and service.poll() is None
            for watched in self._watched
        )

    def run(self) -> None:
        """Wait for KeyboardInterrupt or a call of `stop()` in another thread. Then stop all services."""
        with contextlib.suppress(KeyboardInterrupt):
            while not self._stopping.wait(3600):
                pass
        self.stop()

    def stop(self) -> None:
        """Stop all services in reverse order. A second call has no effect."""
        self._stopping.set()
        self._stop_services()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        # Stop services that the watcher started in the meantime.
        self._stop_services()

    def _stop_services(self) -> None:
        for watched in reversed(self._watched):
            watched.service.stop(hurry=lambda: self._hurry)

    def _signalled(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked or self._stopping.is_set():
            self._hurry = True
            return
        self._asked = True
        raise KeyboardInterrupt

    def _watch(self) -> None:
        while not self._stopping.wait(WATCH_SECONDS):
            for watched in tuple(self._watched):
                self._look_at(watched, time.monotonic())

    def _look_at(self, watched: _Watched, now: float) -> None:
        if watched.given_up or self._stopping.is_set():
            return
        if watched.start_at is not None:
            if now >= watched.start_at:
                self._start_again(watched)
        elif (status := watched.service.poll()) is not None:
            self._ended(watched, describe_exit(status))
        elif watched.has_stalled(now):
            watched.service.stop(hurry=lambda: True)
            self._ended(watched, f"did not respond for {STALLED_LOOKS} s and was killed")

    def _start_again(self, watched: _Watched) -> None:
        watched.start_at = None
        watched.started_at = time.monotonic()
        watched.watch = ProcessWatch()
        try:
            watched.service.start()
        except RingbackError as error:
            self._ended(watched, f"did not start: {error}")

    def _ended(self, watched: _Watched, how: str) -> None:
        if self._stopping.is_set():
            return
        now = time.monotonic()
        if self._restart is None:
            watched.given_up = True
            self._on_ended(Ended(watched.service.name, how, None))
            return
        restart = self._restart
        steady = now - watched.started_at >= restart.steady_seconds
        watched.failures = 1 if steady else watched.failures + 1
        pause = restart.seconds(watched.failures)
        watched.start_at = now + pause
        self._on_ended(Ended(watched.service.name, how, pause))


# --- readiness and ports ----------------------------------------------------------------------


def answers(url: str, *, timeout_seconds: float = 1.0) -> bool:
    """Return True if a GET of an http URL returns 2xx. Proxies are not used."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return http.HTTPStatus.OK <= status < http.HTTPStatus.MULTIPLE_CHOICES


def wait_until(
    ready: str | Callable[[], bool],
    timeout_seconds: float,
    *,
    what: str | None = None,
    alive: Callable[[], bool] = lambda: True,
    every_seconds: float = 0.05,
) -> None:
    """Wait until a URL returns 2xx or a function returns True.

    Raise NotReadyError after `timeout_seconds`, or when `alive` returns False. `what` is the name in the
    error message.
    """
    name = what or (ready if isinstance(ready, str) else "the service")
    end = time.monotonic() + timeout_seconds
    while not (answers(ready) if isinstance(ready, str) else ready()):
        if not alive():
            raise NotReadyError(f"{name}: ended before it was ready; its output has the reason")
        if time.monotonic() >= end:
            raise NotReadyError(
                f"{name}: not ready after {timeout_seconds:g} s; its output may have the reason"
            )
        time.sleep(every_seconds)


_handed_out: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Return a free port of `host`. Raise SpawnError. A process gets each port only once.

    Another program may take the port before the caller uses it. The caller must handle that.
    """
    for _ in range(1000):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in _handed_out:
            _handed_out.add(port)
            return port
    raise SpawnError(f"{host}: no free port found; stop programs that use many ports")
