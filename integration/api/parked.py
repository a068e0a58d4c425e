"""`/v1/parked`: events that could not be mapped, and another look at them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import request

from integration.api.keys import may_see
from integration.api.models import ParkedPage, ParkedQuery, ParkedShown, RemapAsked, RemapShown
from integration.api.requests import checked, optional_json_body, query
from integration.problems import ProblemError

if TYPE_CHECKING:
    from integration.config import ApiKey
    from workers.desk import Desk

# How many are looked through for a key that sees only some accounts' events.
MOST_LOOKED_THROUGH = 10_000


def many(desk: Desk, caller: ApiKey) -> ParkedPage:
    """Give parked events, newest first. Raises ProblemError (422).

    A key that is limited to accounts sees the events whose route, and so whose account, is known.
    """
    asked = query(ParkedQuery, request)
    most = asked.limit if caller.accounts is None else MOST_LOOKED_THROUGH
    records = desk.ledger.parked(source=asked.source, route=asked.route, limit=most)
    seen = [record for record in records if may_see(caller, record["account"])]
    return ParkedPage(items=tuple(ParkedShown.of(record) for record in seen[: asked.limit]))


def remap(desk: Desk, caller: ApiKey) -> RemapShown:
    """Look at parked events again. Raises ProblemError (403 for a key limited to accounts, 422)."""
    if caller.accounts is not None:
        raise ProblemError(403, "only a key for all accounts may look at parked events again")
    asked = checked(RemapAsked, optional_json_body(request))
    remapped = desk.remap(source=asked.source, route=asked.route, now=datetime.now(UTC))
    return RemapShown.model_validate(remapped)
