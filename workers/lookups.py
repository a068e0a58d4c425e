"""Lookups: read the CRM records of events that carry only an id, before the events are mapped.

The store keeps the waiting events with their due times. A Celery message only announces that a source has
due lookups. A failed lookup is repeated later, also if the worker has died. Some failures affect every
record, for example a rate limit or a time-out. After such a failure the source's lookups are suspended for
a while, unless their settings change. After a refused token they are suspended until their settings change,
or until an online check succeeds. If only single records cannot be read, only their events wait. These
events are parked after MOST_TRIES tries.
"""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from integration.clients.backoff import backoff_seconds
from integration.clients.lookups import FailureKind, LookupFailedError, LookupResult, look_up
from integration.clients.retry_after import LIMIT_SECONDS
from integration.config.source_models import lookup_of
from integration.mapping.planner import EventPlan, Pending, plan_event, unreadable_record
from workers.drain import utc_now

if TYPE_CHECKING:
    from integration.config.source_models import Lookup
    from integration.services.container import Services
    from integration.store.deliveries import StoredEvents

log = structlog.get_logger("ringback.lookup")

LEASE_SECONDS = 60.0
# A lookup takes at most 40 s. So one that begins within these seconds ends with the lease at the latest.
ALONE_SECONDS = 15.0
BATCH = 100
FIRST_WAIT_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 300.0
# For a record that cannot be read although the CRM answers. With these waits, the tries take about a day.
LONGEST_RECORD_WAIT_SECONDS = 3600.0
MOST_TRIES = 35


def wait_after(tries: int, retry_after_seconds: float | None, longest: float = LONGEST_WAIT_SECONDS) -> float:
    """Return the seconds to wait after failure number `tries`: from 2 s, doubling up to `longest`.

    If the CRM requests a longer wait, return the requested wait, at most LIMIT_SECONDS.
    """
    backoff = backoff_seconds(tries, base=FIRST_WAIT_SECONDS, maximum=longest)
    return max(backoff, min(retry_after_seconds or 0.0, LIMIT_SECONDS))


