"""Calls of many requests to the store, sent together from a running loop: one round trip for all who wait.

Whoever asks is told its own reply, and only when that has come: each call stands for itself in the store,
and one that is refused harms none beside it. The store writes what came together to disk once. Nobody waits
behind a store that hangs: when a round trip fails, those who have waited too long for theirs fail with it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import hiredis
from redis.exceptions import NoScriptError, RedisError, ResponseError

from integration.errors import StoreAwayError
from workers.runs import runs_of, size_of
from workers.store import PREFIX, as_ours, script_of, sha_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis.asyncio.connection import AbstractConnection

    from workers.runs import Run, Words
    from workers.store import Store

# While a round trip is under way the next one gathers: few large ones cost the store, the disk and this
# process less than many small ones, and nobody waits for more than the one before.
TRIPS_AT_ONCE = 1
MOST_CALLS = 64
MOST_BYTES = 512 * 1024
# With the time that the store may take, a sender has its answer within two seconds.
PATIENCE_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class _Call:
    words: Words
    told: asyncio.Future[Any]
    asked_at: float


class Together:
    """Gathers calls of the store's script. `clock` gives seconds that only grow.

    `connection` makes a connection that has a time limit for being opened; `answer_seconds` is that of a
    whole round trip. To be used on one loop at a time; on another one it begins anew.
    """

    def __init__(
        self,
        store: Store,
        connection: Callable[[], AbstractConnection],
        *,
        answer_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._connection = connection
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._trips: _Trips | None = None

    async def call(self, *words: str | int | bytes) -> Any:
        """Run one command of the script, as `Store.call` does, with others.

        Raises StoreAwayError when it cannot be done now, RedisError for a mistake of ours.
        """
        return await self._here().call(words)

    async def open(self) -> None:
        """Open the connections of this loop, as far as the store answers."""
        await self._here().open()

    def _here(self) -> _Trips:
        loop = asyncio.get_running_loop()
        if self._trips is None or self._trips.loop is not loop:
            lines = [_Line(self._store, self._connection()) for _ in range(TRIPS_AT_ONCE)]
            self._trips = _Trips(loop, lines, self._answer_seconds, self._clock)
        return self._trips


class _Line:
    """One connection on which the store is asked for many things at once."""

    def __init__(self, store: Store, connection: AbstractConnection) -> None:
        self._store = store
        self._connection = connection

    async def ask(self, calls: Sequence[Words]) -> list[Any]:
        """Run several commands, each by itself; gives the reply of each, or its error.

        Raises whatever ends the connection.
        """
        runs = list(runs_of(calls))
        answers = await self._ask(runs)
        unknown = [place for place, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if unknown:
            # The script was not there, so nothing of these has happened.
            again = await self._ask([runs[place] for place in unknown], load=True)
            for place, answer in zip(unknown, again, strict=True):
                answers[place] = answer
        replies: list[Any] = [None] * len(calls)
        for run, answer in zip(runs, answers, strict=True):
            read = answer if isinstance(answer, Exception) else self._store.read(answer)
            for place, reply in zip(run.places, run.replies(read), strict=True):
                replies[place] = as_ours(reply) if isinstance(reply, Exception) else reply
        return replies

    async def _ask(self, runs: Sequence[Run], *, load: bool = False) -> list[Any]:
        scripts = sorted({script_of(str(run.words[0])) for run in runs}) if load else []
        asked = [_packed("SCRIPT", "LOAD", script) for script in scripts]
        for run in runs:
            told = self._store.words(*run.words)
            asked.append(_packed("EVALSHA", sha_of(str(run.words[0])), 1, PREFIX, *told))
        await self._connection.send_packed_command(b"".join(asked), check_health=False)
        return [await self._reply() for _ in asked][len(scripts) :]

    async def _reply(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf)
        except ResponseError as error:
            return error

    async def open(self) -> None:
        """Connect; where that fails now, the first who asks finds out."""
        with suppress(RedisError, OSError):
            await self._connection.connect()  # type: ignore[no-untyped-call]

    async def leave(self) -> None:
        """Close the connection: what is still to come on it would be taken for other replies."""
        with suppress(RedisError, OSError):
            await self._connection.disconnect(nowait=True)


def _packed(*words: Any) -> bytes:
    packed: bytes = hiredis.pack_command(words)
    return packed


class _Trips:
    """The round trips of one loop: those who wait, and the lines that are free."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        lines: list[_Line],
        answer_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self.loop = loop
        self._free = lines
        self._answer_seconds = answer_seconds
        self._clock = clock
        self._waiting: deque[_Call] = deque()
        self._under_way: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._answer_seconds):
                await asyncio.gather(*(line.open() for line in self._free))

    def call(self, words: Words) -> asyncio.Future[Any]:
        told: asyncio.Future[Any] = self.loop.create_future()
        self._waiting.append(_Call(words, told, self._clock()))
        if self._free:
            # It begins in the next pass of the loop, with all that has come by then.
            task = self.loop.create_task(self._travel(self._free.pop()))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return told

    async def _travel(self, line: _Line) -> None:
        """Make round trips on a line for as long as somebody waits."""
        try:
            while calls := self._gathered():
                if not await self._trip(line, calls):
                    self._fail_overdue()
        finally:
            self._free.append(line)

    def _gathered(self) -> list[_Call]:
        calls: list[_Call] = []
        size = 0
        while self._waiting and len(calls) < MOST_CALLS and size < MOST_BYTES:
            calls.append(self._waiting.popleft())
            size += size_of(calls[-1].words)
        return calls

    async def _trip(self, line: _Line, calls: Sequence[_Call]) -> bool:
        """Make one round trip, tell everybody what came of it; False when the store is away."""
        try:
            async with asyncio.timeout(self._answer_seconds):
                replies = await line.ask([call.words for call in calls])
        except Exception as error:  # noqa: BLE001  (whoever waits must be told, whatever went wrong)
            await line.leave()
            replies = [as_ours(error)] * len(calls)
        for call, reply in zip(calls, replies, strict=True):
            _tell(call.told, reply)
        return not all(isinstance(reply, Exception) for reply in replies)

    def _fail_overdue(self) -> None:
        """Tell those who have waited too long; the others wait on."""
        now = self._clock()
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if now - call.asked_at > PATIENCE_SECONDS:
                _tell(call.told, StoreAwayError("others waited for the store in vain"))
            else:
                self._waiting.append(call)


def _tell(told: asyncio.Future[Any], reply: Any) -> None:
    if told.done():
        return  # whoever asked has gone
    if isinstance(reply, Exception):
        told.set_exception(reply)
    else:
        told.set_result(reply)
