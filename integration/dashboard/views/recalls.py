"""The list of recalls with filters in the query string, its export, and bulk retry and cancel."""

from __future__ import annotations

import csv
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from io import StringIO
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final

from flask import Response, abort, request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from integration.api.models import RecallModel
from integration.config.models import zone_of
from integration.dashboard.addresses import client_address
from integration.dashboard.auth.roles import role, signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.presenting.labels import label_for, state_label
from integration.dashboard.presenting.times import AccountZones
from integration.dashboard.responses import back_to, failure, flash_message, note, page, person
from integration.dashboard.views.recall_views import COLUMNS, LONGEST_NAME, OLDEST_FIRST, arrangement, sort
from integration.dashboard.views.search import stored_term
from integration.domain.errors import ConflictError, NotFoundError
from integration.domain.recall import State
from integration.domain.recall_filters import read_filters
from integration.services.bulk_jobs import DONE, MOST_LISTED, RECALL, BulkAction
from integration.services.personal_data.export import EXPORT_COLUMNS, rows
from integration.telemetry.redaction import mask_but_end
from integration.web.form_values import confirms_number, whole_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from flask.typing import ResponseReturnValue

    from integration.dashboard.auth.throttle import RateStore
    from integration.domain.recall import Recall
    from integration.domain.recall_filters import FilterQuery, SearchTerm
    from integration.services.bulk_jobs import BulkJob
    from integration.services.container import Services

PAGE_SIZE: Final = 50
BUDGET_SECONDS: Final = 0.1
SAMPLE: Final = 5
MOST_COUNTED: Final = 12
MOST_GROUPED: Final = 200
MOST_EXPORTED: Final = 50_000
EXPORTS_A_MINUTE: Final = 5
MOST_DELIVERIES: Final = 100
KINDS: Final = ("retry", "cancel")


@signed_in
def recalls(services: Services) -> Response:
    """List a page of the recalls that match the filters, in the order and with the columns of the user.

    A list can be sorted by arrival only. This is the order of the store's indexes, so a page reads a bounded
    number of recalls.
    """
    filters, shown = _filter_query(services), arrangement(services)
    found = services.recalls.records.search.find(
        filters.which,
        limit=PAGE_SIZE,
        cursor=_cursor(),
        oldest_first=shown.sort == OLDEST_FIRST,
        budget_seconds=BUDGET_SECONDS,
    )
    return page(
        "recalls.html",
        filters=filters,
        found=services.recalls.records.read(found.ids),
        total=services.recalls.records.search.count(filters.which, budget_seconds=BUDGET_SECONDS),
        back_to=found.back_to,
        shown=shown,
        columns=COLUMNS,
        longest_name=LONGEST_NAME,
        further=_address("recalls", filters, **shown.texts, cursor=found.next) if found.next else None,
        first=_address("recalls", filters, **shown.texts),
        most_exported=MOST_EXPORTED,
        same_page=_address("recalls", filters, **shown.texts, cursor=_cursor()),
        zones=AccountZones(services.config),
        without_names=display_text.without_names,
        answers=_answers(services, filters),
        **_filter_options(services),
    )


@dataclass(frozen=True, slots=True)
class AnswerGroup:
    """Dead recalls with the same message of wolkvox.

    `text` is the masked message of the newest recall, `count` the number of recalls, `address` their
    list.
    """

    text: str
    count: int
    address: str


def _answers(services: Services, filters: FilterQuery) -> list[AnswerGroup]:
    """Return the newest dead recalls that match the filters, grouped by message, the largest group first.

    The filter by message is ignored. Return [] unless the filter `state` is dead.
    """
    if filters.which.state is not State.DEAD:
        return []
    which = replace(filters.which, words=None)
    found = services.recalls.records.search.find(which, limit=MOST_GROUPED, budget_seconds=BUDGET_SECONDS)
    groups: dict[str, list[Recall]] = {}
    for recall in services.recalls.records.read(found.ids):
        if recall.words and recall.attempts:
            groups.setdefault(recall.words, []).append(recall)
    return [
        AnswerGroup(answer_text(recalls[0]), len(recalls), _address("recalls", filters, words=words))
        for words, recalls in sorted(groups.items(), key=lambda each: -len(each[1]))
    ]


