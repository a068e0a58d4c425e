"""The steps of a bulk job that sends stored deliveries again through the current routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from integration.domain.errors import UnreadableError
from integration.mapping.planner import plan_event
from integration.services.bulk_jobs import DONE, RECALL, JobStep
from integration.store.deliveries import digest_of
from integration.webhooks.resend import resent_events

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from integration.domain.delivery import Answer
    from integration.services.bulk_jobs import BulkJob
    from integration.services.container import Services
    from integration.store.delivery_log import LoggedDelivery, StoredDelivery

STEP = 10
NOT_STORED = "no longer stored"
NO_SOURCE = "source removed"
UNREADABLE = "cannot be read"
NO_EVENT = "no event"


def resend_step(services: Services, job: BulkJob, now: datetime) -> JobStep:
    """Send the deliveries of the job's next step again, and return what became of them. `now` is aware.

    A step that is repeated after the death of a worker sends nothing twice. Raise StoreAwayError.
    """
    which = job.deliveries
    sources = list(services.config.sources) if which.source is None else [which.source]
    found = services.delivery_log.page(
        sources, result=which.result, until=which.until, cursor=job.cursor or None, limit=STEP
    )
    sendable = {each.delivery: each for each in found.items if each.delivery and each.has_body}
    stored = {kept.id: kept for kept in services.delivery_log.many(list(sendable))}
    acts = [_resend(services, job, arrival, stored.get(id_), now) for id_, arrival in sendable.items()]
    return JobStep(acts, found.next)


def _resend(
    services: Services, job: BulkJob, arrival: LoggedDelivery, kept: StoredDelivery | None, now: datetime
) -> dict[str, Any]:
    """Return the act of a job for a delivery, after it was sent."""

    def skipped(why: str) -> dict[str, Any]:
        return {"id": arrival.delivery, "outcome": why}

    settings = services.config.sources.get(arrival.source)
    if settings is None:
        return skipped(NO_SOURCE)
    if kept is None:
        return skipped(NOT_STORED)
    # The new delivery always has the same id, so that a repeated step finds that it was admitted.
    unique = digest_of("again", kept.id, job.id)[:16]
    try:
        events = resent_events(kept, settings, kept.body, unique=unique, who=job.who)
    except UnreadableError:
        return skipped(UNREADABLE)
    if not events:
        return skipped(NO_EVENT)
    new = events[0].delivery
    plans = [plan_event(services.routes, each.delivery, each.events[0], now) for each in events]
    answer = services.admission.admit(new, plans, new.body).answer
    return {"id": kept.id, "outcome": DONE, "results": list(_results(answer, new.id))}


def _results(answer: Answer, delivery: str) -> Iterator[tuple[str, str]]:
    """Yield what became of each event, with the id of its recall or of the new delivery."""
    for recall in answer.recalls:
        yield RECALL, recall
    counts = {
        "parked": answer.parked,
        "pending": answer.pending,
        "cancelled": len(answer.cancelled),
        "too_late": len(answer.too_late),
        "ignored": answer.ignored,
    }
    for what, number in counts.items():
        for _ in range(number):
            yield what, delivery
