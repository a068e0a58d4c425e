"""The page of personal data, for admins: export and erasure of the data of one customer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from flask import Response, request
from flask_babel import gettext as _
from flask_babel import ngettext

from integration.api.models import RecallModel
from integration.dashboard.auth.roles import role
from integration.dashboard.responses import flash_message, note, page
from integration.services.personal_data.export import exported
from integration.services.personal_data.matcher import SHORTEST_NUMBER, PersonMatcher

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from integration.services.container import Services

LONGEST: Final = 256


@role("admin")
def personal_data(services: Services) -> Response:  # noqa: ARG001  (as every view)
    """Show the form for a customer id or telephone number."""
    return _form()


@role("admin")
def export_person(services: Services) -> ResponseReturnValue:
    """Return the data held about a person as a JSON file, or the form with status 422."""
    who = _person(services)
    if who is None:
        return _form(status=422)
    held = services.personal_data.held(who)
    note(services, "export", *_noted(held.counts))
    recalls = [RecallModel.model_validate(recall).model_dump(mode="json") for recall in held.recalls]
    records = {
        "deliveries": services.personal_data.records("delivery", held.deliveries),
        "parked": services.personal_data.records("parked", held.parked),
        "lookups": services.personal_data.records("lookup", held.lookups),
    }
    content = orjson.dumps(exported(who, held, recalls, records), option=orjson.OPT_INDENT_2)
    attached = {"Content-Disposition": 'attachment; filename="history.json"'}
    return Response(content, content_type="application/json", headers=attached)


@role("admin")
def find_person(services: Services) -> ResponseReturnValue:
    """Show the numbers of records held about a person, with buttons for export and erasure."""
    who = _person(services)
    if who is None:
        return _form(status=422)
    counts = services.personal_data.held(who).counts
    note(services, "find person", *_noted(counts))
    person_fields = _filled_fields()
    return page(
        "personal_data.html",
        erased=None,
        person_fields=person_fields,
        counts=_labelled(counts),
        short=who.is_short,
    )


@role("admin")
def forget_person(services: Services) -> ResponseReturnValue:
    """Erase a person's data, and show what was erased and what remains."""
    who = _person(services)
    if who is None:
        return _form(status=422)
    erased = services.personal_data.forget(who, keep_days=services.config.store.longest_days)
    note(services, "forget", *_noted(erased.removed))
    labelled = _labelled(erased.removed)
    return page("personal_data.html", erased=erased, person_fields={}, counts=labelled, short=who.is_short)


def _noted(counts: Mapping[str, int]) -> list[str]:
    return [f"{name}={count}" for name, count in counts.items()]


def _labelled(counts: Mapping[str, int]) -> list[str]:
    """Return the counts of a person's records as texts, without those that are zero."""
    words = (
        ngettext("%(num)d recall", "%(num)d recalls", counts.get("recalls", 0)),
        ngettext("%(num)d delivery", "%(num)d deliveries", counts.get("deliveries", 0)),
        ngettext("%(num)d parked event", "%(num)d parked events", counts.get("parked", 0)),
        ngettext("%(num)d waiting lookup", "%(num)d waiting lookups", counts.get("lookups", 0)),
        ngettext("%(num)d bulk action", "%(num)d bulk actions", counts.get("jobs", 0)),
        ngettext("%(num)d cancellation", "%(num)d cancellations", counts.get("cancellations", 0)),
    )
    return [text for name, text in zip(_KINDS, words, strict=True) if counts.get(name)]


_KINDS: Final = ("recalls", "deliveries", "parked", "lookups", "jobs", "cancellations")


def _form(status: int = 200) -> Response:
    return page("personal_data.html", status=status, erased=None, person_fields={}, counts=[], short=False)


def _filled_fields() -> dict[str, str]:
    """Return the filled-in fields of the form, each cut to 256 characters."""
    fields = {name: request.form.get(name, "").strip()[:LONGEST] for name in ("customer", "telephone")}
    return {name: text for name, text in fields.items() if text}


def _person(services: Services) -> PersonMatcher | None:
    """Return the matcher for the person in the form. If the form is invalid, flash why; return None."""
    person_fields = _filled_fields()
    if len(person_fields) != 1:
        flash_message(_("Enter either a customer id or a telephone number."), "refused")
        return None
    if "customer" in person_fields:
        return PersonMatcher(customer=person_fields["customer"])
    found = PersonMatcher.of_telephone(person_fields["telephone"], services.config.accounts.values())
    if found is None:
        flash_message(
            _(
                "This is not a complete telephone number: it has fewer than %(number)s digits.",
                number=SHORTEST_NUMBER,
            ),
            "refused",
        )
    return found


VIEWS = (
    ("GET /person", personal_data),
    ("POST /person", find_person),
    ("POST /person/export", export_person),
    ("POST /person/forget", forget_person),
)
