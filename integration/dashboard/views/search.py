"""The search over recalls, parked events and deliveries.

The text is sent by POST, so that no address, access log or `Referer` has a telephone number or a
customer's id. The text is stored, and the page of results has the id of the stored search in its address.
A viewer's search finds only whole numbers. Recalls are found by the indexes of the store. Events are
examined in the fork server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from flask import request, url_for
from flask_babel import gettext as _
from flask_babel import ngettext

from integration.config.models import zone_of
from integration.dashboard.auth.roles import signed_in
from integration.dashboard.presenting import display_text
from integration.dashboard.presenting.times import AccountZones
from integration.dashboard.responses import back_to, caller, failure, note, page, person
from integration.domain.recall import Filter
from integration.domain.recall_filters import SearchTerm, search_term
from integration.domain.timestamps import from_epoch_ms
from integration.webhooks.isolated_work.client import isolated_work

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.dashboard.auth.throttle import RateStore
    from integration.domain.recall import Recall
    from integration.services.container import Services
    from integration.store.delivery_log import StoredDelivery
    from integration.webhooks.isolated_work.client import EventSearch

A_MINUTE_BY_USER: Final = 20
LISTED: Final = 10
LOG_STEP: Final = 100
EVENTS_STEP: Final = 10  # a body has at most 1 MiB
INDEX_SECONDS: Final = 0.3
EVENT_SECONDS: Final = 1.0  # for each of parked events and deliveries; checked before each step


class Search:
    """The views of the search. `rates` limits the searches of each user."""

    def __init__(self, rates: RateStore) -> None:
        self._rates = rates

    def views(self) -> tuple[tuple[str, Callable[..., ResponseReturnValue]], ...]:
        """Return pairs of `METHOD /path` and view."""

        @signed_in
        def begin_search(services: Services) -> ResponseReturnValue:
            return self._begin(services)

        @signed_in
        def found(services: Services, search_id: str) -> Response:
            return self._found(services, search_id)

        return (
            ("GET /search", search),
            ("POST /search", begin_search),
            ("GET /search/<search_id>", found),
        )

    def _begin(self, services: Services) -> ResponseReturnValue:
        """Store the text of the form and redirect to its results.

        A search for anything but an id of Ringback is limited and audited.
        """
        term = _term(services, request.form.get("q", ""))
        if not term.text:
            return back_to(url_for("dashboard.search"))
        wait = self._wait(term)
        if wait is not None:
            return _too_many(wait)
        search_id = services.searches.add(person().name, term.text)
        if not term.is_id:
            note(services, "search", search_id)
        isolated_work().start()
        return back_to(url_for("dashboard.found", search_id=search_id))

    def _wait(self, term: SearchTerm) -> int | None:
        """Count a request of a search. Return None if it may proceed, else the seconds to wait.

        A search has two requests: the form and the page of results. Searches for an id of Ringback are
        not counted.
        """
        if term.is_id:
            return None
        return self._rates.over(f"search:{person().name}", 2 * A_MINUTE_BY_USER)

    def _found(self, services: Services, search_id: str) -> Response:
        """Show the records that match a stored search. Raise NotFoundError."""
        term = stored_term(services, search_id)
        wait = self._wait(term)
        if wait is not None:
            return _too_many(wait)
        return page(
            "search.html",
            term=term,
            found=find_everything(services, term),
            search_id=search_id,
            zone=zone_of(services.config),
            zones=AccountZones(services.config),
            without_names=display_text.without_names,
        )


def _too_many(wait_seconds: int) -> Response:
    answer = failure(
        HTTPStatus.TOO_MANY_REQUESTS,
        _("Too many searches"),
        _("Nothing was searched: a user may search %(number)s times a minute.", number=A_MINUTE_BY_USER),
        ngettext("Search again in %(num)d second.", "Search again in %(num)d seconds.", wait_seconds),
    )
    answer.headers["Retry-After"] = str(wait_seconds)
    return answer


def _term(services: Services, text: str) -> SearchTerm:
    whole = not person().may("operator")
    return search_term(text, services.config.accounts.values(), whole=whole)


def stored_term(services: Services, search_id: str) -> SearchTerm:
    """Return the term of a search of the signed-in user. Raise NotFoundError, StoreAwayError."""
    return _term(services, services.searches.read(person().name, search_id))


@signed_in
def search(services: Services) -> Response:  # noqa: ARG001  (as every view)
    """Show the form and its help text."""
    return page("search.html", term=None, found=None)


# --- the records that a term is about ----------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ParkedMatch:
    """A parked event that matches the term. `reason` describes the value for which it was parked.

    `at` is the time of parking (aware, UTC).
    """

    id: str
    source: str
    group: str
    mapped_field: str
    reason: str = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The records that match the term, the newest of each kind.

    `more_recalls` is True if there are more than those listed, or if not all were examined. `campaign` is
    the term if it is the campaign of a recall, else "". `parked_in_full` and `deliveries_in_full` are
    False if not all records were examined, because the time limit was reached or enough were found.
    `back_to` is the arrival of the last delivery examined (aware), or None. `left_out` is the number of
    parked events and deliveries that were not examined, because their step was killed.
    """

    recalls: Sequence[Recall]
    more_recalls: bool
    campaign: str
    parked: Sequence[ParkedMatch]
    parked_in_full: bool
    deliveries: Sequence[StoredDelivery]
    deliveries_in_full: bool
    back_to: datetime | None
    left_out: int

    @property
    def is_empty(self) -> bool:
        """Return True if there is no record of any kind."""
        return not (self.recalls or self.campaign or self.parked or self.deliveries)


