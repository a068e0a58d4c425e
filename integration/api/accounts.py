"""`/v1/accounts`: accounts with their queues, pause and resume."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from flask import request

from integration.api.keys import may_see, note
from integration.api.models import MOST_PAUSE_DAYS, AccountList, AccountModel, Me, PauseRequestBody
from integration.api.requests import bad_fields, checked, optional_json_body
from integration.domain.errors import UnknownError, invalid_value

if TYPE_CHECKING:
    from integration.config.models import ApiKey
    from integration.services.container import Services


def me(services: Services, caller: ApiKey) -> Me:
    """Return the caller's name and the names of the accounts that it may see."""
    accounts = services.config.accounts if caller.accounts is None else caller.accounts
    return Me(name=caller.name, accounts=tuple(sorted(accounts)))


def many(services: Services, caller: ApiKey) -> AccountList:
    """Return the accounts that the caller may see. Raise StoreAwayError."""
    names = None if caller.accounts is None else sorted(caller.accounts)
    return AccountList(
        items=tuple(AccountModel.model_validate(view) for view in services.accounts.all(names))
    )


def one(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Return an account. Raise UnknownError, also for one that the caller must not see."""
    if not may_see(caller, name):
        raise UnknownError("no such account")
    return AccountModel.model_validate(services.accounts.get(name))


def pause(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Pause an account's queue and return the account. The body may have `reason` and `until`.

    Raise UnknownError for another account.

    Raise ProblemError (422) for an end that has passed or is too far ahead.
    """
    body = checked(PauseRequestBody, optional_json_body(request))
    one(services, caller, name)
    if body.until is not None and not is_pause_end(body.until, datetime.now(UTC)):
        allowed = PauseRequestBody.model_fields["until"].description or ""
        detail = invalid_value("until", "a moment that is not allowed", allowed)
        raise bad_fields([{"pointer": "/until", "detail": detail}])
    services.accounts.pause(
        name, body.reason or f"paused by api:{caller.name}", body.until, by=f"api:{caller.name}"
    )
    note(services, caller, "pause", name)
    return one(services, caller, name)


def is_pause_end(until: datetime, now: datetime) -> bool:
    """Return whether a pause may end at `until`: in the future, but not after MOST_PAUSE_DAYS."""
    return now < until <= now + timedelta(days=MOST_PAUSE_DAYS)


def resume(services: Services, caller: ApiKey, name: str) -> AccountModel:
    """Resume an account's queue. Raise UnknownError."""
    one(services, caller, name)
    services.accounts.resume(name)
    note(services, caller, "resume", name)
    return one(services, caller, name)
