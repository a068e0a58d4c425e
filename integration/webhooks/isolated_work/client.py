"""Run previews of drafts, plan parked events, and search events, in the fork server of a web process."""

from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from flask import current_app

from integration.domain.errors import WorkFailedError, WorkOverranError
from integration.mapping.planner import Parked
from integration.web.isolation.fork_server import Limits
from integration.web.isolation.fork_server_process import ForkServerProcess, Preparation
from integration.webhooks.isolated_work.plain_values import (
    plain_config,
    plain_delivery,
    plain_event,
    plan_from_plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from flask import Flask

    from integration.config.models import Config
    from integration.domain.delivery import Delivery, Event
    from integration.domain.recall_filters import SearchTerm
    from integration.mapping.planner import EventPlan
    from integration.mapping.route_draft import Draft
    from integration.store.deliveries import StoredEvents
    from integration.store.delivery_log import StoredDelivery
    from integration.web.isolation.fork_server_process import IsolatedRunner
    from integration.web.isolation.user_queue import Caller

LIMITS: Final = Limits(seconds=3.0, memory_bytes=256 * 1024 * 1024)
# Each call of `plan` occupies a thread of the dashboard and a place in the queue.
PLAN_SECONDS: Final = 10.0
SEARCH_LIMITS: Final = Limits(seconds=2.0, memory_bytes=256 * 1024 * 1024)
MOST_OVERRUNS: Final = 3  # of one search
COMMAND: Final = (sys.executable, "-m", "integration.webhooks.isolated_work")
TOO_MUCH: Final = "too slow, or needs too much memory"
SIMPLER: Final = "simpler templates"
_NAME: Final = "ringback.isolated_work"


class IsolatedWork:
    """The work that a web process runs in its fork server, in tasks with limits.

    A preview is one task with `limits`. Planning is first one task with `limits` for all events. If that
    task fails, each event has its own task, and after `plan_seconds` no further task begins. A search has
    many tasks, each with `search_limits`. The methods that take a `caller` raise TooMuchWorkError,
    ForkServerFailedError and ClientLeftError. `try_draft` and `compare_draft` also raise WorkOverranError
    and WorkFailedError.
    """

    def __init__(
        self,
        limits: Limits = LIMITS,
        plan_seconds: float = PLAN_SECONDS,
        search_limits: Limits = SEARCH_LIMITS,
    ) -> None:
        self._limits = limits
        self._plan_seconds = plan_seconds
        self._search_limits = search_limits
        self._server = ForkServerProcess(COMMAND)

    def start(self) -> None:
        """Start the fork server in the background unless it runs, so that the first task does not wait."""
        self._server.start()

    def stop(self) -> None:
        """End the fork server. The next task starts another one."""
        self._server.stop()

    def try_draft(
        self, config: Config, caller: Caller, draft: Draft, value: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the result of `functions.try_draft`.

        `value` has the keys delivery, sample, events, now, most and looked_up.
        """
        with self._server.place(caller) as place:
            found: dict[str, Any] = self._run(place, "try", config, {"draft": asdict(draft), **value})
        return found

    def compare_draft(
        self,
        config: Config,
        caller: Caller,
        draft: Draft,
        events: Iterable[tuple[Delivery, Event]],
        value: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the result of `functions.compare_draft`.

        `value` has the keys that the function reads, except `draft` and `events`.
        """
        plain = [(plain_delivery(delivery), plain_event(event)) for delivery, event in events]
        with self._server.place(caller) as place:
            value = {"draft": asdict(draft), "events": plain, **value}
            found: dict[str, Any] = self._run(place, "compare", config, value)
        return found

    def plan(
        self, config: Config, caller: Caller, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan]:
        """Return the plan of the first event of each record. `now` is aware.

        An event is parked if its planning fails or takes too long, or if no time is left for it.
        """
        plans = self.plan_in_time(config, caller, stored, now)
        return [plan or _too_slow(each) for plan, each in zip(plans, stored, strict=True)]

    def plan_in_time(
        self, config: Config, caller: Caller, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan | None]:
        """Return the plans as `plan` does, but None for the last events, if no time was left for them.

        The first event always has a plan, so that a remap makes progress even if each event takes too
        long.
        """
        with self._server.place(caller) as place:
            until = time.monotonic() + self._plan_seconds
            try:
                return list(self._planned(place, config, stored, now))
            except (WorkOverranError, WorkFailedError):
                return [
                    self._planned_alone(place, config, each, now)
                    if number == 0 or time.monotonic() < until
                    else None
                    for number, each in enumerate(stored)
                ]

    @contextmanager
    def event_search(self, config: Config, caller: Caller, term: SearchTerm) -> Iterator[EventSearch]:
        """Yield a search that holds a place in the queue in the context."""
        with self._server.place(caller) as place:
            yield EventSearch(place, config, term, self._search_limits)

    def _planned(
        self, place: IsolatedRunner, config: Config, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan]:
        events = [(plain_delivery(each.delivery), plain_event(each.events[0])) for each in stored]
        plain = self._run(place, "plan", config, {"events": events, "now": now.isoformat()})
        return [
            plan_from_plain(plan, each.events[0], config) for plan, each in zip(plain, stored, strict=True)
        ]

    def _planned_alone(
        self, place: IsolatedRunner, config: Config, stored: StoredEvents, now: datetime
    ) -> EventPlan:
        try:
            return self._planned(place, config, [stored], now)[0]
        except (WorkOverranError, WorkFailedError):
            return _too_slow(stored)

    def _run(self, place: IsolatedRunner, work: str, config: Config, value: dict[str, Any]) -> Any:
        return place.run(work, value, self._limits, _preparation(config))


class EventSearch:
    """A search for events, in several tasks.

    `left_out` is the number of records that were not searched, because their task failed or was killed.
    """

    def __init__(self, place: IsolatedRunner, config: Config, term: SearchTerm, limits: Limits) -> None:
        self._place = place
        self._config = config
        self._term = {"text": term.text, "telephones": term.telephones}
        self._limits = limits
        self._overruns = 0
        self._began = time.monotonic()
        self.left_out = 0

    def goes_on(self, until_seconds: float) -> bool:
        """Return True if fewer than MOST_OVERRUNS tasks failed and at most `until_seconds` have passed.

        Time is counted as in `seconds`.
        """
        return self._overruns < MOST_OVERRUNS and self.seconds() <= until_seconds

    def seconds(self) -> float:
        """Return the duration of the search, in seconds, less the time limit of each task that failed."""
        return time.monotonic() - self._began - self._overruns * self._limits.seconds

    def parked(self, records: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
        """Return the records of parked events that match the term."""
        plain = [[record["delivery"], record["event"]] for record in records]
        fits = self._fits("search_parked", plain)
        return [record for record, fit in zip(records, fits, strict=True) if fit]

    def deliveries(self, kept: Sequence[StoredDelivery]) -> list[StoredDelivery]:
        """Return the deliveries with an event that matches the term."""
        plain = [[plain_delivery(each), each.body.decode("latin-1")] for each in kept]
        fits = self._fits("search_deliveries", plain)
        return [each for each, fit in zip(kept, fits, strict=True) if fit]

    def _fits(self, work: str, records: list[Any]) -> list[bool]:
        """Return, for each record, True if it matches the term.

        If the task fails or is killed, no record matches, and all are counted in `left_out`.
        """
        if not records:
            return []
        value = {**self._term, "records": records}
        try:
            fits: list[bool] = self._place.run(work, value, self._limits, _preparation(self._config))
        except (WorkOverranError, WorkFailedError):
            self._overruns += 1
            self.left_out += len(records)
            return [False] * len(records)
        return fits


def _preparation(config: Config) -> Preparation:
    return Preparation(config, lambda: plain_config(config))


def _too_slow(stored: StoredEvents) -> Parked:
    return Parked(
        event=stored.events[0],
        route=None,
        account=None,
        field="route",
        found=TOO_MUCH,
        allowed=SIMPLER,
    )


def install(app: Flask, isolated: IsolatedWork) -> None:
    """Attach the isolated work to a Flask application."""
    app.extensions[_NAME] = isolated


def isolated_work() -> IsolatedWork:
    """Return the isolated work of the current Flask application."""
    isolated: IsolatedWork = current_app.extensions[_NAME]
    return isolated
