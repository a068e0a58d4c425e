"""Starts child processes that are killed when this process ends for any reason."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future
from typing import IO, TYPE_CHECKING

import structlog

from integration.domain.errors import RingbackError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

log = structlog.get_logger("ringback.processes")

WATCH_SECONDS = 0.1


class SpawnError(RingbackError):
    """A program or service cannot be started, or no free port was found."""


# PR_SET_PDEATHSIG fires when the *thread* that forked ends (prctl(2)). If the parent died before the call,
# only getppid() shows it. A wrapper program is used instead of preexec_fn, because Python code between fork
# and exec can deadlock when other threads run.
_DIE_WITH_PARENT = """
import os, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[3:])
"""
# The parent death signal reaches a child but not its descendants. The guardian process reads the ids of the
# process groups from a pipe, and kills the groups when the pipe is closed.
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


class _ForkThread:
    """A thread that forks all children and lives as long as the process."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], subprocess.Popen[bytes]], Future[object]]]
        self._jobs = queue.SimpleQueue()
        threading.Thread(target=self._work, name="forker", daemon=True).start()

    def start(self, job: Callable[[], subprocess.Popen[bytes]]) -> subprocess.Popen[bytes]:
        done: Future[subprocess.Popen[bytes]] = Future()
        self._jobs.put((job, done))  # type: ignore[arg-type]  # the future has the type of its job
        return done.result()

    def _work(self) -> None:
        while True:
            job, done = self._jobs.get()
            try:
                done.set_result(job())
            except BaseException as error:  # noqa: BLE001  (re-raised in the waiting thread)
                done.set_exception(error)
            del job, done


class _GuardianPipe:
    """The pipe to the guardian process, which kills the process groups when the pipe is closed."""

    def __init__(self, forker: _ForkThread) -> None:
        self._forker = forker
        self._groups: set[int] = set()
        self._pipe: IO[bytes] | None = None
        self._lock = threading.Lock()

    def add(self, group: int) -> None:
        with self._lock:
            self._groups.add(group)
            self._send(f"+{group}\n")

    def discard(self, group: int) -> None:
        with self._lock:
            self._groups.discard(group)
            self._send(f"-{group}\n")

    def leave(self) -> None:
        """Close the pipe in a forked child, because an open copy would keep the guardian waiting."""
        if self._pipe is not None:
            os.close(self._pipe.fileno())

    def _send(self, line: str) -> None:
        try:
            if self._pipe is not None:
                self._pipe.write(line.encode())
                return
        except OSError:
            log.warning("the guardian process has ended; starting a new one")
        self._pipe = self._start()
        self._pipe.write("".join(f"+{group}\n" for group in self._groups).encode())

    def _start(self) -> IO[bytes]:
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
            raise SpawnError(
                "the guardian process was started without a pipe, so it cannot be used; start Ringback again"
            )
        # The guardian ends after this process, so nothing waits for it. Mark it as reaped.
        process.returncode = 0
        return process.stdin


class _ChildProcesses:
    """The fork thread and the guardian pipe of this process, created on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pair: tuple[_ForkThread, _GuardianPipe] | None = None

    def pair(self) -> tuple[_ForkThread, _GuardianPipe]:
        with self._lock:
            if self._pair is None:
                forker = _ForkThread()
                self._pair = forker, _GuardianPipe(forker)
            return self._pair

    def forget(self) -> None:
        self._lock = threading.Lock()
        if self._pair is not None:
            self._pair[1].leave()
        self._pair = None


_spawner = _ChildProcesses()
os.register_at_fork(after_in_child=_spawner.forget)


class Child:
    """A child process in its own session, and the process group of the child."""

    def __init__(self, process: subprocess.Popen[bytes], guardian: _GuardianPipe) -> None:
        self._process = process
        self._guardian = guardian
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The process id, which is also the id of the process group."""
        return self._process.pid

    @property
    def output(self) -> IO[bytes] | None:
        """The child's standard output if it is a pipe, else None."""
        return self._process.stdout

    def poll(self) -> int | None:
        """Return the exit status (negated signal number if killed), or None while the child runs.

        After the child has ended, the rest of its process group is killed.
        """
        with self._lock:
            if self._process.returncode is None and self._has_ended():
                # Kill the group before reaping the child: after that the group id may be reused.
                self._signal_group(signal.SIGKILL)
                self._process.wait()
                self._guardian.discard(self.pid)
            return self._process.returncode

    def wait(self, seconds: float) -> int | None:
        """Wait up to `seconds` for the child to end. Return the result of `poll`."""
        end = time.monotonic() + seconds
        pause = 0.002
        while (status := self.poll()) is None and time.monotonic() < end:
            time.sleep(pause)
            pause = min(pause * 1.5, WATCH_SECONDS)
        return status

    def stop(self, seconds: float, *, hurry: Callable[[], bool] = lambda: False) -> int:
        """Send SIGTERM, wait up to `seconds`, then kill the process group. Return the exit status.

        `hurry` is called while waiting. The wait ends when `hurry` returns True.
        """
        self._signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        while self.wait(WATCH_SECONDS) is None and time.monotonic() < end and not hurry():
            pass
        return self.kill()

    def kill(self) -> int:
        """Kill the process group. Return the exit status."""
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
        # macOS raises EPERM if only a zombie is left of the group.
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
    """Start a child that cannot outlive this process.

    With `env=None` the child inherits the environment. `output` receives standard output and standard error
    as in `subprocess`; None inherits both. Standard input is /dev/null. With `private=True` the umask of the
    child is 077. Raise SpawnError if the program is not found or no process can be created.
    """
    search = (os.environ if env is None else env).get("PATH", os.defpath)
    program = shutil.which(arguments[0], path=search)
    if program is None:
        raise SpawnError(f"{arguments[0]}: program not found; install it on PATH, or use a full path")
    forker, guardian = _spawner.pair()
    command = [*_BARE_PYTHON, _DIE_WITH_PARENT, str(os.getpid()), os.path.abspath(program), *arguments]  # noqa: PTH100  (resolving symlinks would break a venv's python)
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
        raise SpawnError(
            f"{arguments[0]}: cannot be started: {error.strerror}; check that the file is executable"
        ) from error
    guardian.add(process.pid)
    return Child(process, guardian)


def describe_exit(status: int) -> str:
    """Return a description of how a process ended. A negative `status` is a signal number."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
