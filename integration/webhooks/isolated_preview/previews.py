"""Runs previews of drafts, and plans parked events, in the helper of a web process."""

from __future__ import annotations

import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from flask import current_app

from integration.domain.errors import WorkFailedError, WorkOverranError
from integration.mapping.planner import Parked
from integration.web.isolation.helper import Limits
from integration.web.isolation.helper_process import HelperProcess, Preparation
from integration.webhooks.isolated_preview.plain_values import (
    plain_config,
    plain_delivery,
    plain_event,
    plan_from_plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from flask import Flask

    from integration.config.models import Config
    from integration.domain.delivery import Delivery, Event
    from integration.mapping.planner import EventPlan
    from integration.mapping.route_draft import Draft
    from integration.store.deliveries import StoredEvents
    from integration.web.isolation.helper_process import HelperSlot
    from integration.web.isolation.user_queue import Caller

LIMITS: Final = Limits(seconds=3.0, memory_bytes=256 * 1024 * 1024)
# Each call of `plan` occupies a thread of the dashboard and the only slot.
PLAN_SECONDS: Final = 10.0
COMMAND: Final = (sys.executable, "-m", "integration.webhooks.isolated_preview.worker")
TOO_MUCH: Final = "too slow, or needs too much memory"
SIMPLER: Final = "simpler templates"
_NAME: Final = "ringback.previews"


class Previews:
    """The previews of a web process. Each one runs in the helper, for at most `limits.seconds`.

    `plan` begins no event after `plan_seconds`. Each method raises TooMuchWorkError, HelperFailedError and
    ClientLeftError. A preview also raises WorkOverranError and WorkFailedError.
    """

    def __init__(self, limits: Limits = LIMITS, plan_seconds: float = PLAN_SECONDS) -> None:
        self._limits = limits
        self._plan_seconds = plan_seconds
        self._helper = HelperProcess(COMMAND)

    def start(self) -> None:
        """Start the helper in the background, so that the first preview need not wait for it."""
        self._helper.start()

    def stop(self) -> None:
        """End the helper. The next preview starts another helper."""
        self._helper.stop()

    def try_draft(
        self, config: Config, caller: Caller, draft: Draft, value: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the result of `work.try_draft`. `value` has its other arguments."""
        with self._helper.slot(caller) as slot:
            found: dict[str, Any] = self._run(slot, "try", config, {"draft": asdict(draft), **value})
        return found

    def compare_draft(
        self,
        config: Config,
        caller: Caller,
        draft: Draft,
        events: Iterable[tuple[Delivery, Event]],
        value: dict[str, Any],
    ) -> dict[str, Any]:
        """Return the result of `work.compare_draft` for these events. `value` has its other arguments."""
        plain = [(plain_delivery(delivery), plain_event(event)) for delivery, event in events]
        with self._helper.slot(caller) as slot:
            value = {"draft": asdict(draft), "events": plain, **value}
            found: dict[str, Any] = self._run(slot, "compare", config, value)
        return found

    def plan(
        self, config: Config, caller: Caller, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan]:
        """Return the plan of each event. One that takes too long is parked. `now` is aware."""
        plans = self.plan_in_time(config, caller, stored, now)
        return [plan or _too_slow(each) for plan, each in zip(plans, stored, strict=True)]

    def plan_in_time(
        self, config: Config, caller: Caller, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan | None]:
        """Return the plans as `plan` does, but None for events for which no time was left."""
        with self._helper.slot(caller) as slot:
            until = time.monotonic() + self._plan_seconds
            try:
                return list(self._planned(slot, config, stored, now))
            except (WorkOverranError, WorkFailedError):
                return [
                    self._planned_alone(slot, config, each, now) if time.monotonic() < until else None
                    for each in stored
                ]

    def _planned(
        self, slot: HelperSlot, config: Config, stored: Sequence[StoredEvents], now: datetime
    ) -> list[EventPlan]:
        events = [(plain_delivery(each.delivery), plain_event(each.events[0])) for each in stored]
        plain = self._run(slot, "plan", config, {"events": events, "now": now.isoformat()})
        return [
            plan_from_plain(plan, each.events[0], config) for plan, each in zip(plain, stored, strict=True)
        ]

    def _planned_alone(
        self, slot: HelperSlot, config: Config, stored: StoredEvents, now: datetime
    ) -> EventPlan:
        try:
            return self._planned(slot, config, [stored], now)[0]
        except (WorkOverranError, WorkFailedError):
            return _too_slow(stored)

    def _run(self, slot: HelperSlot, work: str, config: Config, value: dict[str, Any]) -> Any:
        return slot.run(work, value, self._limits, Preparation(config, lambda: plain_config(config)))


def _too_slow(stored: StoredEvents) -> Parked:
    return Parked(
        event=stored.events[0],
        route=None,
        account=None,
        field="route",
        found=TOO_MUCH,
        allowed=SIMPLER,
    )


def install(app: Flask, previews: Previews) -> None:
    """Attach previews to a Flask application."""
    app.extensions[_NAME] = previews


def app_previews() -> Previews:
    """Return the previews of the current Flask application."""
    previews: Previews = current_app.extensions[_NAME]
    return previews
