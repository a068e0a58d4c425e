"""`/v1/accounts`: accounts with their lanes, pause and resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request

from integration.api.keys import may_see
from integration.api.models import AccountList, AccountShown, Me, PauseAsked
from integration.api.requests import checked, optional_json_body
from integration.errors import UnknownError

if TYPE_CHECKING:
    from integration.config import ApiKey
    from workers.desk import Desk


def me(desk: Desk, caller: ApiKey) -> Me:
    """Give the caller's name and the accounts that it sees, by name."""
    accounts = desk.config.accounts if caller.accounts is None else caller.accounts
    return Me(name=caller.name, accounts=tuple(sorted(accounts)))


def many(desk: Desk, caller: ApiKey) -> AccountList:
    """Give every account that the caller sees. Raises StoreAwayError."""
    names = None if caller.accounts is None else sorted(caller.accounts)
    return AccountList(items=tuple(AccountShown.model_validate(view) for view in desk.accounts(names)))


def one(desk: Desk, caller: ApiKey, name: str) -> AccountShown:
    """Give an account. Raises UnknownError, also for one that the caller must not see."""
    if not may_see(caller, name):
        raise UnknownError("no such account")
    return AccountShown.model_validate(desk.account(name))


def pause(desk: Desk, caller: ApiKey, name: str) -> AccountShown:
    """Pause an account's lane, for the reason in the body if there is one. Raises UnknownError."""
    asked = checked(PauseAsked, optional_json_body(request))
    one(desk, caller, name)
    desk.pause(name, asked.reason or f"paused by api:{caller.name}")
    return one(desk, caller, name)


def resume(desk: Desk, caller: ApiKey, name: str) -> AccountShown:
    """Resume an account's lane. Raises UnknownError."""
    one(desk, caller, name)
    desk.resume(name)
    return one(desk, caller, name)
