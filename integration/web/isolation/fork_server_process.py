"""Start the fork server of a web process, send it tasks, and replace it when it fails."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from integration.domain.errors import (
    ClientLeftError,
    ForkServerFailedError,
    WorkFailedError,
    WorkOverranError,
)
from integration.web.isolation.fork_server import CANCEL, CANCELLED, DONE, OVERRAN
from integration.web.isolation.frames import frame_of, read_frame, write_whole
from integration.web.isolation.user_queue import UserQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.web.isolation.fork_server import Limits
    from integration.web.isolation.user_queue import Caller, QueueTicket

_log = structlog.get_logger("ringback.web")

# The fork server kills a task at its time limit. Without a result for this long after that, it hangs.
GRACE_SECONDS: Final = 10.0
# The fork server loads its code and compiles thousands of routes.
PREPARE_SECONDS: Final = 60.0
END_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1
# The fork server gets no other variables, because they may be secrets.
_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ")


@dataclass(slots=True)
class _Running:
    """A started fork server. `prepared_for` is `of` of the last `Preparation` that was sent, or None."""

    process: subprocess.Popen[bytes]
    prepared_for: object = None


class ForkServerProcess:
    """The fork server that `command` starts, and the queue of its users.

    The queue and the start are thread-safe. Only the holder of the turn may call `exchange`.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._queue = UserQueue()
        self._starting = threading.Lock()
        self._running: _Running | None = None

    @contextmanager
    def place(self, caller: Caller) -> Iterator[IsolatedRunner]:
        """Hold a place in the queue in the context, and yield a runner for it.

        Raise TooMuchWorkError if too many places are taken.
        """
        with self._queue.place(caller) as place:
            yield IsolatedRunner(self, place)

    def turn(self, place: QueueTicket) -> AbstractContextManager[None]:
        """Wait for the turn of a place, and hold the turn in the context.

        Raise ClientLeftError if the client leaves while it waits.
        """
        return self._queue.turn(place)

    def start(self) -> None:
        """Start the fork server if none was started, so that it loads its code before the first task.

        A fork server that has ended is not replaced here, because a task may still use its file
        descriptors. The next task replaces it.
        """
        with self._starting:
            if self._running is None:
                self._start()

    def _start(self) -> _Running:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env={name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        )
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
        self._running = _Running(process)
        return self._running

    def _started(self) -> _Running:
        """Return the running fork server, or start one.

        Only the holder of the turn may call this.
        """
        with self._starting:
            if self._running is not None and self._running.process.poll() is None:
                return self._running
            self._end()
            return self._start()

    def stop(self) -> None:
        """End the fork server and its task. The next task starts a new fork server."""
        with self._starting:
            self._end()

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        process = running.process
        if process.stdin is not None:
            process.stdin.close()
        try:
            # The fork server first kills its task.
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def exchange(self, message: dict[str, Any], prepare: Preparation, caller: Caller) -> list[Any]:
        """Send a task to the fork server. Return a list of its outcome and its result.

        Raise ForkServerFailedError if the fork server fails or does not answer in time.
        """
        running = self._started()
        process = running.process
        if process.stdin is None or process.stdout is None:
            raise ForkServerFailedError("the fork server was started without pipes")
        requests, answers = process.stdin.fileno(), process.stdout.fileno()
        wait = _Wait(requests, answers, message["seconds"] + GRACE_SECONDS, caller)
        try:
            if running.prepared_for is not prepare.of:
                wait.longer(PREPARE_SECONDS)
                write_whole(requests, frame_of({"prepare": prepare.value()}), wait.until_writable)
                running.prepared_for = prepare.of
            write_whole(requests, frame_of(message), wait.until_writable)
            answer: list[Any] = read_frame(answers, wait.until_readable)
        except (OSError, EOFError, ValueError) as error:
            self.stop()
            _log.error("the fork server failed; a new one is started", error=type(error).__name__)
            raise ForkServerFailedError(type(error).__name__) from None
        return answer


class Preparation:
    """The data that the fork server needs before its tasks. `value` returns the data as JSON values.

    `of` is the object that the data come from, such as the configuration. The data are sent again if `of`
    is another object.
    """

    def __init__(self, of: object, value: Callable[[], Any]) -> None:
        self.of = of
        self.value = value


class IsolatedRunner:
    """A runner for the tasks of one request.

    It has a place in the queue, and takes a turn for each task.
    """

    def __init__(self, server: ForkServerProcess, place: QueueTicket) -> None:
        self._server = server
        self._place = place

    def run(self, work: str, value: Any, limits: Limits, prepare: Preparation) -> Any:
        """Run the task named `work` on a JSON value, and return its result.

        Raise WorkOverranError if the task was killed after `limits.seconds`, WorkFailedError if it
        failed, ClientLeftError if the client left, and ForkServerFailedError if the fork server failed.
        """
        caller = self._place.caller
        caller.require_present()
        message = {
            "work": work,
            "value": value,
            "seconds": limits.seconds,
            "memory_bytes": limits.memory_bytes,
        }
        with self._server.turn(self._place):
            ended, result = self._server.exchange(message, prepare, caller)
        if ended == DONE:
            return result
        if ended == CANCELLED:
            raise ClientLeftError("the client closed the connection")
        if ended == OVERRAN:
            _log.warning("a task was killed at its time limit", work=work, seconds=limits.seconds)
            raise WorkOverranError(limits.seconds)
        raise WorkFailedError(str(result))


class _Wait:
    """A wait for the fork server of at most `seconds` in total."""

    def __init__(self, requests: int, answers: int, seconds: float, caller: Caller) -> None:
        self._requests = requests
        # `select` fails for descriptors from 1024.
        self._writable, self._readable = select.poll(), select.poll()
        self._writable.register(requests, select.POLLOUT)
        self._readable.register(answers, select.POLLIN)
        self._until = time.monotonic() + seconds
        self._caller = caller
        self._cancelled = False

    def longer(self, seconds: float) -> None:
        """Extend the total waiting time."""
        self._until += seconds

    def until_writable(self) -> None:
        """Wait until the pipe to the fork server accepts data. Raise TimeoutError if no time is left."""
        while not self._writable.poll(_LOOK_SECONDS * 1000):
            self._require_time()

    def until_readable(self) -> None:
        """Wait until the fork server has written data. Raise TimeoutError if no time is left.

        If the client leaves meanwhile, send CANCEL once.
        """
        while not self._readable.poll(_LOOK_SECONDS * 1000):
            self._require_time()
            if self._caller.left.is_set() and not self._cancelled:
                self._cancelled = True
                write_whole(self._requests, frame_of(CANCEL), self.until_writable)

    def _require_time(self) -> None:
        if time.monotonic() > self._until:
            raise TimeoutError
