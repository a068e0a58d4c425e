"""Starts programs as child processes, watches them, and stops them in good order.

Promises that nothing it started outlives it, even when it is killed with SIGKILL, and that an
environment is never printed. Knows nothing of what the programs do.
"""

from __future__ import annotations

import contextlib
import http.client
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

import structlog

from integration.clients.backoff import backoff_seconds
from integration.domain.errors import RingbackError
from integration.local.child_process import WATCH_SECONDS, Child, SpawnError, describe_exit, spawn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType, TracebackType

log = structlog.get_logger(__name__)

LONGEST_LINE_BYTES = 64 * 1024


class NotReadyError(RingbackError):
    """Something did not become ready in time, or ended before it was."""


# --- children that die with this process ------------------------------------------------------


# --- services ---------------------------------------------------------------------------------


class Service(Protocol):
    """What a supervisor can start, watch and stop."""

    @property
    def name(self) -> str:
        """What it is called in reports."""

    def start(self) -> None:
        """Start it, again if it ended; returns when it has started. Raises RingbackError if it cannot."""

    def poll(self) -> int | None:
        """Give its exit status, or None while it runs."""

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Stop it in good order within a bounded time, at once when `hurry()`. Stopped already: nothing."""


def write_line(line: str) -> None:
    """Write one line to standard output at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


@dataclass(slots=True)
class Program:
    """A program as a service. Its output goes line by line to `relay`, each with its name before it.

    Secrets go into `env`, never into `arguments`, which every user of the machine can read.
    `stop_seconds` is how long it may take to end once asked. `relay` None drops its output.
    """

    name: str
    arguments: Sequence[str]
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: Path | None = None
    stop_seconds: float = 10.0
    relay: Callable[[str], None] | None = field(default=write_line, repr=False)
    _child: Child | None = field(default=None, init=False, repr=False)
    _reader: threading.Thread | None = field(default=None, init=False, repr=False)

    @property
    def pid(self) -> int | None:
        """The process id, None before the first start."""
        return None if self._child is None else self._child.pid

    def start(self) -> None:
        """Start it. Raises SpawnError."""
        child = spawn(self.arguments, env=self.env, cwd=self.cwd, output=subprocess.PIPE)
        self._child = child
        reader = threading.Thread(
            target=self._read, args=(child,), name=f"output of {self.name}", daemon=True
        )
        reader.start()
        # Known only once it runs: another thread may stop the program meanwhile, and joins it.
        self._reader = reader

    def poll(self) -> int | None:
        """Give its exit status, or None while it runs or was never started."""
        return None if self._child is None else self._child.poll()

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        """Ask it to end, wait `stop_seconds`, then kill it and all that it started."""
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
                self._pass_on(line)

    def _pass_on(self, line: str) -> None:
        # A terminal that is gone must not stop the reading: the program would block on a full pipe.
        if self.relay is not None:
            with contextlib.suppress(OSError, ValueError):
                self.relay(f"{self.name:<8} | {line}")


# --- the supervisor ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a service that ended is started again, in seconds.

    The wait doubles from `first_seconds` to `longest_seconds`, and begins anew after a run of
    `steady_seconds`.
    """

    first_seconds: float = 0.5
    longest_seconds: float = 15.0
    steady_seconds: float = 30.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A service ended though nobody stopped it. `again_in_seconds` None: it is not started again."""

    name: str
    how: str
    again_in_seconds: float | None

    def __str__(self) -> str:
        """Give it as one line."""
        then = "not started again"
        if self.again_in_seconds is not None:
            then = f"starting it again in {self.again_in_seconds:g} s"
        return f"{self.name} {self.how}; {then}"


def log_ended(ended: Ended) -> None:
    """Report a service's end to the log."""
    log.error("a process ended", process=ended.name, how=ended.how, again_in_seconds=ended.again_in_seconds)


@dataclass(slots=True)
class _Watched:
    service: Service
    started_at: float
    failures: int = 0
    start_at: float | None = None
    given_up: bool = False


class Supervisor:
    """Starts services in order, watches them, and stops them in reverse order.

    As a context manager it stops everything on the way out; in the main thread SIGTERM and SIGHUP
    then raise KeyboardInterrupt as Ctrl-C does, and a second signal while stopping kills what is left.
    """

    def __init__(
        self, *, restart: Backoff | None = None, on_ended: Callable[[Ended], None] = log_ended
    ) -> None:
        """`restart` None: a service that ends is reported and stays down."""
        self._restart = restart
        self._on_ended = on_ended
        self._watched: list[_Watched] = []
        self._stopping = threading.Event()
        # Plain flags: a signal handler may interrupt an Event's own lock and would wait for ever.
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
        """Start a service now and watch it from now on. Raises what its own start raises."""
        if self._stopping.is_set():
            raise SpawnError(f"{service.name}: not started, everything is being stopped")
        # Listed first: an interrupt in the middle of the start must still stop what was started.
        watched = _Watched(service, time.monotonic(), given_up=True)
        self._watched.append(watched)
        service.start()
        watched.given_up = False
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()

    def alive(self, service: Service) -> bool:
        """Tell whether a service runs or is about to be started again."""
        return any(
            watched.service is service and not watched.given_up and service.poll() is None
            for watched in self._watched
        )

    def run(self) -> None:
        """Wait for Ctrl-C, SIGTERM or `stop()` from another thread, then stop everything."""
        with contextlib.suppress(KeyboardInterrupt):
            while not self._stopping.wait(3600):
                pass
        self.stop()

    def stop(self) -> None:
        """Stop all services, the last one started first. May be called twice."""
        self._stopping.set()
        self._stop_services()
        if self._watcher is not None and self._watcher is not threading.current_thread():
            self._watcher.join()
        # What the watcher was starting while the others were being stopped.
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

    def _start_again(self, watched: _Watched) -> None:
        watched.start_at = None
        watched.started_at = time.monotonic()
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
        pause = backoff_seconds(watched.failures, base=restart.first_seconds, maximum=restart.longest_seconds)
        watched.start_at = now + pause
        self._on_ended(Ended(watched.service.name, how, pause))


# --- readiness and ports ----------------------------------------------------------------------


def answers(url: str, *, timeout_seconds: float = 1.0) -> bool:
    """Tell whether a GET of an http URL is answered with 2xx. No proxy is ever asked."""
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
    """Wait until a URL answers with 2xx, or a function gives True.

    `alive` False ends the wait at once: what is waited for has ended. `what` names it in the error.
    Raises NotReadyError.
    """
    name = what or (ready if isinstance(ready, str) else "the service")
    end = time.monotonic() + timeout_seconds
    while not (answers(ready) if isinstance(ready, str) else ready()):
        if not alive():
            raise NotReadyError(f"{name}: ended before it was ready")
        if time.monotonic() >= end:
            raise NotReadyError(f"{name}: not ready after {timeout_seconds:g} s")
        time.sleep(every_seconds)


_handed_out: set[int] = set()


def free_port(host: str = "127.0.0.1") -> int:
    """Give a port of `host` that is free now, never the same one twice.

    Another program may take it before it is used: whoever uses it must be ready to ask again.
    """
    for _ in range(1000):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.bind((host, 0))
            port = int(probe.getsockname()[1])
        if port not in _handed_out:
            _handed_out.add(port)
            return port
    raise SpawnError(f"{host}: found no free port")
