"""Batches concurrent calls of the Lua script into one Redis round trip.

A caller that finds the connection idle makes the round trip itself. Calls that arrive meanwhile wait
until it returns. The caller of the first of them then makes the next round trip, with the waiting calls
up to MOST_CALLS and about MOST_BYTES. There is no dedicated thread and no event loop, so web and worker
threads use the same code. The calls of a round trip share one write to the connection and usually one
write to the store's log.

Each batcher has one connection, so that replies are recorded in the order of their calls. With two
connections, a reply from a lost epoch could be recorded after the reply that reported the loss
(epoch.py).

A call is executed at most once: it is sent again only if the store did not have the script. When a round
trip fails, its calls may or may not have been executed.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError

from integration.domain.errors import StoreAwayError
from integration.store.scripting.protocol import SCRIPT, SHA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import redis
    from redis.connection import ConnectionInterface

    from integration.store.scripting.protocol import ScriptProtocol

    Arg = str | int | bytes

MOST_CALLS = 64
MOST_BYTES = 512 * 1024
PATIENCE_SECONDS = 0.4
"""If a round trip fails, waiting calls that are older than this fail, too. Together with the time limits
of the web processes' connection, this ensures a response to the sender within two seconds."""
IDLE_SECONDS = 0.05
"""A connection that was idle for longer is checked before use. So the first call after a restart of the
store does not fail."""
RUN_CALLS = 32
RUN_BYTES = 8 * 1024
"""Up to RUN_CALLS calls of one command share a run of the script, because a run costs as much as a small
admission. A call larger than RUN_BYTES has its own run: it would gain little and delay the others."""

# Prefixes of the errors that are treated as temporary.
_TEMPORARY = (
    "MISCONF",
    "LOADING",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
    "LAYOUT",  # the script's own: another version of Ringback has changed the store
)


def translate_error(error: Exception) -> Exception:
    """Return StoreAwayError for a temporary error, and any other error unchanged.

    Errors of the connection, of a full store and of a read-only replica count as temporary.
    """
    if isinstance(error, ResponseError) and not isinstance(error, OutOfMemoryError | ReadOnlyError):
        word = str(error).split(maxsplit=1)[0] if str(error) else ""
        return StoreAwayError(word) if str(error).startswith(_TEMPORARY) else error
    return StoreAwayError(type(error).__name__)


@dataclass(slots=True, eq=False)
class _Call:
    command: str
    args: tuple[Arg, ...]
    size: int
    called_at: float
    leads: bool = False
    """True if the caller of this call makes the next round trip."""
    reply: Any = None
    woken: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True, eq=False)
class _Connection:
    """A redis-py connection and the time of its last use, by the batcher's clock."""

    raw: ConnectionInterface
    used_at: float = 0.0

    def send(self, commands: Iterable[tuple[Any, ...]]) -> None:
        """Send the commands in one write, connecting first if necessary. Raise RedisError."""
        packed = b"".join(map(hiredis.pack_command, commands))
        self.raw.send_packed_command([packed], check_health=False)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        """Close the connection. The next command connects again."""
        self.raw.disconnect()  # type: ignore[no-untyped-call]


