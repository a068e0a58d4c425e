"""The doorbell: tells Celery that a lane, or a source's lookups, have work. Losing a ring loses nothing.

Ringing never waits for the broker: a thread of its own publishes, and what it cannot publish the sweep
of the workers finds. A message holds a lane's id or a source's name, and nothing else.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.tally import Tally

    Publish = Callable[[str, dict[str, Any]], None]

log = structlog.get_logger("ringback.doorbell")

MOST_WAITING = 10_000


class Doorbell:
    """Rings through functions that publish; `Doorbell.silent()` rings for nobody."""

    def __init__(
        self,
        publish_lane: Publish,
        publish_lookup: Publish,
        trace: Callable[[], dict[str, Any]] = dict,
        tally: Tally | None = None,
    ) -> None:
        """`trace` gives the headers that tie a ring to what caused it; asked where `ring` is called."""
        self._tally = tally
        self._publish = {"lane": publish_lane, "lookup": publish_lookup}
        self._trace = trace
        self._waiting: queue.Queue[tuple[str, str, dict[str, Any]]] = queue.Queue(MOST_WAITING)
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    @classmethod
    def silent(cls) -> Doorbell:
        """Make one for processes that leave ringing to the workers' sweep."""
        return cls(lambda _lane, _headers: None, lambda _source, _headers: None)

    def ring(self, lane: str) -> None:
        """Say that a lane has work."""
        self._put("lane", lane)

    def ring_lookup(self, source: str) -> None:
        """Say that a source has events waiting to be looked up."""
        self._put("lookup", source)

    def _put(self, kind: str, name: str) -> None:
        self._start()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait((kind, name, self._trace()))

    def _start(self) -> None:
        # Started on first use, so that a server that forks after loading the app has it in every child.
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="doorbell", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            kind, name, headers = self._waiting.get()
            try:
                self._publish[kind](name, headers)
                self._count("rung")
            except Exception as error:  # noqa: BLE001  (whatever the broker's client raises: the sweep rings)
                log.warning("doorbell not rung, the sweep will", kind=kind, error=type(error).__name__)
                self._count("not rung")

    def _count(self, what: str) -> None:
        if self._tally is not None:
            self._tally.count(f"doorbells:{what}")
