"""Parked events, grouped by reason, and remapped in steps once the cause is fixed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from flask import request, session

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.responses import caller, note, page
from integration.domain.json_codec import read_json
from integration.services.parked import ParkedFilter
from integration.telemetry.redaction import mask_data
from integration.webhooks.isolated_preview.previews import app_previews

if TYPE_CHECKING:
    from flask import Response

    from integration.services.container import Services
    from integration.store.parked import ParkedGroup

MOST_GROUPS = 100
_STEP_SECONDS = 1.5  # time limit of one remap step
_GOING_ON = "going on"


@dataclass(frozen=True, slots=True)
class _Progress:
    """The progress of a remap. `next` is the cursor of the next step, "" when finished."""

    group: str
    looked_at: int = 0
    settled: int = 0
    pending: int = 0
    still: int = 0
    next: str = ""


@dataclass(frozen=True, slots=True)
class _Example:
    """The newest event of a group: the value found in the field, and the event, masked."""

    found: str
    event: str


@signed_in
def parked(services: Services) -> Response:
    """Show the groups of parked events."""
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
    """Show a parked event unmasked, and record this in the audit log."""
    record = services.parked.records.get(parked_id)
    note(services, "reveal parked event", parked_id)
    return page("revealed_event.html", text=display_text.as_text(read_json(record["event"])["data"]))


@role("operator")
def remap(services: Services) -> Response:
    """Remap the next parked events of a group, or of all groups, in the helper.

    The page requests the next step itself. Raise TooMuchWorkError, HelperFailedError.
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
        plan=partial(app_previews().plan, services.config, caller()),
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


def _number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  (a count of events)


VIEWS = (
    ("GET /parked", parked),
    ("POST /parked/remap", remap),
    ("POST /parked/<parked_id>/reveal", reveal_parked),
)
