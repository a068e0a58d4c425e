"""Personal data of one customer: export and erasure. Admins only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from flask import Response, request
from flask_babel import gettext as _

from integration.api.models import RecallModel
from integration.dashboard.auth.roles import role
from integration.dashboard.responses import note, page, say
from integration.services.personal_data.export import exported
from integration.services.personal_data.matcher import PersonMatcher

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from integration.services.container import Services

LONGEST: Final = 256


@role("admin")
def one_person(services: Services) -> Response:  # noqa: ARG001  (as every view)
    """Show the form for a customer id or telephone number."""
    return _form()


@role("admin")
def export_person(services: Services) -> ResponseReturnValue:
    """Return the data held about a person as a JSON file."""
    who = _person(services)
    if who is None:
        return _form(status=422)
    held = services.personal_data.held(who)
    note(services, "export", *(f"{name}={count}" for name, count in held.counts.items()))
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
def forget_person(services: Services) -> ResponseReturnValue:
    """Erase a person's data, and show what was erased and what remains."""
    who = _person(services)
    if who is None:
        return _form(status=422)
    done = services.personal_data.forget(who, keep_days=services.config.store.longest_days)
    note(services, "forget", *(f"{name}={count}" for name, count in done.removed.items()))
    return page("one_person.html", done=done, short=who.is_short)


def _form(status: int = 200) -> Response:
    return page("one_person.html", status=status, done=None, short=False)


def _person(services: Services) -> PersonMatcher | None:
    """Return the person of the form. If the form is not usable, flash the reason and return None."""
    customer = request.form.get("customer", "").strip()[:LONGEST]
    telephone = request.form.get("telephone", "").strip()[:LONGEST]
    if bool(customer) == bool(telephone):
        say(_("Give either a customer or a telephone."), "refused")
        return None
    if customer:
        return PersonMatcher(customer=customer)
    found = PersonMatcher.of_telephone(telephone, services.config.accounts.values())
    if found is None:
        say(_("That is no whole telephone number."), "refused")
    return found


VIEWS = (
    ("GET /person", one_person),
    ("POST /person/export", export_person),
    ("POST /person/forget", forget_person),
)
