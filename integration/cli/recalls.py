"""`ringback recalls`, `show`, `retry`, `cancel`: list, show, retry and cancel recalls.

Telephone numbers are masked unless `--reveal` or `--json` is given. `--json` prints recalls as `/v1`
does. Only `retry` needs a valid configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import track

from integration.api.models import RecallModel
from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_cli_context,
)
from integration.cli.webhooks.lookups import as_fields, print_waiting, waiting_lookups
from integration.domain.errors import ConflictError, NotFoundError
from integration.domain.phone_numbers import endings
from integration.domain.recall import Attempt, Filter, Recall, State
from integration.store.audit import COMMAND_LINE, AuditLog
from integration.store.recalls import RecallStore
from integration.telemetry.logging import printable
from integration.telemetry.redaction import mask_but_end, mask_numbers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import tzinfo

COLUMNS = (
    *("id", "state", "account", "campaign", "customer", "telephone", "recall date", "attempts", "reason"),
)
PAGE = 50


@click.command(cls=AsWritten)
@click.option(
    "--state", type=click.Choice([state.value for state in State]), help="Only recalls in this state."
)
@click.option("--account", metavar="NAME", help="Only recalls of this account.")
@click.option("--customer", metavar="ID", help="Only recalls of this customer.")
@click.option(
    "--telephone", metavar="NUMBER", help="Only recalls to this number or to numbers with these last digits."
)
@click.option("--record", metavar="ID", help="Only recalls for this record of the CRM.")
@click.option("--campaign", metavar="ID", help="Only recalls for this campaign.")
@click.option("--source", metavar="NAME", help="Only recalls from this source.")
@click.option("--route", metavar="NAME", help="Only recalls mapped by this route.")
@click.option("--limit", type=click.IntRange(1), default=PAGE, show_default=True, help="At most this many.")
@click.option("--all", "everything", is_flag=True, help="List all recalls, without a limit.")
@click.option("--reveal", is_flag=True, help="Show telephone numbers in full.")
@config_option
@json_option
@pass_cli_context
def recalls(
    context: CliContext, /, *, everything: bool, as_json: bool, reveal: bool, limit: int, **which: Any
) -> None:
    """List recalls, newest first.

    queued      is in the queue of its account
    pushing     is being sent to wolkvox
    accepted    wolkvox accepted it
    dead        wolkvox refused it; fix the reason, then run `ringback retry ID`
    superseded  a newer request of the same customer and campaign replaced it
    cancelled   was cancelled before it was sent
    expired     its date had passed (late = "drop")
    simulated   was not sent, because the account is in dry-run

    Examples:
      ringback recalls --state dead
      ringback recalls --customer 80123456 --json
      ringback recalls --telephone "+57 300 111 2233"
    """
    found = _listed(context, _filter(context, **which), None if everything else limit)
    if as_json:
        items = [_as_dict(recall) for recall in found.items]
        lookups = [as_fields(status) for status in waiting_lookups(context)]
        output.as_json({"items": items, "next": found.next, "lookups": lookups})
        return
    output.table(COLUMNS, (_row(recall, reveal=reveal) for recall in found.items))
    if found.next is not None:
        output.problem(f"Only the newest {limit} recalls are listed. Use --limit or --all to list more.")
    print_waiting(context)


@dataclass(frozen=True, slots=True)
class _RecallPage:
    items: Iterable[Recall]
    next: str | None


def _listed(context: CliContext, which: Filter, limit: int | None) -> _RecallPage:
    known = RecallStore(context.store)
    if limit is None:
        return _RecallPage(known.every(which), None)
    return _RecallPage(*known.page(which, limit=limit))


def _filter(context: CliContext, **options: str | None) -> Filter:
    account, telephone, state = options.get("account"), options.get("telephone"), options.get("state")
    if account is not None:
        context.require_account(account)
    return Filter(
        state=None if state is None else State(state),
        accounts=None if account is None else frozenset({account}),
        customer_id=options.get("customer"),
        telephones=None if telephone is None else _endings(context, telephone),
        record=options.get("record"),
        campaign_id=options.get("campaign"),
        source=options.get("source"),
        route=options.get("route"),
    )


def _endings(context: CliContext, telephone: str) -> tuple[str, ...]:
    config = context.config_if_good
    found = endings(telephone, config.accounts.values() if config else ())
    if not found:
        raise click.BadParameter(
            "not a telephone number. Give the whole number or at least its last 4 digits.",
            param_hint="--telephone",
        )
    return found


def _as_dict(recall: Recall) -> dict[str, Any]:
    return RecallModel.model_validate(recall).model_dump(mode="json")


def _row(recall: Recall, *, reveal: bool) -> Sequence[object]:
    return (
        recall.id,
        recall.state,
        recall.account,
        recall.campaign_id,
        recall.customer_id,
        recall.recall_telephone if reveal else mask_but_end(recall.recall_telephone),
        output.moment(recall.recall_date),
        len(recall.attempts),
        recall.reason,
    )


# --- one recall --------------------------------------------------------------------------------


@click.command(cls=AsWritten)
@click.argument("recall_id", metavar="ID")
@click.option(
    "--reveal",
    is_flag=True,
    help="Show telephone number and customer id in full, also in wolkvox's messages.",
)
@config_option
@json_option
@pass_cli_context
def show(context: CliContext, recall_id: str, *, reveal: bool, as_json: bool) -> None:
    """Show a recall with its changes of state and its pushes.

    Example:
      ringback show rc_00000001a1b2
    """
    recall = RecallStore(context.store).get(recall_id)
    if as_json:
        output.as_json(_as_dict(recall))
        return
    zone = _zone(context, recall)
    telephone = recall.recall_telephone
    output.line(f"{recall.id}  {output.coloured(recall.state)}  {printable(recall.reason)}")
    output.pairs(
        (
            ("account", recall.account),
            ("campaign", recall.campaign_id),
            ("customer", recall.customer_id if reveal else mask_but_end(recall.customer_id)),
            ("telephone", telephone if reveal else mask_but_end(telephone)),
            ("recall date", f"{output.moment(recall.recall_date, zone)} (as sent)"),
            ("requested", output.moment(recall.requested_date, zone)),
            ("source", recall.source),
            ("route", recall.route),
        ),
        indent="  ",
    )
    output.line()
    for at, text in _timeline(recall, reveal=reveal):
        output.line(f"{output.moment(at, zone)}  {text}")


def _zone(context: CliContext, recall: Recall) -> tzinfo | None:
    """Return the time zone of the account, or the offset of the recall date for an unknown account."""
    config = context.config_if_good
    account = config.accounts.get(recall.account) if config else None
    return account.timezone if account else recall.recall_date.tzinfo


def _timeline(recall: Recall, *, reveal: bool) -> list[tuple[datetime, str]]:
    entries = [(change.at, f"{change.state:<10}  {printable(change.reason)}") for change in recall.history]
    entries += [
        (attempt.started_at, f"{f'push {number}':<10}  {_attempt(recall, attempt, reveal=reveal)}")
        for number, attempt in enumerate(recall.attempts, start=1)
    ]
    return sorted(entries, key=lambda entry: entry[0])


def _attempt(recall: Recall, attempt: Attempt, *, reveal: bool) -> str:
    parts = [f"{attempt.outcome}, {attempt.seconds:.3f} s"]
    if attempt.http_status is not None:
        parts.append(f"HTTP {attempt.http_status}")
    if attempt.code is not None:
        parts.append(f"code {attempt.code}")
    text = printable(", ".join(parts))
    if not attempt.msg:
        return text
    names = (recall.recall_telephone, recall.customer_id)
    return f"{text}: {printable(attempt.msg if reveal else mask_numbers(attempt.msg, names))}"


# --- retry and cancel --------------------------------------------------------------------------


@click.command(cls=AsWritten)
@click.argument("recall_ids", metavar="[ID]...", nargs=-1)
@click.option("--dead", is_flag=True, help="Retry all dead recalls.")
@click.option("--account", metavar="NAME", help="With --dead: only recalls of this account.")
@config_option
@json_option
@pass_cli_context
def retry(
    context: CliContext, recall_ids: tuple[str, ...], *, dead: bool, account: str | None, as_json: bool
) -> None:
    """Queue dead or expired recalls again.

    Fix the cause first. A recall with a newer request of the same customer is not queued but reported as
    a failure. A recall whose date has passed is sent as soon as possible within the calling hours.

    Examples:
      ringback retry rc_00000001a1b2 rc_00000002c3d4
      ringback retry --dead --account bogota
    """
    if bool(recall_ids) == dead:
        raise click.UsageError("Give either IDs or --dead.")
    if account is not None and not dead:
        raise click.UsageError("--account requires --dead.")
    context.assure_store()
    services = context.services
    if dead:
        which = _filter(context, state=State.DEAD, account=account)
        recall_ids = tuple(recall.id for recall in RecallStore(context.store).every(which))
    reason = "retried on the command line"
    done = _each(recall_ids, lambda one: services.recalls.retry(one, reason, datetime.now(UTC)))
    services.audit.note_done(COMMAND_LINE, "retry", done.ids)
    _report(done, "retried", as_json=as_json)


@click.command(cls=AsWritten)
@click.argument("recall_ids", metavar="ID...", nargs=-1, required=True)
@config_option
@json_option
@pass_cli_context
def cancel(context: CliContext, recall_ids: tuple[str, ...], *, as_json: bool) -> None:
    """Cancel queued recalls. A recall that is being pushed or was accepted cannot be cancelled.

    Example:
      ringback cancel rc_00000001a1b2
    """
    context.assure_store()
    known = RecallStore(context.store)
    done = _each(recall_ids, lambda one: known.cancel(one, "cancelled on the command line"))
    AuditLog(context.store).note_done(COMMAND_LINE, "cancel", done.ids)
    _report(done, "cancelled", as_json=as_json)


@dataclass(frozen=True, slots=True)
class _Failure:
    id: str
    state: str | None
    message: str


@dataclass(frozen=True, slots=True)
class _Success:
    ids: tuple[str, ...]
    failed: tuple[_Failure, ...]


def _each(recall_ids: Sequence[str], act: Callable[[str], object]) -> _Success:
    """Call `act` once for each recall, in order. Record ConflictError and NotFoundError as failures."""
    done: list[str] = []
    failed: list[_Failure] = []
    screen = Console(stderr=True)
    unique = tuple(dict.fromkeys(recall_ids))
    hidden = not screen.is_terminal or len(unique) < PAGE
    for one in track(unique, "working", console=screen, transient=True, disable=hidden):
        try:
            act(one)
        except ConflictError as error:
            failed.append(_Failure(one, error.state, str(error)))
        except NotFoundError as error:
            failed.append(_Failure(one, None, str(error)))
        else:
            done.append(one)
    return _Success(tuple(done), tuple(failed))


def _report(done: _Success, verb: str, *, as_json: bool) -> None:
    """Print the results. Raise SystemExit(1) if there are failures."""
    if as_json:
        failed = [{"id": f.id, "state": f.state, "message": f.message} for f in done.failed]
        output.as_json({verb: list(done.ids), "failed": failed})
    else:
        for one in islice(done.ids, PAGE):
            output.line(f"{one}  {verb}")
        for failure in done.failed:
            output.problem(f"{printable(failure.id)}  not {verb}: {failure.message}")
        output.line(f"{len(done.ids)} {verb}, {len(done.failed)} failed")
    if done.failed:
        raise SystemExit(1)
