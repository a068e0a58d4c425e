"""Starts programs as child processes, watches them, and stops them in good order.

Promises that nothing it started outlives it, even when it is killed with SIGKILL, and that an
environment is never printed. Knows nothing of what the programs do.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import queue
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Protocol, Self
from urllib.parse import urlsplit

import structlog

from integration.clients.backoff import backoff_seconds
from integration.domain.errors import RingbackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import FrameType, TracebackType

log = structlog.get_logger(__name__)

WATCH_SECONDS = 0.1
LONGEST_LINE_BYTES = 64 * 1024


class SpawnError(RingbackError):
    """A program cannot be started; the message names it."""


class NotReadyError(RingbackError):
    """Something did not become ready in time, or ended before it was."""


# --- children that die with this process ------------------------------------------------------

# Linux sends PR_SET_PDEATHSIG's signal when the *thread* that forked ends (prctl(2)), and a parent
# that died before the call is noticed only by asking who the parent is now. An exec wrapper instead
# of preexec_fn: Python code between fork and exec can deadlock when other threads run.
_DIE_WITH_PARENT = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[3:])
"""

# The parent death signal reaches a child, never the child's own children. This process reads which
# groups there are from a pipe, and kills them when the pipe's other end is gone.
_GUARDIAN = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
for group in groups:
    try:
        os.killpg(group, signal.SIGKILL)
    except OSError:
        pass
"""

_BARE_PYTHON = (sys.executable, "-I", "-S", "-c")


class _Forker:
    """One thread that forks all children and lives as long as the process does."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[object]]]
        self._jobs = queue.SimpleQueue()
        threading.Thread(target=self._work, name="forker", daemon=True).start()

    def start(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        done: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, done))  # type: ignore[arg-type]  # a future takes what its job gives
        return done.result()

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001  (handed to the thread that waits)
                done.set_exception(error)
            del job, done


class _Guardian:
    """The pipe to the process that kills the groups left behind by a killed parent."""

    def __init__(self, forker: _Forker) -> None:
        self._forker = forker
        self._groups: set[int] = set()
        self._pipe: IO[bytes] | None = None
        self._lock = threading.Lock()

    def add(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            self._tell(f"+{group}\n")

    def discard(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            self._tell(f"-{group}\n")

    def leave(self) -> None:
        """Let go of the pipe in a forked copy of this process, which must not keep it open."""
        if self._pipe is not None:
            os.close(self._pipe.fileno())

    def _tell(self, line: str) -> None:
        try:
            if self._pipe is not None:
                self._pipe.write(line.encode())
                return
        except OSError:
            log.warning("the guardian of the child processes is gone, starting another")
        self._pipe = self._begin()
        self._pipe.write("".join(f"+{group}\n" for group in self._groups).encode())

    def _begin(self) -> IO[bytes]:
        process = self._forker.start(
            lambda: subprocess.Popen(
                [*_BARE_PYTHON, _GUARDIAN],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
                cwd="/",
            )
        )
        if process.stdin is None:
            raise SpawnError("the guardian of the child processes has no pipe")
        # It ends after this process does: there is nobody left who could wait for it.
        process.returncode = 0
        return process.stdin


class _Nursery:
    """The forker and the guardian of this process, made when first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair: tuple[_Forker, _Guardian] | None = None

    def pair(self) -> tuple[_Forker, _Guardian]:
        with self._lock:
            if self._pair is None:
                forker = _Forker()
                self._pair = forker, _Guardian(forker)
            return self._pair

    def forget(self) -> None:
        self._lock = threading.Lock()
        if self._pair is not None:
            self._pair[1].leave()
        self._pair = None


_nursery = _Nursery()
os.register_at_fork(after_in_child=_nursery.forget)


class Child:
    """A running child in a session of its own, with all processes that it starts there."""

    def __init__(self, process: subprocess.Popen[bytes], guardian: _Guardian) -> None:
        self._process = process
        self._guardian = guardian
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The process id; also the id of its group."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes] | None:
        """Its standard output, where that is a pipe."""
        return self._process.stdout

    def poll(self) -> int | None:
        """Give the exit status (negative: the signal's number), or None while it runs.

        When the child is found to have ended, what is left of its group is killed.
        """
        with self._lock:
            if self._process.returncode is None and self._has_ended():
                # Before the child is reaped, so that its group's number cannot be another's.
                self._signal_group(signal.SIGKILL)
                self._process.wait()
                self._guardian.discard(self.pid)
            return self._process.returncode

    def wait(self, seconds: float) -> int | None:
        """Wait that long at most for its end; give what `poll` gives."""
        end = time.monotonic() + seconds
        pause = 0.002
        while (status := self.poll()) is None and time.monotonic() < end:
            time.sleep(pause)
            pause = min(pause * 1.5, WATCH_SECONDS)
        return status

    def stop(self, seconds: float, *, hurry: Callable[[], bool] = lambda: False) -> int:
        """Ask it to end (SIGTERM), wait, then kill its whole group. Give its exit status.

        `hurry` is asked while waiting; True cuts the wait short.
        """
        self._signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        while self.wait(WATCH_SECONDS) is None and time.monotonic() < end and not hurry():
            pass
        return self.kill()

    def kill(self) -> int:
        """Kill its whole group at once. Give its exit status."""
        while (status := self.poll()) is None:
            self._signal_group(signal.SIGKILL)
            self.wait(1)
        return status

    def _has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, self.pid, flags) is not None

    def _signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _signal_group(self, number: signal.Signals) -> None:
        # macOS answers EPERM for a group of which only a zombie is left.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def spawn(
    arguments: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    output: int | IO[bytes] | None = None,
    pass_fds: Sequence[int] = (),
    private: bool = False,
) -> Child:
    """Start a child that cannot outlive this process, however this process ends.

    `env` None means this process's own. `output` takes standard output and errors together, as
    `subprocess` understands it; None leaves them where this process writes. The child reads nothing.
    What a `private` one writes to files is for this user alone. Raises SpawnError when the program is not
    found or may not be run.
    """
    search = (os.environ if env is None else env).get("PATH", os.defpath)
    program = shutil.which(arguments[0], path=search)
    if program is None:
        raise SpawnError(f"{arguments[0]}: found no such program; allowed: one on PATH, or a full path")
    forker, guardian = _nursery.pair()
    command = [*_BARE_PYTHON, _DIE_WITH_PARENT, str(os.getpid()), os.path.abspath(program), *arguments]  # noqa: PTH100  (links must stay: a venv's python is one)
    try:
        process = forker.start(
            lambda: subprocess.Popen(
                command,
                env=None if env is None else dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                pass_fds=tuple(pass_fds),
                umask=0o077 if private else -1,
                start_new_session=True,
            )
        )
    except OSError as error:
        raise SpawnError(f"{arguments[0]}: cannot be started: {error.strerror}") from error
    guardian.add(process.pid)
    return Child(process, guardian)


def describe_exit(status: int) -> str:
    """Say in words how a process ended: `status` negative is the signal that killed it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


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
