"""Starts the helper of a web process, gives it work, and replaces it when it fails."""

from __future__ import annotations

import os
import select
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog

from integration.domain.errors import ClientLeftError, HelperFailedError, WorkFailedError, WorkOverranError
from integration.web.isolation.frames import frame_of, read_frame, write_whole
from integration.web.isolation.helper import CANCEL, CANCELLED, DONE, OVERRAN
from integration.web.isolation.user_queue import UserQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from integration.web.isolation.helper import Limits
    from integration.web.isolation.user_queue import Caller

_log = structlog.get_logger("ringback.web")

# The helper kills its work in time. If it does not answer for this long after that, it hangs.
GRACE_SECONDS: Final = 10.0
# It loads its code and prepares thousands of routes.
PREPARE_SECONDS: Final = 60.0
END_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1
# The helper needs no secret, and no other variable either.
_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TZ")


@dataclass(slots=True)
class _Running:
    """A started helper, and what it is prepared for."""

    process: subprocess.Popen[bytes]
    prepared_for: object = None


class HelperProcess:
    """A helper, started by `command`, and the queue of its users. Thread-safe."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._queue = UserQueue()
        self._starting = threading.Lock()
        self._running: _Running | None = None

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[HelperSlot]:
        """Yield a slot of a caller. Raise TooMuchWorkError and ClientLeftError."""
        with self._queue.slot(caller):
            yield HelperSlot(self, caller)

    def start(self) -> None:
        """Start the helper, if there is none. It loads its code in the background.

        Only the next work replaces one that has ended: the present one may still use its descriptors.
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
        """Return the helper, another one if it has ended. Only the holder of the slot may call this."""
        with self._starting:
            if self._running is not None and self._running.process.poll() is None:
                return self._running
            self._end()
            return self._start()

    def stop(self) -> None:
        """End the helper and its work. The next work starts another one."""
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
            # It kills its work first.
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def exchange(self, message: dict[str, Any], prepare: Preparation, caller: Caller) -> list[Any]:
        """Return the answer of the helper to a piece of work. Raise HelperFailedError."""
        running = self._started()
        process = running.process
        if process.stdin is None or process.stdout is None:
            raise HelperFailedError("the helper does not run")
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
            _log.error("the helper for previews failed and is replaced", error=type(error).__name__)
            raise HelperFailedError(type(error).__name__) from None
        return answer


class Preparation:
    """What the helper needs before its work. `value` returns it as JSON values.

    `of` is the object that it is made of: the helper is prepared again when it is another one.
    """

    def __init__(self, of: object, value: Callable[[], Any]) -> None:
        self.of = of
        self.value = value


class HelperSlot:
    """The slot of a user at the helper: it may do any number of pieces of work, one after the other."""

    def __init__(self, helper: HelperProcess, caller: Caller) -> None:
        self._helper = helper
        self._caller = caller

    def run(self, work: str, value: Any, limits: Limits, prepare: Preparation) -> Any:
        """Return the result of a piece of work on JSON values.

        Raise WorkOverranError if it was killed after `limits.seconds`, ClientLeftError if it was killed
        because the client left, WorkFailedError if it failed, and HelperFailedError if the helper did.
        """
        self._caller.require_present()
        message = {
            "work": work,
            "value": value,
            "seconds": limits.seconds,
            "memory_bytes": limits.memory_bytes,
        }
        ended, result = self._helper.exchange(message, prepare, self._caller)
        if ended == DONE:
            return result
        if ended == CANCELLED:
            raise ClientLeftError("the client has left")
        if ended == OVERRAN:
            _log.warning("work was killed, because it took too long", work=work, seconds=limits.seconds)
            raise WorkOverranError(limits.seconds)
        raise WorkFailedError(str(result))


class _Wait:
    """Waits for the helper, at most `seconds` in all. Cancels its work when the client leaves."""

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
        """Wait for so many seconds more."""
        self._until += seconds

    def until_writable(self) -> None:
        """Wait until the helper takes more of a message. Raise TimeoutError."""
        while not self._writable.poll(_LOOK_SECONDS * 1000):
            self._require_time()

    def until_readable(self) -> None:
        """Wait until the helper answers. Raise TimeoutError."""
        while not self._readable.poll(_LOOK_SECONDS * 1000):
            self._require_time()
            if self._caller.left.is_set() and not self._cancelled:
                self._cancelled = True
                write_whole(self._requests, frame_of(CANCEL), self.until_writable)

    def _require_time(self) -> None:
        if time.monotonic() > self._until:
            raise TimeoutError
