"""The page "Requires attention": accounts and sources with problems, and those of the installation."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING, Final

from flask import request, url_for
from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import problem_labels
from integration.dashboard.presenting.account_cache import account_snapshot
from integration.dashboard.presenting.times import clock_with_zone
from integration.dashboard.responses import back_to, flash_message, note, page, person
from integration.domain.errors import NotFoundError

if TYPE_CHECKING:
    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.alerts.problems import ProblemRow
    from integration.services.container import Services

_HOURS: Final = {"1": 1, "4": 4}
MORNING: Final = time(8)


@signed_in
def attention(services: Services) -> Response:
    """Show the rows: open, then acknowledged, then snoozed ones."""
    snapshot = account_snapshot()
    return page(
        "attention.html",
        rows=problem_labels.problem_rows(services, snapshot),
        faulty_files=problem_labels.faulty_files(services.configuration.watch.fault),
        labels=problem_labels,
        resumable=frozenset(
            view.name for view in snapshot.views if view.state in {"stopped", "paused", "waiting"}
        ),
        moment=snapshot.moment,
        zone=zone_of(services.config),
        snoozes=[("1", _("for 1 hour")), ("4", _("for 4 hours")), ("morning", _("until tomorrow, 08:00"))],
    )


def _row(services: Services, row: str) -> ProblemRow:
    """Return the row with this id. Raise NotFoundError if it has no current problem."""
    for each in problem_labels.problem_rows(services, account_snapshot()):
        if each.id == row:
            return each
    raise NotFoundError("no such problem")


@role("operator")
def acknowledge_problem(services: Services, row: str) -> ResponseReturnValue:
    """Acknowledge the problems of a row. A new kind of problem opens the row again.

    Raise NotFoundError.
    """
    services.problem_notes.acknowledge(row, person().name, _row(services, row).kinds)
    note(services, "acknowledge problem", row)
    flash_message(_("Acknowledged. A further problem of the same account or source opens the entry again."))
    return back_to(url_for("dashboard.attention"))


@role("operator")
def snooze_problem(services: Services, row: str) -> ResponseReturnValue:
    """Snooze a row for the duration in the form. Raise NotFoundError."""
    _row(services, row)
    until = _snooze_end(services, request.form.get("for", ""))
    if until is None:
        flash_message(_("Not snoozed: this duration is not offered."), "refused")
        return back_to(url_for("dashboard.attention"))
    services.problem_notes.snooze(row, person().name, until)
    note(services, "snooze problem", row)
    flash_message(_("Snoozed until %(time)s.", time=clock_with_zone(until, zone_of(services.config))))
    return back_to(url_for("dashboard.attention"))


def _snooze_end(services: Services, chosen: str) -> datetime | None:
    """Return the end of a snooze (aware), or None for a duration that is not offered."""
    now = services.store.now()
    if chosen == "morning":
        zone = zone_of(services.config)
        return datetime.combine(now.astimezone(zone).date() + timedelta(days=1), MORNING, zone)
    return now + timedelta(hours=_HOURS[chosen]) if chosen in _HOURS else None


@role("operator")
def assign_problem(services: Services, row: str) -> ResponseReturnValue:
    """Assign a row to the signed-in user. Raise NotFoundError."""
    _row(services, row)
    services.problem_notes.assign(row, person().name)
    note(services, "assign problem", row)
    flash_message(_("Assigned to you."))
    return back_to(url_for("dashboard.attention"))


@role("operator")
def reopen_problem(services: Services, row: str) -> ResponseReturnValue:
    """Remove the acknowledgement and the snooze of a row. Raise NotFoundError."""
    _row(services, row)
    services.problem_notes.reopen(row)
    note(services, "reopen problem", row)
    flash_message(_("The entry is open again."))
    return back_to(url_for("dashboard.attention"))


VIEWS = (
    ("GET /attention", attention),
    ("POST /attention/<row>/acknowledge", acknowledge_problem),
    ("POST /attention/<row>/snooze", snooze_problem),
    ("POST /attention/<row>/assign", assign_problem),
    ("POST /attention/<row>/reopen", reopen_problem),
)
