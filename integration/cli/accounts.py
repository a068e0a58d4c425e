"""`ringback accounts`, `pause`, `resume`: the accounts with their queues.

Pause and resume act on the queue, and so on every account with the same token; neither cuts a call in
flight or a quiet time short.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from integration.api.models import MOST_PAUSE_DAYS, AccountModel
from integration.cli import output
from integration.cli.context import (
    COMMAND_LINE,
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_session,
)
from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from integration.domain.account import AccountView

COLUMNS = ("account", "state", "queued", "dead", "pushed today", "oldest", "until", "reason")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@click.command(cls=AsWritten)
@config_option
@json_option
@pass_session
def accounts(session: CliContext, *, as_json: bool) -> None:
    """List accounts with their queues.

    idle     nothing to do                    busy     a recall is being pushed
    waiting  goes on by itself at `until`     paused   somebody paused it: `ringback resume`
    stopped  wolkvox refuses the token or the address: mend it, then `ringback resume`
    """
    found = session.services.accounts.all()
    if as_json:
        output.as_json({"items": [_shown(view) for view in found]})
        return
    output.table(COLUMNS, (_row(view) for view in found))


def _shown(view: AccountView) -> dict[str, Any]:
    return AccountModel.model_validate(view).model_dump(mode="json")


def _row(view: AccountView) -> tuple[object, ...]:
    pushed = view.pushed_today if view.daily_limit is None else f"{view.pushed_today} of {view.daily_limit}"
    until = output.moment(view.until)
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
@click.option("--reason", metavar="TEXT", default="", help="Why; shown to whoever looks at the account.")
@click.option(
    "--minutes",
    type=click.IntRange(1, MOST_PAUSE_DAYS * 24 * 60),
    help="For how long; it then goes on by itself. Left out: until `ringback resume`.",
)
@config_option
@json_option
@pass_session
def pause(session: CliContext, account: str, reason: str, minutes: int | None, *, as_json: bool) -> None:
    """Push nothing more for ACCOUNT for now.

    Until `ringback resume`, or for a while; what arrives is queued.

    Examples:
      ringback pause bogota --reason "the campaign is being changed"
      ringback pause bogota --minutes 30
    """
    session.require_account(account)
    until = None if minutes is None else datetime.now(UTC) + timedelta(minutes=minutes)
    session.services.accounts.pause(account, printable(reason).strip(), until)
    session.services.audit.note_done(COMMAND_LINE, "pause", [account])
    _report(session, account, as_json=as_json)


@click.command(cls=AsWritten)
@click.argument("account")
@config_option
@json_option
@pass_session
def resume(session: CliContext, account: str, *, as_json: bool) -> None:
    """Let ACCOUNT go on: ends a pause, a stop and a wait.

    Example:
      ringback resume bogota
    """
    session.require_account(account)
    session.services.accounts.resume(account)
    session.services.audit.note_done(COMMAND_LINE, "resume", [account])
    _report(session, account, as_json=as_json)


def _report(session: CliContext, account: str, *, as_json: bool) -> None:
    view = session.services.accounts.get(account)
    if as_json:
        output.as_json(_shown(view))
        return
    reason = f": {printable(view.reason)}" if view.reason else ""
    until = f" until {output.moment(view.until)}" if view.until else ""
    output.line(f"{account} is {output.coloured(view.state)}{until}{reason}")
    bound = session.services.queues.bound()
    others = sorted(name for name, queue in bound.items() if queue == bound.get(account) and name != account)
    if others:
        output.line(f"so are, on the same token: {', '.join(others)}")
