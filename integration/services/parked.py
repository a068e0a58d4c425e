"""Remaps parked events with the current configuration, in steps."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from integration.domain.errors import ClientLeftError, ForkServerFailedError, TooMuchWorkError
from integration.mapping.planner import Parked, plan_event
from integration.store.deliveries import parked_events_of
from integration.store.parked import STEP, cursor_after

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from integration.mapping.planner import EventPlan
    from integration.services.admission import Admission
    from integration.services.configuration import Configuration
    from integration.store.deliveries import DeliveryStore, StoredEvents
    from integration.store.parked import ParkedStore

    Plan = Callable[[Sequence[StoredEvents], datetime], Sequence[EventPlan | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedFilter:
    """A filter of parked events by group, source and route. An empty filter selects all events."""

    group: str | None = None
    source: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Remapped:
    """The result of remapping.

    `next` is the cursor of the remaining events, None at the end. `pending` is the number of events whose
    records are being looked up again. `settled` is the number of events that are no longer parked. Events
    for which no time was left are not counted, and remain for the next step.
    """

    looked_at: int
    recalls: tuple[str, ...]
    pending: int
    settled: int
    still_parked: int
    next: str | None

    @property
    def complete(self) -> bool:
        """Return True if every event was looked at."""
        return self.next is None


class ParkedService:
    """Remaps parked events; `records` reads parked events. Each method raises StoreAwayError."""

    def __init__(
        self,
        configuration: Configuration,
        records: ParkedStore,
        deliveries: DeliveryStore,
        admission: Admission,
    ) -> None:
        self.records = records
        self._configuration = configuration
        self._deliveries = deliveries
        self._admission = admission

    def event(self, parked: str) -> StoredEvents:
        """Return a parked event by its id. Raise NotFoundError."""
        return parked_events_of(self.records.get(parked))

    def remap(
        self,
        which: ParkedFilter,
        now: datetime,
        *,
        cursor: str | None = None,
        seconds: float = math.inf,
        plan: Plan | None = None,
    ) -> Remapped:
        """Remap parked events in steps for about `seconds`. Return the sum of the steps.

        `plan` returns the plans of events. It may return None for the last events, but not for the first
        one; the next step plans these events again. By default the events are planned in this thread,
        without a time limit. If `plan` raises TooMuchWorkError, ForkServerFailedError or ClientLeftError
        after the first step, return the sum so far. Raise NotFoundError for an invalid cursor, and the
        errors of `plan` in the first step.
        """
        until = time.monotonic() + seconds
        found = self.remap_step(which, now, cursor=cursor, plan=plan)
        while found.next is not None and time.monotonic() < until:
            try:
                found = _sum(found, self.remap_step(which, now, cursor=found.next, plan=plan))
            except (TooMuchWorkError, ForkServerFailedError, ClientLeftError):
                break
        return found

    def remap_step(
        self,
        which: ParkedFilter,
        now: datetime,
        *,
        cursor: str | None = None,
        limit: int = STEP,
        plan: Plan | None = None,
    ) -> Remapped:
        """Remap the next `limit` events, and return the result.

        Events that still cannot be mapped stay parked, with the current reason. Raise NotFoundError for
        an invalid cursor.
        """
        records, following = self.records.page(
            group=which.group, cursor=cursor, limit=limit, oldest_first=True
        )
        wanted = [record for record in records if self._is_wanted(record, which)]
        stored = [parked_events_of(record) for record in wanted]
        plans = _in_time((plan or self._plan)(stored, now) if stored else ())
        if len(plans) < len(wanted):
            wanted = wanted[: len(plans)]
            following = cursor_after(wanted[-1])
        settled = [
            self._settle(record, events, event_plan)
            for record, events, event_plan in zip(wanted, stored, plans, strict=False)
        ]
        done = [each for each in settled if each is not None]
        return Remapped(
            looked_at=len(wanted),
            recalls=tuple(recall for recalls, _ in done for recall in recalls),
            pending=sum(pending for _, pending in done),
            settled=len(done),
            still_parked=len(wanted) - len(done),
            next=following,
        )

    def _is_wanted(self, record: Mapping[str, str], which: ParkedFilter) -> bool:
        return (
            record["source"] in self._configuration.current.sources
            and which.source in {None, record["source"]}
            and which.route in {None, record["route"]}
        )

    def _plan(self, stored: Sequence[StoredEvents], now: datetime) -> list[EventPlan]:
        routes = self._configuration.routes
        return [plan_event(routes, each.delivery, each.events[0], now) for each in stored]

    def _settle(
        self, record: Mapping[str, str], stored: StoredEvents, plan: EventPlan
    ) -> tuple[Sequence[str], int] | None:
        """Return an event's recalls and the number of lookups, None if it stays parked."""
        if isinstance(plan, Parked):
            before = (record["field"], record["found"], record["route"])
            if (plan.field, plan.found, plan.route or "") != before:
                self._deliveries.repark(stored, plan)
            return None
        admitted = self._admission.resolve(stored, [plan], parked=True)
        return ((), 0) if admitted is None else (admitted.answer.recalls, admitted.answer.pending)


def _in_time(plans: Iterable[EventPlan | None]) -> list[EventPlan]:
    """Return the plans before the first event for which no time was left."""
    found: list[EventPlan] = []
    for plan in plans:
        if plan is None:
            break
        found.append(plan)
    return found


def _sum(first: Remapped, then: Remapped) -> Remapped:
    return Remapped(
        looked_at=first.looked_at + then.looked_at,
        recalls=(*first.recalls, *then.recalls),
        pending=first.pending + then.pending,
        settled=first.settled + then.settled,
        still_parked=first.still_parked + then.still_parked,
        next=then.next,
    )