def answer_text(recall: Recall) -> str:
    """Return wolkvox's message for the last attempt of a dead recall, masked, or its HTTP status.

    If no answer arrived, return the reason why the recall is dead. Return "" for other recalls, and without
    attempts.
    """
    if recall.state is not State.DEAD or not recall.attempts:
        return ""
    latest = recall.attempts[-1]
    if latest.http_status is None:
        return display_text.without_names(recall, label_for(recall.reason))
    return display_text.without_names(recall, latest.msg) or f"HTTP {latest.http_status}"


def _filter_query(services: Services) -> FilterQuery:
    account = request.values.get("account") or None
    return read_filters(request.values, zone_of(services.config, account), _stored_term(services))


def _stored_term(services: Services) -> SearchTerm | None:
    """Return the term of the stored search in the request; None without one, or if it is not stored."""
    search_id = request.values.get("search", "")
    try:
        return stored_term(services, search_id) if search_id else None
    except NotFoundError:
        return None


def _address(view: str, filters: FilterQuery, /, **more: Any) -> str:
    """Return the address of a view with the same filters."""
    values: dict[str, Any] = {**filters.texts, **more}
    return url_for(f"dashboard.{view}", **values)


def _cursor() -> str | None:
    cursor = request.args.get("cursor")
    if cursor and not cursor.startswith("rc_"):
        abort(400)
    return cursor or None


def _filter_options(services: Services) -> dict[str, Any]:
    """Return the options of the filters, as pairs of value and label."""
    config = services.config
    sources = [*sorted(config.sources), *(f"api:{name}" for name in sorted(config.api_keys))]
    return {
        "states": [(state.value, state_label(state)) for state in State],
        "accounts": _as_options(sorted(config.accounts)),
        "sources": _as_options(sources),
        "routes": _as_options(sorted({route.name for route in config.routes})),
    }


def _as_options(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(name, name) for name in names]


# --- bulk actions ------------------------------------------------------------------------------


@role("operator")
def recalls_bulk(services: Services) -> Response:
    """Count the recalls that a bulk retry or cancel would change, and ask for confirmation.

    A count that takes too long for one request is continued by the next refresh of the page.
    """
    kind, filters = _kind(), _filter_query(services)
    which = services.bulk_jobs.acted_on(kind, filters.which)
    before = whole_number(request.args.get("counted", ""), MOST_COUNTED) or 0
    counted = services.recalls.records.search.count(which, cursor=_cursor(), budget_seconds=BUDGET_SECONDS)
    number = counted.number + before
    sample = services.recalls.records.search.find(which, limit=SAMPLE, budget_seconds=BUDGET_SECONDS)
    going_on = _address("recalls_bulk", filters, kind=kind, counted=number, cursor=counted.next)
    return page(
        "recalls_bulk.html",
        kind=kind,
        filters=filters,
        number=number,
        exact=counted.next is None,
        going_on=going_on,
        type_the_number=_is_unlimited(kind, filters),
        sample=services.recalls.records.read(sample.ids),
        zones=AccountZones(services.config),
        without_names=display_text.without_names,
    )


@role("operator")
def begin_job(services: Services) -> ResponseReturnValue:
    """Start a bulk retry or cancel of the recalls that match the filters.

    A cancel without filters starts only if the user typed the number of recalls.
    """
    kind, filters = _kind(), _filter_query(services)
    total = request.form.get("total", "")
    if _is_unlimited(kind, filters) and not confirms_number(request.form.get("typed", ""), total):
        flash_message(
            _("Nothing was cancelled: without a filter, type the number of recalls to confirm."), "refused"
        )
        return back_to(_address("recalls_bulk", filters, kind=kind))
    job = services.bulk_jobs.begin(
        kind,
        filters.which,
        who=person().name,
        reason=_reason(kind),
        total=whole_number(total, MOST_COUNTED),
    )
    note(services, f"begin {kind} of many", job.id)
    return back_to(url_for("dashboard.job", job_id=job.id))


def _is_unlimited(kind: str, filters: FilterQuery) -> bool:
    """Return True for a cancel without filters. `state` is no filter here: only queued recalls apply."""
    return kind == "cancel" and not filters.texts.keys() - {"state"}