class LookupRunner:
    """Runs lookups, one batch at a time for each source and process."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._busy: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def look_up(self, source: str) -> None:
        """Run the due lookups of a source until none is left or the source fails. Raise StoreAwayError.

        Do nothing if another thread of this process runs them.
        """
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
        lookup = lookup_of(settings)
        waiting = self._services.deliveries.take_lookups(
            source, digest_of_lookup(lookup), most_events=BATCH, lease_seconds=LEASE_SECONDS
        )
        if not waiting:
            return False
        try:
            found = LookupResult({}) if lookup is None else look_up(lookup, _ids_of(waiting))
        except LookupFailedError as error:
            if lookup is None or error.kind.is_about_source:
                self._fail(source, digest_of_lookup(lookup), waiting, error)
                return False
            if len(waiting) > 1:
                return self._each_alone(source, lookup, waiting)
            found = _all_failed(waiting, error)
        self._settle(source, digest_of_lookup(lookup), waiting, found)
        return True

    def _each_alone(self, source: str, lookup: Lookup, waiting: list[StoredEvents]) -> bool:
        """Look up each delivery separately, so that a record that breaks a response delays no other.

        Return False if the source fails, else True. Deliveries that are not reached within ALONE_SECONDS
        become due again when their lease expires.
        """
        end = time.monotonic() + ALONE_SECONDS
        for place, stored in enumerate(waiting):
            if time.monotonic() > end:
                break
            try:
                found = look_up(lookup, _ids_of([stored]))
            except LookupFailedError as error:
                if error.kind.is_about_source:
                    self._fail(source, lookup.digest, waiting[place:], error)
                    return False
                found = _all_failed([stored], error)
            self._settle(source, lookup.digest, [stored], found)
        return True

    def _settle(self, source: str, settings: str, waiting: list[StoredEvents], found: LookupResult) -> None:
        self._services.lookup_status.succeeded(source, settings)
        error = _most_urgent_failure(found)
        # Record the failure before the events are postponed with a wait of 0, so that no worker tries the
        # refused token again. With this wait they are due as soon as the settings change.
        if error and error.needs_change:
            self._note(source, settings, error, 0.0, holds=True)
        waits = [wait for stored in waiting if (wait := self._admit(stored, found)) is not None]
        if error and waits and not error.needs_change:
            self._note(source, settings, error, min(waits), holds=False)

    def _fail(
        self, source: str, settings: str, waiting: list[StoredEvents], error: LookupFailedError
    ) -> None:
        """Record a failure that affects every record of the source, and postpone the deliveries."""
        failures = self._services.lookup_status.failures(source)
        wait = wait_after(failures + 1, error.retry_after_seconds)
        self._note(source, settings, error, wait, holds=True)
        for stored in waiting:
            self._services.deliveries.postpone_lookup(stored.id, 0.0, error.reason)

    def _note(
        self, source: str, settings: str, error: LookupFailedError, wait_seconds: float, *, holds: bool
    ) -> None:
        log.warning(
            "records could not be read; the source waits until its lookup is changed"
            if error.needs_change
            else "records could not be read; the lookup is repeated",
            source=source,
            kind=error.kind,
            reason=error.reason,
        )
        self._services.lookup_status.failed(
            source,
            settings,
            error.kind,
            error.reason,
            wait_seconds=None if error.needs_change else wait_seconds,
            holds=holds,
        )

    def _admit(self, stored: StoredEvents, found: LookupResult) -> float | None:
        """Replace the events by their plans. Return the seconds to wait if some events wait again, else None.

        An event whose record could not be read waits again. It is parked after MOST_TRIES tries, unless
        the failure affects every record of the source.
        """
        failures = [found.failed.get(event.lookup_id or "") for event in stored.events]
        now = utc_now()
        plans: list[EventPlan] = [
            plan_event(
                self._services.routes,
                stored.delivery,
                event,
                now,
                looked_up=found.records.get(event.lookup_id or "", {}),
            )
            if failure is None
            else unreadable_record(event, failure.reason)
            if stored.tries >= MOST_TRIES and not failure.kind.is_about_source
            else Pending(event=event)
            for event, failure in zip(stored.events, failures, strict=True)
        ]
        # A record for which the CRM had no time was not tried.
        is_tried = any(failure and not failure.kind.is_about_source for failure in failures)
        kept = stored if is_tried else replace(stored, tries=stored.tries - 1)
        longest = LONGEST_RECORD_WAIT_SECONDS if is_tried else LONGEST_WAIT_SECONDS
        requested = max((each.retry_after_seconds or 0.0 for each in failures if each), default=0.0)
        needs_change = any(each.needs_change for each in failures if each)
        wait = 0.0 if needs_change else wait_after(stored.tries, requested, longest)
        self._services.admission.resolve(kept, plans, parked=False, wait_seconds=wait)
        return wait if any(isinstance(plan, Pending) for plan in plans) else None


def _all_failed(waiting: list[StoredEvents], error: LookupFailedError) -> LookupResult:
    return LookupResult({}, dict.fromkeys(_ids_of(waiting), error))


def _most_urgent_failure(found: LookupResult) -> LookupFailedError | None:
    """Return the failure of single records that needs the operator most: credentials, then permissions."""
    return max(
        found.failed.values(),
        key=lambda error: (error.needs_change, error.kind is FailureKind.FORBIDDEN),
        default=None,
    )


def _ids_of(waiting: list[StoredEvents]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(e.lookup_id for stored in waiting for e in stored.events if e.lookup_id))


def digest_of_lookup(lookup: Lookup | None) -> str:
    """Return the digest of a lookup's settings, or "" without a lookup."""
    return "" if lookup is None else lookup.digest
