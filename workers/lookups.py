"""Lookups: reads the records of events that carry only an id, before the events are mapped.

The store keeps the waiting events with their due times; a Celery message only reports that there are some. A
failed lookup is repeated later, also when a worker has died meanwhile.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import structlog

from integration.clients.backoff import backoff_seconds
from integration.clients.lookups import LookupFailedError, LookupResult, look_up
from integration.clients.retry_after import LIMIT_SECONDS
from integration.config.source_models import lookup_of
from integration.mapping.planner import Outcome, plan_event
from workers.drain import utc_now

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.clients.lookups import Variables
    from integration.config.source_models import Lookup
    from integration.services.container import Services
    from integration.store.deliveries import StoredEvents

log = structlog.get_logger("ringback.lookup")

LEASE_SECONDS = 60.0
BATCH = 100
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 300.0


def wait_after(tries: int, retry_after_seconds: float | None) -> float:
    """Return the seconds to wait after the `tries`-th failure, at least those that the CRM asks for."""
    backoff = backoff_seconds(tries, base=FIRST_WAIT_SECONDS, maximum=LONGEST_WAIT_SECONDS)
    return max(backoff, min(retry_after_seconds or 0.0, LIMIT_SECONDS))


class LookupRunner:
    """Runs lookups, one batch at a time for each source and process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._busy: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def look_up(self, source: str) -> None:
        """Run the due lookups of a source until none is left. Raise StoreAwayError."""
        with self._guard:
            busy = self._busy.setdefault(source, threading.Lock())
        if not busy.acquire(blocking=False):
            return
        try:
            while self._batch(source):
                pass
        finally:
            busy.release()

    def _batch(self, source: str) -> bool:
        settings = self._services.config.sources.get(source)
        if settings is None:
            return False
        waiting = self._services.deliveries.take_lookups(
            source, most_events=BATCH, lease_seconds=LEASE_SECONDS
        )
        if not waiting:
            return False
        ids = tuple(dict.fromkeys(e.lookup_id for stored in waiting for e in stored.events if e.lookup_id))
        lookup = lookup_of(settings)
        found = LookupResult({}) if lookup is None else self._read(lookup, ids, waiting)
        if found is None:
            return False
        for stored in waiting:
            reasons = [found.failed[id_] for e in stored.events if (id_ := e.lookup_id or "") in found.failed]
            if reasons:
                self._postpone(stored, wait_after(stored.tries, None), reasons[0])
            else:
                self._admit(stored, found.records)
        return True

    def _read(self, lookup: Lookup, ids: tuple[str, ...], waiting: list[StoredEvents]) -> LookupResult | None:
        try:
            return look_up(lookup, ids)
        except LookupFailedError as error:
            for stored in waiting:
                self._postpone(stored, wait_after(stored.tries, error.retry_after_seconds), error.reason)
            return None

    def _postpone(self, stored: StoredEvents, wait_seconds: float, reason: str) -> None:
        log.warning("records cannot be read now", source=stored.delivery.source, reason=reason)
        self._services.deliveries.postpone_lookup(stored.id, wait_seconds, reason)

    def _admit(self, stored: StoredEvents, records: Mapping[str, Variables]) -> None:
        now = utc_now()
        outcomes: list[Outcome] = [
            plan_event(
                self._services.routes,
                stored.delivery,
                event,
                now,
                looked_up=records.get(event.lookup_id or "", {}),
            )
            for event in stored.events
        ]
        self._services.admission.resolve(stored, outcomes, parked=False)
