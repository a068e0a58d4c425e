"""Calls of many requests to the store, sent together: one round trip and one fsync for all who wait.

Whoever asks is told its own reply, and only when that has come: each call stands for itself in the store,
and one that is refused harms none beside it. Nobody waits behind a store that hangs: when a round trip
fails, those who have waited too long for theirs are told so with it.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.store import Store

    Tell = Callable[[Any], None]

# While one round trip is under way, another gathers.
TRIPS_AT_ONCE = 2
MOST_CALLS = 64
MOST_BYTES = 512 * 1024
# With the time that the store may take, a sender has its answer within two seconds.
PATIENCE_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class _Call:
    words: tuple[str | int | bytes, ...]
    tell: Tell
    asked_at: float

    @property
    def size(self) -> int:
        return sum(len(word) for word in self.words if not isinstance(word, int))


class Together:
    """Gathers calls of the store's script. `clock` gives seconds that only grow."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._waiting: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._starting = threading.Lock()

    def call(self, *words: str | int | bytes, tell: Tell) -> None:
        """Run one command of the script, as `Store.call` does, with others.

        `tell` is called once, in another thread, with the reply or with a StoreAwayError; it must not
        raise and not wait.
        """
        self._waiting.put(_Call(words, tell, self._clock()))
        if not self._threads:
            self._start()

    def _start(self) -> None:
        # Started on first use, so that a server that forks after loading the app has them in every child.
        with self._starting:
            while len(self._threads) < TRIPS_AT_ONCE:
                thread = threading.Thread(target=self._run, name="together", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run(self) -> None:
        while True:
            calls = self._gather()
            if self._trip(calls):
                continue
            for call in self._overdue():
                call.tell(StoreAwayError("others waited for the store in vain"))

    def _gather(self) -> list[_Call]:
        calls = [self._waiting.get()]
        size = calls[0].size
        while len(calls) < MOST_CALLS and size < MOST_BYTES:
            try:
                calls.append(self._waiting.get_nowait())
            except queue.Empty:
                break
            size += calls[-1].size
        return calls

    def _trip(self, calls: list[_Call]) -> bool:
        """Make one round trip, tell everybody what came of it; False when the store is away."""
        try:
            replies = self._store.call_all([call.words for call in calls])
        except Exception as error:  # noqa: BLE001  (whoever waits must be told, whatever went wrong)
            replies = [error] * len(calls)
        for call, reply in zip(calls, replies, strict=True):
            call.tell(reply)
        return not all(isinstance(reply, Exception) for reply in replies)

    def _overdue(self) -> list[_Call]:
        """Give those who have waited too long; the others wait on."""
        overdue, now = [], self._clock()
        for _ in range(self._waiting.qsize()):
            try:
                call = self._waiting.get_nowait()
            except queue.Empty:
                break
            if now - call.asked_at > PATIENCE_SECONDS:
                overdue.append(call)
            else:
                self._waiting.put(call)
        return overdue
