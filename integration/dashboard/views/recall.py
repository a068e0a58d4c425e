"""The page of a recall: its timeline, and its actions for operators.

Data that identifies the customer is masked until an operator reveals it. Each reveal is recorded in the
audit log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import orjson
from flask import abort, request, url_for
from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.presenting.labels import label_for
from integration.dashboard.responses import back_to, flash_message, note, page, person
from integration.dashboard.views.deliveries import as_delivery, events_of
from integration.domain.errors import NotFoundError, UnmappableError
from integration.domain.recall import ENDS, Filter, State
from integration.mapping import timeline
from integration.telemetry.redaction import mask_but_end, mask_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.domain.delivery import Event
    from integration.domain.recall import Attempt, Recall
    from integration.services.container import Services
    from integration.store.delivery_log import StoredDelivery

MOST_OTHER_RECALLS: Final = 20
# These fields do not identify a customer and are not masked. Other mapped fields are.
OPEN_FIELDS: Final = frozenset({"campaign_id", "recall_date"})


@dataclass(frozen=True, slots=True)
class _FoundRecall:
    """A recall with its delivery and event, each None if it is no longer stored or cannot be parsed."""

    recall: Recall
    kept: StoredDelivery | None
    event: Event | None

    @classmethod
    def of(cls, services: Services, recall_id: str) -> _FoundRecall:
        recall = services.recalls.records.get(recall_id)
        try:
            kept = services.delivery_log.delivery(recall.delivery or "")
        except NotFoundError:
            return cls(recall, None, None)
        events = events_of(services, kept)
        return cls(recall, kept, events[recall.place] if recall.place < len(events) else None)


@signed_in
def recall(services: Services, recall_id: str) -> Response:
    """Show a recall with its timeline. Raise NotFoundError."""
    seen = _FoundRecall.of(services, recall_id)
    found = services.recalls.records.search.find(
        Filter(customer_id=seen.recall.customer_id), limit=MOST_OTHER_RECALLS + 1
    )
    others = [other for other in services.recalls.records.read(found.ids) if other.id != recall_id]
    return page(
        "recall.html",
        recall=seen.recall,
        kept=seen.kept,
        event=seen.event,
        headers=display_text.headers(seen.kept.headers, revealed=False) if seen.kept else [],
        event_text=display_text.as_text(mask_data(seen.event.data)) if seen.event else "",
        mapped=_mapped(services, seen),
        open_fields=OPEN_FIELDS,
        happened=_timeline_entries(seen),
        waits=_queue_position(services, seen.recall),
        calls=_calls(services, seen.recall),
        others=others,
        ends=ENDS,
        superseded_by=timeline.superseded_by(seen.recall),
        supersedes=timeline.supersedes(seen.recall, others),
        zone=zone_of(services.config, seen.recall.account),
        zones=_OneZone(zone_of(services.config, seen.recall.account)),
        without_names=display_text.without_names,
    )


@dataclass(frozen=True, slots=True)
class _OneZone:
    """The time zone of the page's account, for all recalls on the page. It replaces AccountZones."""

    zone: Any

    def of(self, account: str | None = None) -> Any:  # noqa: ARG002  (as the list's zones)
        return self.zone


def _mapped(services: Services, seen: _FoundRecall) -> timeline.MappedFields | None:
    if seen.kept is None or seen.event is None or seen.kept.source not in services.config.sources:
        return None
    return timeline.mapped(services.routes, as_delivery(seen.kept), seen.event, seen.recall)


@dataclass(frozen=True, slots=True)
class TimelineEntry:
    """An entry of the timeline at a time (aware).

    `what` is "received", "push" or the new state of the recall. `attempt` and its `number` belong to a
    push.
    """

    at: datetime
    what: str
    reason: str = ""
    number: int = 0
    attempt: Attempt | None = None


def _timeline_entries(seen: _FoundRecall) -> list[TimelineEntry]:
    """Return the entries of a recall's timeline, oldest first."""
    entries = [TimelineEntry(change.at, change.state, change.reason) for change in seen.recall.history]
    entries += [
        TimelineEntry(attempt.started_at, "push", attempt.reason or "", attempt.number, attempt)
        for attempt in seen.recall.attempts
    ]
    if seen.kept is not None:
        entries.append(TimelineEntry(seen.kept.received_at, "received"))
    return sorted(entries, key=lambda each: each.at)


@dataclass(frozen=True, slots=True)
class QueuePosition:
    """The position of a queued recall, and the state of its queue.

    `ahead` is the number of recalls before it, or None if it is no longer in the queue. `until` is the
    end of a wait or pause (aware), or None.
    """

    ahead: int | None
    state: str
    reason: str | None
    until: datetime | None


def _queue_position(services: Services, recall: Recall) -> QueuePosition | None:
    if recall.state is not State.QUEUED:
        return None
    view = services.accounts.get(recall.account)
    ahead = services.recalls.records.ahead_of(recall.id, services.queues.bound().get(recall.account, ""))
    return QueuePosition(ahead, view.state, view.reason, view.until)


def _calls(services: Services, recall: Recall) -> dict[int, str]:
    """Return the masked HTTP requests as texts by attempt number; 0 is the next attempt.

    Return {} if the account is no longer configured.
    """
    account = services.config.accounts.get(recall.account)
    if account is None:
        return {}
    calls = {0: timeline.call_of(account, recall)}
    calls |= {one.number: timeline.call_of(account, recall, one) for one in recall.attempts}
    return {n: _call_text(call, revealed=False) for n, call in calls.items()}