def _kind() -> str:
    kind: str | None = next((each for each in KINDS if each == request.values.get("kind")), None)
    if kind is None:
        abort(400)
    return kind


def _reason(kind: str) -> str:
    return f"{'retried' if kind == 'retry' else 'cancelled'} by {person().name}, with others"


@role("operator")
def act_on_chosen(services: Services) -> ResponseReturnValue:
    """Retry or cancel the ticked recalls of a page, each as a single action.

    Recalls that do not allow the action are skipped. If an error ends the request, the audit log has the
    recalls that were changed before.
    """
    kind, filters = _kind(), _filter_query(services)
    done: list[str] = []
    skipped, now = 0, datetime.now(UTC)
    try:
        for recall_id in dict.fromkeys(request.form.getlist("chosen")[:PAGE_SIZE]):
            try:
                if kind == "retry":
                    services.recalls.retry(recall_id, f"retried by {person().name}", now)
                else:
                    services.recalls.cancel(recall_id, f"cancelled by {person().name}")
            except (ConflictError, NotFoundError):
                skipped += 1
            else:
                done.append(recall_id)
    finally:
        address = client_address(services.config.dashboard)
        services.audit.note_done(person().name, kind, done, address=address)
    _say_chosen(kind, len(done), skipped)
    return back_to(_address("recalls", filters, **arrangement(services).texts))


def _say_chosen(kind: str, done: int, skipped: int) -> None:
    if not done and not skipped:
        flash_message(_("Nothing was done: tick the recalls first."), "refused")
    if done and kind == "retry":
        flash_message(ngettext("%(num)d recall is queued again.", "%(num)d recalls are queued again.", done))
    if done and kind == "cancel":
        flash_message(ngettext("%(num)d recall was cancelled.", "%(num)d recalls were cancelled.", done))
    if skipped and kind == "retry":
        words = ngettext(
            "%(num)d was not changed: only the newest can be retried, if it is dead or expired.",
            "%(num)d were not changed: only the newest can be retried, if it is dead or expired.",
            skipped,
        )
        flash_message(words, "note")
    if skipped and kind == "cancel":
        words = ngettext(
            "%(num)d was not changed: only a queued recall can be cancelled.",
            "%(num)d were not changed: only a queued recall can be cancelled.",
            skipped,
        )
        flash_message(words, "note")


# --- export ------------------------------------------------------------------------------------


class RecallExport:
    """The view that exports recalls as CSV. `rates` limits the exports of each user."""

    def __init__(self, rates: RateStore) -> None:
        self._rates = rates

    def views(self) -> tuple[tuple[str, Callable[..., ResponseReturnValue]], ...]:
        """Return pairs of `METHOD /path` and view."""

        @signed_in
        def export_recalls(services: Services) -> Response:
            wait = self._rates.over(f"export:{person().name}", EXPORTS_A_MINUTE)
            return _export(services) if wait is None else _too_many_exports(wait)

        return (("POST /recalls/export", export_recalls),)


def _too_many_exports(wait_seconds: int) -> Response:
    answer = failure(
        HTTPStatus.TOO_MANY_REQUESTS,
        _("Too many exports"),
        _("Nothing was exported: a user may export %(number)s times a minute.", number=EXPORTS_A_MINUTE),
        ngettext("Export again in %(num)d second.", "Export again in %(num)d seconds.", wait_seconds),
    )
    answer.headers["Retry-After"] = str(wait_seconds)
    return answer


def _export(services: Services) -> Response:
    """Return the recalls that match the filters as CSV, in the order of the list, at most MOST_EXPORTED.

    For a viewer, customer ids and telephone numbers are masked. The response is not streamed: an error of
    the store gives an error page and not an incomplete file. Raise StoreAwayError.
    """
    filters = _filter_query(services)
    masked = not person().may("operator")
    # Other filters have texts that a user typed. These may name a person, so they are not logged.
    logged = [
        f"{name}={filters.texts[name]}" for name in ("search", "state", "account") if name in filters.texts
    ]
    note(services, "export recalls", *logged)
    found = islice(
        services.recalls.records.every(filters.which, oldest_first=sort() == OLDEST_FIRST), MOST_EXPORTED
    )
    attached = {"Content-Disposition": 'attachment; filename="recalls.csv"'}
    text = "".join(_csv_lines(rows(map(_exported_recall, map(_masked, found) if masked else found))))
    return Response(text, content_type="text/csv; charset=utf-8", headers=attached)