class ScriptBatcher:
    """Runs commands of a script over its own connection.

    `protocol` creates the header of each run and reads its reply. `answer_seconds` limits the wait for
    the replies of a round trip. `clock` returns monotonic seconds.
    """

    def __init__(
        self,
        client: redis.Redis,
        protocol: ScriptProtocol,
        *,
        answer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._protocol = protocol
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._connect = client.connection_pool.make_connection
        self._start()
        _BATCHERS.add(self)

    def _start(self) -> None:
        self._connection = _Connection(self._connect())
        self._idle = True
        self._waiting: deque[_Call] = deque()
        self._lock = threading.Lock()

    def call(self, command: str, args: tuple[Arg, ...]) -> Any:
        """Run one command and return its reply.

        Raise StoreAwayError if the store is unavailable, ResponseError if the script or the server
        rejects the command.
        """
        call = _Call(command, args, _size(args), self._clock())
        with self._lock:
            if self._idle:
                call.leads, self._idle = True, False
            else:
                call.woken.acquire()
                self._waiting.append(call)
        if not call.leads:
            call.woken.acquire()  # released with the reply, or to make the next round trip
        if call.leads:
            self._lead(call)
        if isinstance(call.reply, Exception):
            raise call.reply
        return call.reply

    def _lead(self, first: _Call) -> None:
        """Make one round trip with `first` and waiting calls, then hand over to the next caller."""
        calls = [first, *self._gathered(first.size)]
        failed = True
        try:
            self._trip(calls)
            failed = False
        except (RedisError, OSError) as error:
            for call in calls:
                call.reply = translate_error(error)
        except BaseException:
            for call in calls:
                call.reply = StoreAwayError("the round trip to the store was interrupted")
            raise
        finally:
            if failed:
                # A reply that still arrives would be taken for the reply to another call.
                self._connection.close()
            self._hand_on(failed=failed)
            for call in calls[1:]:
                call.woken.release()

    def _gathered(self, size: int) -> Iterator[_Call]:
        with self._lock:
            for _ in range(MOST_CALLS - 1):
                if not self._waiting or size > MOST_BYTES:
                    return
                call = self._waiting.popleft()
                size += call.size
                yield call

    def _hand_on(self, *, failed: bool) -> None:
        with self._lock:
            overdue = self._overdue() if failed else ()
            if self._waiting:
                leader = self._waiting.popleft()
                leader.leads = True
                leader.woken.release()
            else:
                self._idle = True
        for call in overdue:
            call.reply = StoreAwayError("the store did not answer an earlier call in time")
            call.woken.release()

    def _overdue(self) -> list[_Call]:
        """Remove and return the calls that have waited longer than PATIENCE_SECONDS."""
        latest = self._clock() - PATIENCE_SECONDS
        overdue = [call for call in self._waiting if call.called_at < latest]
        if overdue:
            self._waiting = deque(call for call in self._waiting if call.called_at >= latest)
        return overdue

    def _trip(self, calls: Sequence[_Call]) -> None:
        ends_at = self._clock() + self._answer_seconds
        runs = list(_runs(calls))
        answers = self._run(runs, ends_at)
        unknown = [run for run, answer in zip(runs, answers, strict=True) if _is_unknown(answer)]
        if unknown:
            # The store does not have the script, so these runs changed nothing.
            again = iter(self._run(unknown, ends_at, load=True))
            answers = [next(again) if _is_unknown(answer) else answer for answer in answers]
        for run, answer in zip(runs, answers, strict=True):
            replies = [answer] * len(run) if isinstance(answer, Exception) else self._protocol.replies(answer)
            for call, reply in zip(run, replies, strict=True):
                call.reply = translate_error(reply) if isinstance(reply, Exception) else reply

    def _run(self, runs: Sequence[Sequence[_Call]], ends_at: float, *, load: bool = False) -> list[Any]:
        """Send runs of the script. Return the reply or error of each. `load` loads the script first."""
        commands: list[tuple[Arg, ...]] = [("SCRIPT", "LOAD", SCRIPT)] if load else []
        for run in runs:
            header = self._protocol.header(run[0].command)
            args = [arg for call in run for arg in call.args]
            commands.append(("EVALSHA", SHA, 1, *header, len(run[0].args), *args))
        self._check()
        self._connection.send(commands)
        answers = [self._answer(ends_at) for _ in commands]
        self._connection.used_at = self._clock()
        return answers[1:] if load else answers

    def _answer(self, ends_at: float) -> Any:
        left = max(0.001, ends_at - self._clock())
        try:
            return self._connection.raw.read_response(timeout=left)
        except ResponseError as error:
            return error

    def _check(self) -> None:
        """Close an idle connection if the store has closed it or sent unexpected data."""
        connection = self._connection
        if not connection.raw.is_connected or self._clock() - connection.used_at <= IDLE_SECONDS:
            return
        try:
            usable = not connection.raw.can_read(0)
        except (RedisError, OSError):
            usable = False
        if not usable:
            connection.close()


_BATCHERS: weakref.WeakSet[ScriptBatcher] = weakref.WeakSet()


def _reconnect_after_fork() -> None:
    """Give each batcher of a forked process a new connection, because the parent uses the old one."""
    for batcher in _BATCHERS:
        batcher._start()  # noqa: SLF001  (of this module)


os.register_at_fork(after_in_child=_reconnect_after_fork)


def _runs(calls: Sequence[_Call]) -> Iterator[list[_Call]]:
    """Group small calls of the same command. Yield the calls of each run of the script."""
    shared: dict[tuple[str, int], list[_Call]] = {}
    for call in calls:
        if call.size > RUN_BYTES:
            yield [call]
            continue
        run = shared.setdefault((call.command, len(call.args)), [])
        run.append(call)
        if len(run) == RUN_CALLS:
            yield shared.pop((call.command, len(call.args)))
    yield from shared.values()


def _is_unknown(answer: Any) -> bool:
    return isinstance(answer, NoScriptError)


def _size(args: tuple[Arg, ...]) -> int:
    """Return the size of a call's arguments: bytes, characters for strings, nothing for integers."""
    return sum(len(arg) for arg in args if not isinstance(arg, int))