def find_everything(services: Services, term: SearchTerm) -> Matches:
    """Return the records that match a term. Each kind has its own time limit.

    Raise StoreAwayError, TooMuchWorkError, ForkServerFailedError and ClientLeftError.
    """
    with isolated_work().event_search(services.config, caller(), term) as events:
        linked_ids = services.deliveries.ids_from_event(services.config.sources, term.text)
        recalls, more = _recalls(services, term, linked_ids)
        parked, parked_in_full = _parked(services, term, linked_ids, events)
        known = [*linked_ids, *(each.delivery for each in recalls if each.delivery), term.text.lower()]
        deliveries, back_to, in_full = _deliveries(services, known, events)
    return Matches(
        recalls=recalls,
        more_recalls=more,
        campaign=_campaign(services, term),
        parked=parked,
        parked_in_full=parked_in_full,
        deliveries=deliveries,
        deliveries_in_full=in_full,
        back_to=back_to,
        left_out=events.left_out,
    )


def _recalls(services: Services, term: SearchTerm, linked_ids: Sequence[str]) -> tuple[list[Recall], bool]:
    records = services.recalls.records
    which = Filter(**term.filter_fields)
    indexed = records.search.find(which, limit=LISTED, budget_seconds=INDEX_SECONDS)
    ids = dict.fromkeys([*indexed.ids, *(each for each in linked_ids if each.startswith("rc_"))])
    return records.read(tuple(ids))[:LISTED], indexed.next is not None


def _campaign(services: Services, term: SearchTerm) -> str:
    found = services.recalls.records.search.find(
        Filter(campaign_id=term.text), limit=1, budget_seconds=INDEX_SECONDS
    )
    return term.text if found.ids else ""


def _parked(
    services: Services, term: SearchTerm, linked_ids: Sequence[str], events: EventSearch
) -> tuple[list[ParkedMatch], bool]:
    records = services.parked.records
    named = records.many([each for each in (*linked_ids, term.text.lower()) if each.startswith("pk_")])
    found: dict[str, Mapping[str, str]] = dict(named)
    cursor, in_full, until = None, False, events.seconds() + EVENT_SECONDS
    while len(found) < LISTED and not in_full and events.goes_on(until):
        step, cursor = records.page(limit=EVENTS_STEP, cursor=cursor, most=EVENTS_STEP)
        found |= {record["id"]: record for record in events.parked(step)}
        in_full = cursor is None
    newest = sorted(map(_parked_match, found.values()), key=lambda each: each.at, reverse=True)
    return newest[:LISTED], in_full and len(newest) <= LISTED


def _parked_match(record: Mapping[str, str]) -> ParkedMatch:
    return ParkedMatch(
        id=record["id"],
        source=record["source"],
        group=record["group"],
        mapped_field=record["field"],
        reason=record["found"],
        at=from_epoch_ms(record["at"]),
    )


def _deliveries(
    services: Services, known: Sequence[str], events: EventSearch
) -> tuple[list[StoredDelivery], datetime | None, bool]:
    """Return deliveries, the arrival of the last one examined or None, and whether all were examined."""
    log = services.delivery_log
    found = {each.id: each for each in log.many([each for each in known if each.startswith("dl_")])}
    cursor, back_to, until = None, None, events.seconds() + EVENT_SECONDS
    in_full, goes_on = False, True
    while len(found) < LISTED and not in_full and goes_on:
        step = log.page(services.config.sources, cursor=cursor, limit=LOG_STEP)
        for start in range(0, len(step.items), EVENTS_STEP):
            goes_on = events.goes_on(until)
            if not goes_on:
                break
            some = step.items[start : start + EVENTS_STEP]
            ids = [each.delivery for each in some if each.delivery and not each.again]
            found |= {each.id: each for each in events.deliveries(log.many(ids))}
            back_to = some[-1].at
        else:
            cursor, in_full = step.next, step.next is None
    newest = sorted(found.values(), key=lambda each: each.received_at, reverse=True)
    return newest[:LISTED], back_to, in_full