def _exported_recall(recall: Recall) -> dict[str, Any]:
    return RecallModel.model_validate(recall).model_dump(mode="json")


def _masked(recall: Recall) -> Recall:
    return replace(
        recall,
        customer_id=mask_but_end(recall.customer_id),
        recall_telephone=mask_but_end(recall.recall_telephone),
        reason=display_text.without_names(recall, recall.reason),
    )


def _csv_lines(table: Iterable[list[str]]) -> Iterator[str]:
    line = StringIO()
    writer = csv.writer(line)
    # Excel reads a file as UTF-8 only if it begins with this mark.
    line.write("\ufeff")
    for row in chain([EXPORT_COLUMNS], table):
        writer.writerow(row)
        yield line.getvalue()
        line.seek(0)
        line.truncate()


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """The number of recalls of a job's result that are in `state` now. `address` is the URL of their list."""

    state: State
    number: int
    address: str

    @classmethod
    def of(cls, job: BulkJob, outcome: str, number: int, state: State) -> JobOutcome:
        """Return the entry for one state, with the URL of its list."""
        return cls(state, number, _outcome_address(job, outcome, state))


@signed_in
def jobs(services: Services) -> Response:
    """List the latest bulk jobs, newest first."""
    return page("jobs.html", jobs=services.bulk_jobs.latest(), zone=zone_of(services.config))


@signed_in
def job(services: Services, job_id: str) -> Response:
    """Show the progress of a bulk job, and its outcomes with links. Raise NotFoundError."""
    shown = services.bulk_jobs.get(job_id)
    answer = page(
        "job.html",
        job=shown,
        **_outcomes(services, shown),
        most_listed=MOST_LISTED,
        most_deliveries=MOST_DELIVERIES,
        is_cut=max(0, shown.done, *shown.skipped.values(), *shown.results.values()) > MOST_LISTED,
        zone=zone_of(services.config),
    )
    # After htmx started the job, the browser's address is still that of the count. Push the job's address.
    answer.headers["HX-Push-Url"] = "false" if "X-Poll" in request.headers else request.path
    return answer


def _outcomes(services: Services, job: BulkJob) -> dict[str, Any]:
    """Return the outcomes of a job: those with links to recalls, and the ids of deliveries by outcome."""
    jobs, others = services.bulk_jobs, {}
    if job.kind is BulkAction.DISMISS:
        return {"changed": [], "skipped": job.skipped, "recalls_of": {}, "deliveries_of": {}}
    is_sending = job.kind is BulkAction.SEND_AGAIN
    outcome = RECALL if is_sending else DONE
    states = sorted(jobs.states_now(job.id, outcome).items())
    if is_sending:
        others = {**job.results, **job.skipped}
        others.pop(RECALL, None)
    return {
        "changed": [JobOutcome.of(job, outcome, number, State(state)) for state, number in states],
        "skipped": job.skipped,
        "recalls_of": {} if is_sending else {why: _outcome_address(job, why) for why in job.skipped},
        "deliveries_of": {what: jobs.ids_of(job.id, what, MOST_DELIVERIES) for what in others},
    }


def _outcome_address(job: BulkJob, outcome: str, state: State | None = None) -> str:
    return url_for("dashboard.recalls", outcome=f"{job.id}:{outcome}", state=state)


@role("operator")
def stop_job(services: Services, job_id: str) -> ResponseReturnValue:
    """Stop a bulk job. What was already done stays done. Raise NotFoundError."""
    if services.bulk_jobs.stop(job_id):
        note(services, "stop job", job_id)
        flash_message(_("Stopped. What was already done stays done."))
    else:
        flash_message(_("The bulk action had already ended. Nothing was changed."), "note")
    return back_to(url_for("dashboard.job", job_id=job_id))


VIEWS = (
    ("GET /recalls", recalls),
    ("GET /recalls/bulk", recalls_bulk),
    ("POST /recalls/bulk", begin_job),
    ("POST /recalls/chosen", act_on_chosen),
    ("GET /jobs", jobs),
    ("GET /jobs/<job_id>", job),
    ("POST /jobs/<job_id>/stop", stop_job),
)