def _call_text(call: Any, *, revealed: bool) -> str:
    body = orjson.loads(call.body)
    kept = body if revealed else {name: _open_or_masked(name, value) for name, value in body.items()}
    lines = [
        f"{call.method} {call.url}",
        *(f"{name}: {value}" for name, value in call.public_headers.items()),
    ]
    return "\n".join([*lines, "", display_text.as_text(kept)])


def _open_or_masked(name: str, value: Any) -> Any:
    return value if name in {"recall_date", "date", "type_campaign"} else mask_but_end(str(value))


# --- actions -----------------------------------------------------------------------------------


@role("operator")
def retry_recall(services: Services, recall_id: str) -> ResponseReturnValue:
    """Queue a dead or expired recall again. Raise NotFoundError, ConflictError."""
    services.recalls.retry(recall_id, f"retried by {person().name}", datetime.now(UTC))
    note(services, "retry", recall_id)
    flash_message(_("The recall is queued again."))
    return back_to(url_for("dashboard.recall", recall_id=recall_id))


@role("operator")
def cancel_recall(services: Services, recall_id: str) -> ResponseReturnValue:
    """Cancel a queued recall. Raise NotFoundError, ConflictError."""
    services.recalls.cancel(recall_id, f"cancelled by {person().name}")
    note(services, "cancel", recall_id)
    flash_message(_("Cancelled; the recall will not be sent."))
    return back_to(url_for("dashboard.recall", recall_id=recall_id))


@role("operator")
def ask_again(services: Services, recall_id: str) -> ResponseReturnValue:
    """Create a recall with the values of a recall that has ended, at the time in the form.

    The field `once` of the form makes a form that is sent twice create one recall. Raise NotFoundError,
    ConflictError.
    """
    try:
        new = services.recalls.ask_again(
            recall_id,
            request.form.get("at", "").strip(),
            person().name,
            datetime.now(UTC),
            once=request.form.get("once", ""),
        )
    except UnmappableError as error:
        flash_message(
            _(
                "Not requested: the date is %(found)s. It must be %(allowed)s.",
                found=label_for(error.found),
                allowed=label_for(error.allowed),
            ),
            "refused",
        )
        return back_to(url_for("dashboard.recall", recall_id=recall_id))
    note(services, "ask again", recall_id, new)
    flash_message(_("Requested again. This is the new recall."))
    return back_to(url_for("dashboard.recall", recall_id=new))


@role("operator")
def reveal_recall(services: Services, recall_id: str, what: str) -> Response:
    """Show one value of a recall unmasked, and record this in the audit log.

    `what` is a key of _REVEALS, followed by `-NUMBER` for the request or answer of an attempt. Respond
    with 404 to any other. Raise NotFoundError if the recall or the value is no longer stored.
    """
    reveal = _REVEALS.get(what.partition("-")[0])
    if reveal is None:
        abort(404)
    seen = _FoundRecall.of(services, recall_id)
    text = reveal(services, seen, what)
    if text is None:
        raise NotFoundError("no longer stored")
    note(services, f"reveal {what}", recall_id)
    line = what in {"telephone", "customer", "record"}
    return page(
        "revealed.html" if line else "revealed_block.html", text=display_text.visible(display_text.cut(text))
    )


def _attempt_of(recall: Recall, what: str) -> Attempt:
    number = what.partition("-")[2]
    found = next((attempt for attempt in recall.attempts if str(attempt.number) == number), None)
    if found is None:
        abort(404)
    return found


def _curl(services: Services, seen: _FoundRecall, _what: str) -> str | None:
    account = services.config.accounts.get(seen.recall.account)
    return None if account is None else timeline.as_curl(timeline.call_of(account, seen.recall))


def _request(services: Services, seen: _FoundRecall, what: str) -> str | None:
    account = services.config.accounts.get(seen.recall.account)
    attempt = _attempt_of(seen.recall, what)
    return (
        None
        if account is None
        else _call_text(timeline.call_of(account, seen.recall, attempt), revealed=True)
    )


def _answer(_services: Services, seen: _FoundRecall, what: str) -> str | None:
    attempt = _attempt_of(seen.recall, what)
    return attempt.answer or attempt.msg


def _headers(_services: Services, seen: _FoundRecall, _what: str) -> str | None:
    if seen.kept is None:
        return None
    return "\n".join(
        f"{name}: {value}" for name, value in display_text.headers(seen.kept.headers, revealed=True)
    )


_REVEALS: Final[dict[str, Callable[[Services, _FoundRecall, str], str | None]]] = {
    "telephone": lambda _services, seen, _what: seen.recall.recall_telephone,
    "customer": lambda _services, seen, _what: seen.recall.customer_id,
    "record": lambda _services, seen, _what: seen.recall.record,
    "headers": _headers,
    "body": lambda _services, seen, _what: display_text.body(seen.kept.body) if seen.kept else None,
    "event": lambda _services, seen, _what: display_text.as_text(seen.event.data) if seen.event else None,
    "curl": _curl,
    "request": _request,
    "answer": _answer,
}


VIEWS = (
    ("GET /recalls/<recall_id>", recall),
    ("POST /recalls/<recall_id>/retry", retry_recall),
    ("POST /recalls/<recall_id>/cancel", cancel_recall),
    ("POST /recalls/<recall_id>/again", ask_again),
    ("POST /recalls/<recall_id>/reveal/<what>", reveal_recall),
)
