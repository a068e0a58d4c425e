"""The views of `/v1/parked`: list and remap events that could not be mapped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

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
REMAP_SECONDS: Final = 20.0


def list_parked(services: Services, caller: ApiKey) -> ParkedPage:
    """Return a page of parked events, newest first. Raise ProblemError (422) for invalid parameters.

    A key that is limited to accounts does not see events without an account.
    """
    filters = query(ParkedQuery, request)
    found, following = services.parked.records.page(
        fits=lambda record: _fits(filters, record) and may_see(caller, record["account"]),
        limit=filters.limit,
        cursor=_store_cursor(filters.cursor),
    )
    return ParkedPage(
        items=tuple(ParkedEventModel.of(record) for record in found),
        next=_public_cursor(following),
    )


def _store_cursor(cursor: str | None) -> str | None:
    return None if cursor is None else cursor.removeprefix(_CURSOR).replace("_", ".pk_")


def _public_cursor(cursor: str | None) -> str | None:
    return None if cursor is None else _CURSOR + cursor.replace(".pk_", "_")


def _fits(filters: ParkedQuery, record: Mapping[str, str]) -> bool:
    return filters.source in {None, record["source"]} and filters.route in {None, record["route"]}


def remap(services: Services, caller: ApiKey) -> RemapModel:
    """Remap parked events in the fork server. Stop after about REMAP_SECONDS.

    Raise ProblemError (403 for a key limited to accounts, 422), the errors of `optional_json_body`,
    TooMuchWorkError, ForkServerFailedError, StoreAwayError.
    """
    if caller.accounts is not None:
        raise ProblemError(
            403, "the key is limited to some accounts. Use a key for all accounts to remap parked events."
        )
    body = checked(RemapRequestBody, optional_json_body(request))
    plan = partial(
        isolated_work().plan_in_time, services.config, Caller.of(f"api:{caller.name}", request.environ)
    )
    which = ParkedFilter(source=body.source, route=body.route)
    note(services, caller, "remap", body.source or "every-source")
    remapped = services.parked.remap(
        which, datetime.now(UTC), cursor=_store_cursor(body.cursor), seconds=REMAP_SECONDS, plan=plan
    )
    return RemapModel.model_validate(replace(remapped, next=_public_cursor(remapped.next)))
