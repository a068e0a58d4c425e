"""`/v1/parked`: events that could not be mapped, and remapping them."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from flask import request

from integration.api.keys import may_see, note
from integration.api.models import ParkedEventModel, ParkedPage, ParkedQuery, RemapModel, RemapRequestBody
from integration.api.requests import checked, optional_json_body, query
from integration.services.parked import ParkedFilter
from integration.web.isolation.user_queue import Caller
from integration.web.problems import ProblemError
from integration.webhooks.isolated_work.client import isolated_work

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.models import ApiKey
    from integration.services.container import Services

_CURSOR = "p1_"


def many(services: Services, caller: ApiKey) -> ParkedPage:
    """Return parked events, newest first. Raise ProblemError (422).

    A key that is limited to accounts sees only events with a known route, and so a known account.
    """
    filters = query(ParkedQuery, request)
    found, following = services.parked.records.page(
        fits=lambda record: _fits(filters, record) and may_see(caller, record["account"]),
        limit=filters.limit,
        cursor=None if filters.cursor is None else filters.cursor.removeprefix(_CURSOR).replace("_", ".pk_"),
    )
    return ParkedPage(
        items=tuple(ParkedEventModel.of(record) for record in found),
        next=None if following is None else _CURSOR + following.replace(".pk_", "_"),
    )


def _fits(filters: ParkedQuery, record: Mapping[str, str]) -> bool:
    return filters.source in {None, record["source"]} and filters.route in {None, record["route"]}


def remap(services: Services, caller: ApiKey) -> RemapModel:
    """Remap parked events, in the fork server.

    Raise ProblemError (403 for a key limited to accounts, 422), TooMuchWorkError, ForkServerFailedError.
    """
    if caller.accounts is not None:
        raise ProblemError(403, "only a key for all accounts may remap parked events")
    body = checked(RemapRequestBody, optional_json_body(request))
    plan = partial(
        isolated_work().plan_in_time, services.config, Caller.of(f"api:{caller.name}", request.environ)
    )
    which = ParkedFilter(source=body.source, route=body.route)
    note(services, caller, "remap", body.source or "every-source")
    return RemapModel.model_validate(services.parked.remap(which, datetime.now(UTC), plan=plan))
