"""`ringback accounts`, `pause`, `resume`: list accounts, pause and resume their queues.

A queue belongs to a token, so pause and resume affect every account with the same token. Neither
interrupts a call in flight.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from integration.api.models import MOST_PAUSE_DAYS, AccountModel
from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_cli_context,
)
from integration.store.audit import COMMAND_LINE
from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from integration.domain.account import AccountView

COLUMNS = ("account", "state", "queued", "dead", "pushed today", "oldest", "until", "reason")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.command(cls=AsWritten)
@config_option
@json_option
@pass_cli_context
def accounts(context: CliContext, *, as_json: bool) -> None:
    """List accounts and the states of their queues.

    idle     no recall is queued
    busy     a recall is being pushed
    waiting  continues by itself at the time in `until`
    paused   an operator paused it; continue with `ringback resume`
    stopped  wolkvox rejects the token or address; fix it, then run `ringback resume`
    """
    found = context.services.accounts.all()
    if as_json:
        output.as_json({"items": [_as_dict(view) for view in found]})
        return
    output.table(COLUMNS, (_row(context, view) for view in found))


def _as_dict(view: AccountView) -> dict[str, Any]:
    return AccountModel.model_validate(view).model_dump(mode="json")


def _row(context: CliContext, view: AccountView) -> tuple[object, ...]:
    pushed = view.pushed_today if view.daily_limit is None else f"{view.pushed_today} of {view.daily_limit}"
    until = output.moment(view.until, context.zone_of(view.name))
    return (
        view.name,
        view.state,
        view.queued,
        view.dead,
        pushed,
        _age(view.oldest_seconds),
        until,
        view.reason,
    )


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    for size, unit in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


@click.command(cls=AsWritten)
@click.argument("account")
@click.option("--reason", metavar="TEXT", default="", help="The reason, as `ringback accounts` shows it.")
@click.option(
    "--minutes",
    type=click.IntRange(1, MOST_PAUSE_DAYS * 24 * 60),
    help="Resume after this time. Default: pause until `ringback resume`.",
)
@config_option
@json_option
@pass_cli_context
def pause(context: CliContext, account: str, reason: str, minutes: int | None, *, as_json: bool) -> None:
    """Pause ACCOUNT: stop pushing its recalls.

    The pause ends with `ringback resume` or after --minutes. New recalls are still accepted and queued.

    Examples:
      ringback pause bogota --reason "the campaign is being changed"
      ringback pause bogota --minutes 30
    """
    context.require_account(account)
    until = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    context.services.accounts.pause(account, printable(reason).strip(), until, by=COMMAND_LINE)
    context.services.audit.note_done(COMMAND_LINE, "pause", [account])
    _report(context, account, as_json=as_json)


@click.command(cls=AsWritten)
@click.argument("account")
@config_option
@json_option
@pass_cli_context
def resume(context: CliContext, account: str, *, as_json: bool) -> None:
    """Resume ACCOUNT: push its recalls again.

    This ends a pause, a stop and a wait.

    Example:
      ringback resume bogota
    """
    context.require_account(account)
    context.services.accounts.resume(account)
    context.services.audit.note_done(COMMAND_LINE, "resume", [account])
    _report(context, account, as_json=as_json)


def _report(context: CliContext, account: str, *, as_json: bool) -> None:
    view = context.services.accounts.get(account)
    if as_json:
        output.as_json(_as_dict(view))
        return
    reason = f": {printable(view.reason)}" if view.reason else ""
    until = f" until {output.moment(view.until, context.zone_of(account))}" if view.until else ""
    output.line(f"{account} is {output.coloured(view.state)}{until}{reason}")
    bound = context.services.queues.bound()
    others = sorted(name for name, queue in bound.items() if queue == bound.get(account) and name != account)
    if others:
        output.line(f"Accounts with the same token have the same state: {', '.join(others)}")
