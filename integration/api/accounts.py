"""The views of `/v1/accounts` and `/v1/me`: accounts with their queues, pause and resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import request

from integration.api.keys import may_see, note
from integration.api.models import MOST_PAUSE_DAYS, AccountList, AccountModel, Me, PauseRequestBody
from integration.api.requests import bad_fields, checked, optional_json_body
from integration.domain.errors import NotFoundError, invalid_value

if TYPE_CHECKING:
    from integration.config.models import ApiKey
    from integration.services.container import Services


def me(services: Services, caller: ApiKey) -> Me:
    """Return the name of the caller's key and the names of the accounts that the key may see."""
    accounts = services.config.accounts if caller.accounts is None else caller.accounts
    return Me(name=caller.name, accounts=tuple(sorted(accounts)))


def list_accounts(services: Services, caller: ApiKey) -> AccountList:
    """Return the accounts that the caller may see. Raise StoreAwayError."""
    names = None if caller.accounts is None else sorted(caller.accounts)
    return AccountList(
        items=tuple(AccountModel.model_validate(view) for view in services.accounts.all(names))
    )


def one(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Return an account. Raise NotFoundError if it does not exist or the caller must not see it."""
    if not may_see(caller, name):
        raise NotFoundError("no such account")
    return AccountModel.model_validate(services.accounts.get(name))


def pause(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Pause the queue of an account. Return the account.

    Raise the errors of `optional_json_body`, ProblemError (422) if the body is invalid or `until` has
    passed or is too far ahead, and the NotFoundError of `one`.
    """
    body = checked(PauseRequestBody, optional_json_body(request))
    one(services, caller, name)
    if body.until is not None and not is_pause_end(body.until, datetime.now(UTC)):
        allowed = PauseRequestBody.model_fields["until"].description or ""
        detail = invalid_value("until", "in the past or too far ahead", allowed)
        raise bad_fields([{"pointer": "/until", "detail": detail}])
    services.accounts.pause(
        name, body.reason or f"paused by api:{caller.name}", body.until, by=f"api:{caller.name}"
    )
    note(services, caller, "pause", name)
    return one(services, caller, name)


def is_pause_end(until: datetime, now: datetime) -> bool:
    """Return True if `until` is in the future, at most MOST_PAUSE_DAYS ahead. Both times are aware."""
    return now < until <= now + timedelta(days=MOST_PAUSE_DAYS)


def resume(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Resume the queue of an account. Return the account. Raise the NotFoundError of `one`."""
    one(services, caller, name)
    services.accounts.resume(name)
    note(services, caller, "resume", name)
    return one(services, caller, name)
