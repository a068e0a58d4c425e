"""Sends all stored deliveries of a filter again, as a bulk job, after a preview."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from flask import abort, request, url_for
from flask_babel import gettext as _

from integration.config.models import zone_of
from integration.dashboard.auth.roles import role
from integration.dashboard.responses import back_to, caller, flash_message, note, page, person
from integration.dashboard.views.deliveries import RESULTS, filters_of
from integration.domain.errors import UnreadableError
from integration.domain.timestamps import read_iso
from integration.mapping.planner import PLAN_NAMES
from integration.services.bulk_jobs import BulkAction
from integration.store.delivery_log import DeliveryFilter
from integration.web.form_values import confirms_number, whole_number
from integration.webhooks.isolated_work.client import isolated_work
from integration.webhooks.resend import resent_events

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.services.container import Services
    from integration.store.deliveries import StoredEvents
    from integration.store.delivery_log import LoggedDelivery

LOOKED_AT: Final = 2000  # entries of the log, in one request
SAMPLE: Final = 20
MOST_DIGITS: Final = 9


@role("operator")
def preview_many(services: Services) -> Response:
    """Count the stored deliveries that match the filters, and map the newest with the current routes.

    A count that takes too long for one request is continued by the next refresh of the page.
    """
    filters = filters_of(services)
    which = _which(services, filters)
    sources = list(services.config.sources) if which.source is None else [which.source]
    try:
        found = services.delivery_log.page(
            sources,
            result=which.result,
            until=which.until,
            cursor=request.args.get("cursor") or None,
            limit=LOOKED_AT,
        )
    except ValueError:
        abort(400)
    stored = [each for each in found.items if each.has_body]
    first = "counted" not in request.args
    number = (whole_number(request.args.get("counted", ""), MOST_DIGITS) or 0) + len(stored)
    chosen: dict[str, Any] = {name: value for name, value in filters.items() if value}
    return page(
        "send_many.html",
        chosen=chosen,
        results=dict(RESULTS),
        number=number,
        exact=found.next is None,
        going_on=url_for("dashboard.preview_many", **chosen, counted=number, cursor=found.next),
        type_the_number=not chosen,
        expected=_expected(services, stored[:SAMPLE]) if first else Counter(),
    )


def _which(services: Services, filters: Mapping[str, str]) -> DeliveryFilter:
    until = read_iso(filters["until"], zone_of(services.config))
    if filters["until"] and until is None:
        abort(400)
    return DeliveryFilter(source=filters["source"] or None, result=filters["result"] or None, until=until)


def _expected(services: Services, sample: Sequence[LoggedDelivery]) -> Counter[str]:
    """Return the results of the events of some deliveries, as the current routes map them."""
    events: list[StoredEvents] = []
    expected: Counter[str] = Counter()
    for kept in services.delivery_log.many([each.delivery for each in sample if each.delivery]):
        settings = services.config.sources[kept.source]
        try:
            events += resent_events(kept, settings, kept.body, unique="", who=person().name)
        except UnreadableError:
            expected["unreadable"] += 1
    if events:
        plans = isolated_work().plan(services.config, caller(), events[:SAMPLE], datetime.now(UTC))
        expected.update(PLAN_NAMES[type(plan)] for plan in plans)
    return expected


@role("operator")
def send_many(services: Services) -> ResponseReturnValue:
    """Start the job. Without filters it starts only if the user typed the number of deliveries."""
    filters = filters_of(services)
    which = _which(services, filters)
    total = request.form.get("total", "")
    if not any(filters.values()) and not confirms_number(request.form.get("typed", ""), total):
        flash_message(
            _("Nothing was sent: without a filter, type the number of deliveries to confirm."), "refused"
        )
        return back_to(url_for("dashboard.preview_many"))
    job = services.bulk_jobs.begin(
        BulkAction.SEND_AGAIN,
        which,
        who=person().name,
        reason=f"sent again by {person().name}",
        total=whole_number(total, MOST_DIGITS),
    )
    note(services, "begin send again of many", job.id)
    return back_to(url_for("dashboard.job", job_id=job.id))


VIEWS = (
    ("GET /deliveries/send-many", preview_many),
    ("POST /deliveries/send-many", send_many),
)
