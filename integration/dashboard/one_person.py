"""A person: everything that is held of one, given out or removed; for admins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson
from flask import Response, request
from flask_babel import gettext as _

from integration.api.models import RecallShown
from integration.dashboard.origin import client_address
from integration.dashboard.pages import page, person, say
from integration.dashboard.roles import role
from integration.history import exported
from integration.mention import SHORTEST_NUMBER, Person
from integration.telephone import endings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask.typing import ResponseReturnValue

    from workers.desk import Desk

LONGEST: Final = 256


@role("admin")
def one_person(desk: Desk) -> Response:  # noqa: ARG001  (as every view)
    """Ask who is meant."""
    return _asked()


@role("admin")
def export_person(desk: Desk) -> ResponseReturnValue:
    """Give out everything that is held of a person, as a file."""
    who = _person(desk)
    if who is None:
        return _asked(status=422)
    held = desk.people.held(who)
    _note(desk, "export", held.counts)
    recalls = [RecallShown.model_validate(recall).model_dump(mode="json") for recall in held.recalls]
    records = {
        "deliveries": desk.people.records("delivery", held.deliveries),
        "parked": desk.people.records("parked", held.parked),
        "lookups": desk.people.records("lookup", held.lookups),
    }
    told = orjson.dumps(exported(who, held, recalls, records), option=orjson.OPT_INDENT_2)
    attached = {"Content-Disposition": 'attachment; filename="history.json"'}
    return Response(told, content_type="application/json", headers=attached)


@role("admin")
def forget_person(desk: Desk) -> ResponseReturnValue:
    """Remove a person everywhere, and show what was removed and what is left."""
    who = _person(desk)
    if who is None:
        return _asked(status=422)
    done = desk.people.forget(who, keep_days=desk.config.store.longest_days)
    _note(desk, "forget", done.removed)
    return page("one_person.html", done=done, short=who.is_short)


def _asked(status: int = 200) -> Response:
    return page("one_person.html", status=status, done=None, short=False)


def _person(desk: Desk) -> Person | None:
    """Read who is meant; None where that cannot be told, which is said."""
    customer = request.form.get("customer", "").strip()[:LONGEST]
    telephone = request.form.get("telephone", "").strip()[:LONGEST]
    if bool(customer) == bool(telephone):
        say(_("Give either a customer or a telephone."), "refused")
        return None
    if customer:
        return Person(customer=customer)
    ways = {(account.country, account.dial_format) for account in desk.config.accounts.values()}
    found = endings(telephone, sorted(ways))
    if not found or min(map(len, found)) < SHORTEST_NUMBER:
        say(_("That is no whole telephone number."), "refused")
        return None
    return Person(endings=found)


def _note(desk: Desk, what: str, counts: Mapping[str, int]) -> None:
    about = [f"{name}={count}" for name, count in counts.items()]
    desk.audit.note(person().name, what, about, address=client_address(desk.config.dashboard))


VIEWS = (
    ("GET /person", one_person),
    ("POST /person/export", export_person),
    ("POST /person/forget", forget_person),
)
