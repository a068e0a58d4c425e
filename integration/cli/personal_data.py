"""`ringback forget`, `export`: erase or export the data held about a person.

The audit log gets only the numbers of records, not the customer id or the telephone number.
"""

from __future__ import annotations

import csv
import sys
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import click
from redis.exceptions import RedisError

from integration.api.models import RecallModel
from integration.cli import output
from integration.cli.context import AsWritten, CliContext, config_option, json_option, pass_cli_context
from integration.services.personal_data.export import EXPORT_COLUMNS, exported, rows
from integration.services.personal_data.matcher import SHORTEST_NUMBER, SHORTEST_WORD, PersonMatcher
from integration.store.audit import COMMAND_LINE
from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.config.models import Config
    from integration.services.personal_data.erasure import Erasure, HeldData

WAIT_SECONDS = 90
PAUSE_SECONDS = 2.0
WORDS = {
    "recalls": "recalls",
    "deliveries": "deliveries (whole bodies)",
    "parked": "parked events",
    "lookups": "events waiting for a lookup",
    "jobs": "bulk jobs whose filter named the person",
    "cancellations": "cancellation records",
}

_customer = click.option("--customer", metavar="ID", help="The customer id that the routes send to wolkvox.")
_telephone = click.option(
    "--telephone", metavar="NUMBER", help="The complete telephone number, in any notation."
)


def person_of(config: Config, customer: str | None, telephone: str | None) -> PersonMatcher:
    """Return a matcher for the person.

    Raise click.UsageError unless exactly one option is given, click.BadParameter for an incomplete
    number.
    """
    if (customer is None) == (telephone is None):
        raise click.UsageError("Give either --customer or --telephone.")
    if telephone is None:
        return PersonMatcher(customer=customer)
    found = PersonMatcher.of_telephone(telephone, config.accounts.values())
    if found is None:
        raise click.BadParameter(
            f"not a complete telephone number. Give at least {SHORTEST_NUMBER} digits.",
            param_hint="--telephone",
        )
    return found


@click.command(cls=AsWritten)
@_customer
@_telephone
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@config_option
@json_option
@pass_cli_context
def forget(
    context: CliContext, customer: str | None, telephone: str | None, *, yes: bool, as_json: bool
) -> None:
    """Erase a person's data, then verify that nothing is left.

    Erases recalls (queued ones are not sent), the deliveries they came from, parked events, and events
    that wait for a lookup. If a recall is being pushed, the command waits for it, about 90 s at most. The
    whole store is scanned afterwards. Exits with status 1 if data are left.

    A delivery that also has events of other customers is erased as a whole. Their recalls stay.
    Two things remain, without personal data: digests of processed events, and the time of the newest
    request under an anonymous key, so that an older request cannot create a recall again.

    Examples:
      ringback forget --customer 80123456
      ringback forget --telephone "+57 300 111 2233" --yes
    """
    person = person_of(context.config, customer, telephone)
    personal_data = context.services.personal_data
    if not yes:
        _confirm(personal_data.held(person, _progress()))
    done = _forget_until_done(context, person)
    _rewrite_log(context)
    context.services.audit.note(COMMAND_LINE, "forget", [f"{n}={c}" for n, c in done.removed.items()])
    if as_json:
        output.as_json({"removed": done.removed, "pushing": done.pushing, "left": done.left})
    else:
        _print_result(done, person)
    if not done.complete:
        raise SystemExit(1)


def _confirm(held: HeldData) -> None:
    for name, count in held.counts.items():
        output.line(f"{count:>8}  {WORDS[name]}")
    if not held.counts:
        output.line("The store holds no data about this person.")
    click.confirm("Erase these data? This cannot be undone.", abort=True)


def _forget_until_done(context: CliContext, person: PersonMatcher) -> Erasure:
    """Erase the data, and again for WAIT_SECONDS while a recall is being pushed. Return all results."""
    ends_at = monotonic() + WAIT_SECONDS
    keep_days = context.config.store.longest_days
    removed: dict[str, int] = {}
    while True:
        done = context.services.personal_data.forget(person, keep_days=keep_days, progress=_progress())
        for name, count in done.removed.items():
            removed[name] = removed.get(name, 0) + count
        if not done.pushing or monotonic() > ends_at:
            return type(done)(removed=removed, pushing=done.pushing, left=done.left)
        output.problem(f"waiting for {output.counted(len(done.pushing), 'recalls')} being pushed")
        sleep(PAUSE_SECONDS)


def _rewrite_log(context: CliContext) -> None:
    """Start a rewrite of the store's append-only file, which still contains the erased data."""
    try:
        context.store.client.bgrewriteaof()
    except RedisError as error:
        reason = type(error).__name__
        output.problem(
            f"The store could not rewrite its append-only file, which still has the data ({reason}). "
            "Run BGREWRITEAOF in it."
        )


def _print_result(done: Erasure, person: PersonMatcher) -> None:
    for name, count in done.removed.items():
        output.line(f"{count:>8}  {WORDS[name]} erased")
    for recall in done.pushing:
        output.problem(
            f"{recall}  is not erased, because it is being pushed. Run this command again in a minute."
        )
    for key in done.left:
        output.problem(f"The key {printable(key)} still contains data. Run this command again.")
    if person.is_short:
        output.line(
            f"Only recalls and their deliveries were searched, because the id has fewer than "
            f"{SHORTEST_WORD} characters."
        )
    if done.complete:
        output.line("The store was scanned. No data of the person are left.")
        output.line("Backups and the logs of other systems may still have the data. Erase them there.")


def _progress() -> Callable[[int], None]:
    """Return a callback that prints the number of scanned keys, if standard error is a terminal."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda seen: click.echo(f"\r{seen:,} keys scanned", err=True, nl=False)


@click.command("export", cls=AsWritten)
@_customer
@_telephone
@click.option("--csv", "as_csv", is_flag=True, help="Export only the recalls, as CSV.")
@config_option
@pass_cli_context
def export(context: CliContext, customer: str | None, telephone: str | None, *, as_csv: bool) -> None:
    """Export the data held about a person, as JSON or CSV.

    The JSON has the recalls with all attempts, the events that they came from, and parked or waiting
    events. Events of other customers in the same delivery are left out.

    Examples:
      ringback export --customer 80123456 > history.json
      ringback export --telephone "+57 300 111 2233" --csv > recalls.csv
    """
    person = person_of(context.config, customer, telephone)
    services = context.services
    held = services.personal_data.held(person, _progress())
    services.audit.note(COMMAND_LINE, "export", [f"{n}={c}" for n, c in held.counts.items()])
    recalls = [RecallModel.model_validate(recall).model_dump(mode="json") for recall in held.recalls]
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(EXPORT_COLUMNS)
        writer.writerows(rows(recalls))
        return
    output.as_json(exported(person, held, recalls, _records(context, held)))


def _records(context: CliContext, held: HeldData) -> dict[str, list[dict[str, Any]]]:
    personal_data = context.services.personal_data
    return {
        "deliveries": personal_data.records("delivery", held.deliveries),
        "parked": personal_data.records("parked", held.parked),
        "lookups": personal_data.records("lookup", held.lookups),
    }
