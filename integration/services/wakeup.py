"""Wake-ups: Celery messages which say that a queue, or a source's lookups, have work.

Publishing never waits for the broker and never fails: a thread of its own takes wake-ups from a bounded
buffer. What it cannot publish, or does not reach before the process ends, the sweep of the workers finds. A
message holds a queue's id and a number, or a source's name, and nothing else.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.store.token_queue import WakeUp
    from integration.telemetry.counters import Counters

log = structlog.get_logger("ringback.wakeup")

MOST_WAITING = 10_000


class WakeUpPublisher:
    """Publishes wake-ups through `send(task, arguments, headers)`."""

    def __init__(
        self,
        send: Callable[[str, tuple[Any, ...], dict[str, Any]], None],
        trace: Callable[[], dict[str, Any]] = dict,
        counters: Counters | None = None,
        connect: Callable[[], object] = dict,
    ) -> None:
        """`trace` returns the headers that tie a message to its cause; it is called in `publish`.

        `connect` does what `send` would do once, before the first message.
        """
        self._send = send
        self._connect = connect
        self._trace = trace
        self._counters = counters
        self._waiting: queue.Queue[tuple[str, tuple[Any, ...], dict[str, Any]]] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @classmethod
    def silent(cls) -> WakeUpPublisher:
        """Return one that publishes nothing, for processes that leave it to the workers' sweep."""
        return cls(lambda _task, _arguments, _headers: None)

    def publish(self, wake_up: WakeUp) -> None:
        """Have a queue drained."""
        self._put("ringback.drain", tuple(wake_up))

    def publish_lookup(self, source: str) -> None:
        """Have a source's lookups made."""
        self._put("ringback.look_up", (source,))

    def _put(self, task: str, arguments: tuple[Any, ...]) -> None:
        self.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((task, arguments, self._trace()))

    def start(self) -> None:
        """Connect to the broker, if that has not begun; the first wake-up then leaves without delay."""
        # Else started on first use, so that a server that forks after loading the app has it in every child.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001  (the first message tries again)
            log.warning("the broker is away", error=type(error).__name__)
        while True:
            task, arguments, headers = self._waiting.get()
            try:
                self._send(task, arguments, headers)
                self._count("published")
            except Exception as error:  # noqa: BLE001  (whatever the broker's client raises: the sweep finds it)
                log.warning("wake-up not published, the sweep will", task=task, error=type(error).__name__)
                self._count("failed")

    def _count(self, what: str) -> None:
        if self._counters is not None:
            self._counters.count(f"wake_ups:{what}")
