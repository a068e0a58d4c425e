"""`ringback forget`, `export`: remove everything that is held of a person, or give it out.

Neither shows nor logs whom it was about; what was given on the command line is not repeated.
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
from integration.cli.context import AsWritten, CliContext, config_option, json_option, pass_session
from integration.services.personal_data.export import EXPORT_COLUMNS, exported, rows
from integration.services.personal_data.matcher import SHORTEST_NUMBER, SHORTEST_WORD, PersonMatcher
from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from integration.config.models import Config
    from integration.services.personal_data.erasure import Erasure, HeldData

WAIT_SECONDS = 90
PAUSE_SECONDS = 2.0
WORDS = {
    "recalls": "recalls",
    "deliveries": "deliveries (their bodies, whole)",
    "parked": "parked events",
    "lookups": "events that wait for a lookup",
    "jobs": "jobs whose filter named the person",
    "wishes": "wishes that were taken back",
}

_customer = click.option("--customer", metavar="ID", help="The customer's id, as routes give it.")
_telephone = click.option("--telephone", metavar="NUMBER", help="A telephone number, written in any way.")


def person_of(config: Config, customer: str | None, telephone: str | None) -> PersonMatcher:
    """Say who is meant. Raises click.UsageError."""
    if (customer is None) == (telephone is None):
        raise click.UsageError("give either --customer or --telephone")
    if telephone is None:
        return PersonMatcher(customer=customer)
    found = PersonMatcher.of_telephone(telephone, config.accounts.values())
    if found is None:
        raise click.BadParameter(
            f"a whole number, with {SHORTEST_NUMBER} digits at least", param_hint="--telephone"
        )
    return found


@click.command(cls=AsWritten)
@_customer
@_telephone
@click.option("--yes", is_flag=True, help="Do it without asking.")
@config_option
@json_option
@pass_session
def forget(
    session: CliContext, customer: str | None, telephone: str | None, *, yes: bool, as_json: bool
) -> None:
    """Remove a person everywhere, and look whether anything is left.

    The whole store is looked through afterwards. Recalls go, queued ones too (they are no longer sent), the
    deliveries they came in, parked events, events that wait for a lookup. A recall that is being pushed is
    waited for, at most 90 s. What stays is when the newest wish was, under a name that says nothing, so
    that no older one comes back; and the digests of events already taken, without what was in them. A body
    that holds other customers' events goes as a whole; their recalls stay. Exit 1 when something is left.

    Examples:
      ringback forget --customer 80123456
      ringback forget --telephone "+57 300 111 2233" --yes
    """
    person = person_of(session.config, customer, telephone)
    people = session.services.personal_data
    if not yes:
        _ask(people.held(person, _progress()))
    done = _until_free(session, person)
    _rewrite_log(session)
    session.services.audit.note("command line", "forget", [f"{n}={c}" for n, c in done.removed.items()])
    if as_json:
        output.as_json({"removed": done.removed, "pushing": done.pushing, "left": done.left})
    else:
        _tell(done, person)
    if not done.complete:
        raise SystemExit(1)


def _ask(held: HeldData) -> None:
    for name, count in held.counts.items():
        output.line(f"{count:>8}  {WORDS[name]}")
    if not held.counts:
        output.line("nothing is held of this person")
    click.confirm("Remove all of it? It cannot be brought back.", abort=True)


def _until_free(session: CliContext, person: PersonMatcher) -> Erasure:
    """Forget, and again while a recall is being pushed, adding up what was removed."""
    ends_at = monotonic() + WAIT_SECONDS
    kept = session.config.store.longest_days
    removed: dict[str, int] = {}
    while True:
        done = session.services.personal_data.forget(person, keep_days=kept, told=_progress())
        for name, count in done.removed.items():
            removed[name] = removed.get(name, 0) + count
        if not done.pushing or monotonic() > ends_at:
            return type(done)(removed=removed, pushing=done.pushing, left=done.left)
        output.problem(f"{output.counted(len(done.pushing), 'recalls')} being pushed: waiting")
        sleep(PAUSE_SECONDS)


def _rewrite_log(session: CliContext) -> None:
    """Let the store write its log anew: until then what was removed stands in it."""
    try:
        session.store.client.bgrewriteaof()
    except RedisError as error:
        reason = type(error).__name__
        output.problem(f"the store's log could not be written anew now ({reason}): run BGREWRITEAOF")


def _tell(done: Erasure, person: PersonMatcher) -> None:
    for name, count in done.removed.items():
        output.line(f"{count:>8}  {WORDS[name]} removed")
    for recall in done.pushing:
        output.problem(f"{recall}  is being pushed: run it again in a minute")
    for key in done.left:
        output.problem(f"still mentioned in {printable(key)}")
    if person.is_short:
        output.line(
            f"an id shorter than {SHORTEST_WORD} characters is looked for in recalls and their deliveries"
        )
    if done.complete:
        output.line("the whole store was looked through: nothing is left")
        output.line("backups and logs of other systems are yours to mend")


def _progress() -> Callable[[int], None]:
    """Give what tells on a terminal how far looking through the store is."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda seen: click.echo(f"\r{seen:,} keys looked at", err=True, nl=False)


@click.command("export", cls=AsWritten)
@_customer
@_telephone
@click.option("--csv", "as_csv", is_flag=True, help="The recalls alone, as CSV.")
@config_option
@pass_session
def export(session: CliContext, customer: str | None, telephone: str | None, *, as_csv: bool) -> None:
    """Give everything that is held of a person, as JSON.

    Recalls with all attempts, and the events that they came from or that wait.

    Of a delivery only the events that mention the person are given, not those of others.

    Examples:
      ringback export --customer 80123456 > history.json
      ringback export --telephone "+57 300 111 2233" --csv > recalls.csv
    """
    person = person_of(session.config, customer, telephone)
    services = session.services
    held = services.personal_data.held(person, _progress())
    services.audit.note("command line", "export", [f"{n}={c}" for n, c in held.counts.items()])
    recalls = [RecallModel.model_validate(recall).model_dump(mode="json") for recall in held.recalls]
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(EXPORT_COLUMNS)
        writer.writerows(rows(recalls))
        return
    output.as_json(exported(person, held, recalls, _records(session, held)))


def _records(session: CliContext, held: HeldData) -> dict[str, list[dict[str, Any]]]:
    people = session.services.personal_data
    return {
        "deliveries": people.records("delivery", held.deliveries),
        "parked": people.records("parked", held.parked),
        "lookups": people.records("lookup", held.lookups),
    }
