"""Looks at all queues about ten times a second: which have work, no reason to wait, and nobody who takes it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import redis

from integration.store.scripting.protocol import PREFIX

from .history import DuePeriod

if TYPE_CHECKING:
    from collections.abc import Callable

EVERY_SECONDS = 0.1


class QueueWatch(threading.Thread):
    """Measures how long a queue stands untaken. Asks the store itself, past every proxy."""

    def __init__(self, url: str, well_since: Callable[[], float | None] = lambda: None) -> None:
        """`well_since`: since when, in epoch seconds, a worker has had all it needs; None while none has."""
        super().__init__(name="queue watch", daemon=True)
        self._client = redis.Redis.from_url(
            url, decode_responses=True, socket_timeout=1, socket_connect_timeout=1, retry=None
        )
        self._well_since = well_since
        self._since: dict[str, tuple[str, float]] = {}
        self._ended = threading.Event()
        self.calm_at: float | None = None
        self.longest_now = 0.0
        self.longest_under_faults = (0.0, "")
        self.longest_while_well = (0.0, "")
        self.due_periods: dict[str, DuePeriod] = {}

    def run(self) -> None:
        while not self._ended.wait(EVERY_SECONDS):
            try:
                self._look()
            except redis.RedisError:
                self._since.clear()  # nobody can take a queue while the store is away

    def stop(self) -> None:
        self._ended.set()
        self.join(5)

    def _look(self) -> None:
        queues = sorted(set(self._client.hgetall(f"{PREFIX}accounts").values()))
        with self._client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hmget(f"{PREFIX}store", "held", "settle")
            for queue in queues:
                pipe.hgetall(f"{PREFIX}queue:{queue}")
                pipe.zcard(f"{PREFIX}queue:{queue}:recalls")
            (seconds, micros), (held, settle), *found = pipe.execute()
        now = seconds + micros / 1e6
        for n, queue in enumerate(queues):
            fields = {**found[2 * n], "held": held or "0", "settle": settle or "0"}
            self._note(queue, fields, found[2 * n + 1], now)
        self.longest_now = max((now - since for _, since in self._since.values()), default=0.0)

    def _note(self, queue: str, fields: dict[str, str], queued: int, now: float) -> None:
        turn = f"{fields.get('fence')} {fields.get('step')}"
        if not is_due(fields, queued, now):
            self._since.pop(queue, None)
            return
        known, since = self._since.setdefault(queue, (turn, now))
        if known != turn:
            self._since[queue] = (turn, now)
            return
        if self.calm_at is None:
            if now - since > self.longest_under_faults[0]:
                self.longest_under_faults = (now - since, f"published {fields.get('publications')} times")
            self._note_while_well(queue, fields, since, now)
            return
        began = max(since, self.calm_at)
        period = self.due_periods.get(queue)
        if period is None or now - began > period.seconds:
            self.due_periods[queue] = DuePeriod(queue=queue, began=began, seconds=max(0.0, now - began))

    def _note_while_well(self, queue: str, fields: dict[str, str], since: float, now: float) -> None:
        well = self._well_since()
        seconds = 0.0 if well is None else now - max(since, well)
        if seconds > self.longest_while_well[0]:
            self.longest_while_well = (seconds, f"published {fields.get('publications')} times")


def is_due(fields: dict[str, str], queued: int, now: float) -> bool:
    """Tell whether somebody should be working on a queue; `now` in seconds by the store's clock."""

    def moment(name: str) -> float:
        return float(fields.get(name) or 0) / 1000

    if fields.get("inflight"):
        return moment("lease") < now
    if not queued or fields.get("stopped") or fields.get("paused"):
        return False
    # A store that lost some of its history holds every queue for as long as its lease; one that has just
    # been started hears its workers first.
    held = moment("held") + moment("lease_ms") if moment("held") else 0.0
    return max(moment("wait"), moment("quiet"), held, moment("settle")) < now


def in_seconds(due_periods: dict[str, DuePeriod]) -> float:
    """Give the longest of them."""
    return max((period.seconds for period in due_periods.values()), default=0.0)
