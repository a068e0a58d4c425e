"""The pages of parked events: groups by reason, remapping in steps, and dismissed events."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from flask import request, session, url_for
from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.responses import back_to, caller, flash_message, note, page, person
from integration.domain.json_codec import read_json
from integration.domain.timestamps import from_epoch_ms
from integration.services.bulk_jobs import BulkAction
from integration.services.parked import ParkedFilter
from integration.telemetry.redaction import mask_data
from integration.web.form_values import one_line, whole_number
from integration.webhooks.isolated_work.client import isolated_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.services.container import Services
    from integration.store.parked import ParkedGroup

MOST_GROUPS = 100
PAGE_SIZE = 50
LONGEST_REASON = 200
MOST_DIGITS = 9  # of a count of events
_STEP_SECONDS = 1.5  # time limit of one remap step
_GOING_ON = "going on"


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of a remap, in numbers of events. `next` is the cursor of the next step, or ""."""

    group: str
    looked_at: int = 0
    settled: int = 0
    pending: int = 0
    still: int = 0
    next: str = ""


@dataclass(frozen=True, slots=True)
class _Example:
    """The newest event of a group: a description of the value found, and the masked event, "" if gone."""

    found: str
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DismissedEvent:
    """A dismissed event. `found` describes the value for which it was parked.

    `at` is the time of the dismissal (aware), `by` the user and `why` the user's reason.
    """

    id: str
    source: str
    field: str
    found: str
    delivery: str
    at: datetime
    by: str
    why: str

    @classmethod
    def of(cls, record: Mapping[str, str]) -> _DismissedEvent:
        return cls(
            id=record["id"],
            source=record["source"],
            field=record["field"],
            found=record["found"],
            delivery=record["delivery"],
            at=from_epoch_ms(record["dismissed"]),
            by=record["dismissed_by"],
            why=record["dismissed_why"],
        )


@signed_in
def parked(services: Services) -> Response:
    """Show the largest groups of parked events."""
    return _page(services, None)


def _page(services: Services, progress: _Progress | None) -> Response:
    groups = services.parked.records.groups()
    first_groups = groups[:MOST_GROUPS]
    records = services.parked.records.many([group.example for group in first_groups])
    return page(
        "parked.html",
        groups=first_groups,
        examples={group.id: _example(group, records.get(group.example)) for group in first_groups},
        total=services.parked.records.count(),
        dismissed=services.parked.records.dismissed_count(),
        grouped=sum(group.count for group in groups),
        progress=progress,
        zone=zone_of(services.config),
    )


def _example(group: ParkedGroup, record: dict[str, str] | None) -> _Example:
    if record is None:
        return _Example(group.found, "")
    return _Example(record["found"], display_text.as_text(mask_data(read_json(record["event"])["data"])))


@role("operator")
def reveal_parked(services: Services, parked_id: str) -> Response:
    """Show a parked event unmasked, and record this in the audit log. Raise NotFoundError."""
    record = services.parked.records.get(parked_id)
    note(services, "reveal parked event", parked_id)
    return page("revealed_event.html", text=display_text.as_text(read_json(record["event"])["data"]))


@role("operator")
def remap(services: Services) -> Response:
    """Remap the next parked events of a group, or of all groups, and show the progress.

    The page requests the next step. The events are planned in the fork server. Raise TooMuchWorkError,
    ForkServerFailedError, ClientLeftError.
    """
    sent = request.form
    group, cursor = sent.get("group", ""), sent.get("cursor", "")
    # Only the cursor of the previous step continues a remap. Any other request is a new one and is logged.
    if not cursor or session.get(_GOING_ON) != cursor:
        note(services, "remap", *filter(None, [group]))
    step = services.parked.remap(
        ParkedFilter(group=group or None),
        datetime.now(UTC),
        cursor=cursor or None,
        seconds=_STEP_SECONDS,
        plan=partial(isolated_work().plan_in_time, services.config, caller()),
    )
    session[_GOING_ON] = step.next
    looked_at, settled, pending, still = (
        _number(sent.get(name, "")) for name in ("looked_at", "settled", "pending", "still")
    )
    progress = _Progress(
        group,
        looked_at=looked_at + step.looked_at,
        settled=settled + step.settled,
        pending=pending + step.pending,
        still=still + step.still_parked,
        next=step.next or "",
    )
    return _page(services, progress)


@role("operator")
def dismiss_parked(services: Services) -> ResponseReturnValue:
    """Start a job that dismisses the parked events of a group, with a reason.

    They stay in the list of dismissed events.
    """
    reason = one_line(request.form.get("reason", ""), LONGEST_REASON)
    group = request.form.get("group", "")
    if not reason or not group:
        flash_message(_("Nothing was dismissed, because the reason is missing. Enter a reason."), "refused")
        return back_to(url_for("dashboard.parked"))
    total = services.parked.records.count_of(group)
    job = services.bulk_jobs.begin(
        BulkAction.DISMISS, ParkedFilter(group=group), who=person().name, reason=reason, total=total
    )
    note(services, "dismiss parked", group, job.id)
    return back_to(url_for("dashboard.job", job_id=job.id))


@signed_in
def dismissed(services: Services) -> Response:
    """List the dismissed events, the newest first."""
    cursor = request.args.get("cursor") or None
    records, following = services.parked.records.page(limit=PAGE_SIZE, cursor=cursor, dismissed=True)
    return page(
        "dismissed.html",
        events=[_DismissedEvent.of(record) for record in records],
        total=services.parked.records.dismissed_count(),
        older=url_for("dashboard.dismissed", cursor=following) if following else None,
        zone=zone_of(services.config),
    )


@role("operator")
def put_back_parked(services: Services, parked_id: str) -> ResponseReturnValue:
    """Park a dismissed event again."""
    if services.parked.records.put_back(parked_id):
        note(services, "put back parked", parked_id)
        flash_message(_("The event is parked again."))
    else:
        flash_message(_("Nothing was changed, because the event is not dismissed any more."), "note")
    return back_to(url_for("dashboard.dismissed"))


def _number(text: str) -> int:
    """Return a count of events, 0 for any other text."""
    return whole_number(text, MOST_DIGITS) or 0


VIEWS = (
    ("GET /parked", parked),
    ("POST /parked/remap", remap),
    ("POST /parked/dismiss", dismiss_parked),
    ("GET /parked/dismissed", dismissed),
    ("POST /parked/<parked_id>/put-back", put_back_parked),
    ("POST /parked/<parked_id>/reveal", reveal_parked),
)
