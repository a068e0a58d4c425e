"""Wake-ups: Celery messages which announce that a queue, or the lookups of a source, have work.

Publishing neither waits for the broker nor raises: a thread sends the wake-ups from a bounded buffer. If
a wake-up is not published or is lost, the workers' sweep finds its work. The arguments of a message are
only a queue's id and a number, or a source's name.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

import structlog

from integration.celery_app import DRAIN, LOOK_UP

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.store.token_queue import WakeUp
    from integration.telemetry.counters import Counters

log = structlog.get_logger("ringback.wakeup")

MOST_WAITING = 10_000


class WakeUpPublisher:
    """Publishes wake-ups from a thread, which calls `send(task, arguments, headers)`."""

    def __init__(
        self,
        send: Callable[[str, tuple[Any, ...], dict[str, Any]], None],
        trace: Callable[[], dict[str, Any]] = dict,
        counters: Counters | None = None,
        connect: Callable[[], object] = dict,
    ) -> None:
        """Create a publisher. Its thread is started by `start` or by the first wake-up.

        `trace` returns the headers that link a message to its cause, and is called by `publish`.
        `connect` opens the connection to the broker before the first message.
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
        """Return a publisher that publishes nothing. The workers' sweep finds the work."""
        return cls(lambda _task, _arguments, _headers: None)

    def publish(self, wake_up: WakeUp) -> None:
        """Publish a wake-up of a queue. If the buffer is full, the wake-up is dropped."""
        self._put(DRAIN, tuple(wake_up))

    def publish_lookup(self, source: str) -> None:
        """Publish a wake-up of a source's lookups. If the buffer is full, the wake-up is dropped."""
        self._put(LOOK_UP, (source,))

    def _put(self, task: str, arguments: tuple[Any, ...]) -> None:
        self.start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((task, arguments, self._trace()))

    def start(self) -> None:
        """Start the thread, which connects to the broker before the first wake-up."""
        # `_put` calls this too, because a server may fork after loading the app, without the thread.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001  (the first message tries again)
            log.warning("the broker is away; check BROKER_URL", error=type(error).__name__)
        while True:
            task, arguments, headers = self._waiting.get()
            try:
                self._send(task, arguments, headers)
                self._count("published")
            except Exception as error:  # noqa: BLE001  (any error of the broker's client)
                log.warning(
                    "wake-up not published; the workers' sweep finds its work within seconds",
                    task=task,
                    error=type(error).__name__,
                )
                self._count("failed")

    def _count(self, what: str) -> None:
        if self._counters is not None:
            self._counters.count(f"wake_ups:{what}")
