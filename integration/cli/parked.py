"""`ringback parked`, `remap`: list parked events, and map them again.

The table shows the reasons only; `--json` includes the events.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from integration.api.models import ParkedEventModel, RemapModel
from integration.cli import output
from integration.cli.context import (
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_cli_context,
)
from integration.cli.webhooks.lookups import as_fields, print_waiting, waiting_lookups
from integration.services.parked import ParkedFilter
from integration.store.audit import COMMAND_LINE
from integration.store.parked import ParkedStore

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("id", "parked at", "source", "route", "account", "field", "found", "allowed")


@click.command(cls=AsWritten)
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--route", metavar="NAME", help="Only events that this route matched.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many.")
@config_option
@json_option
@pass_cli_context
def parked(context: CliContext, source: str | None, route: str | None, limit: int, *, as_json: bool) -> None:
    """List events that could not be mapped.

    The newest is first, with the reason. Fix the route in ringback.toml, then run `ringback remap`. The last
    lines count the events that wait for a lookup, with the reason and the time of the next try.

    Examples:
      ringback parked --source hubspot
      ringback parked --json           print the events as well
    """
    found = [
        ParkedEventModel.of(record) for record in _newest(ParkedStore(context.store), source, route, limit)
    ]
    if as_json:
        items = [one.model_dump(mode="json") for one in found]
        lookups = [as_fields(status) for status in waiting_lookups(context)]
        output.as_json({"items": items, "next": None, "lookups": lookups})
        return
    output.table(COLUMNS, (_row(context, one) for one in found))
    print_waiting(context)


def _newest(store: ParkedStore, source: str | None, route: str | None, limit: int) -> list[dict[str, str]]:
    def fits(record: Mapping[str, str]) -> bool:
        return source in {None, record["source"]} and route in {None, record["route"]}

    found, cursor = store.page(fits=fits, limit=limit)
    while cursor is not None and len(found) < limit:
        more, cursor = store.page(fits=fits, limit=limit - len(found), cursor=cursor)
        found += more
    return found


def _row(context: CliContext, one: ParkedEventModel) -> tuple[object, ...]:
    parked_at = output.moment(one.parked_at, context.zone_of(one.account))
    return one.id, parked_at, one.source, one.route, one.account, *_reason_cells(one)


def _reason_cells(one: ParkedEventModel) -> tuple[object, ...]:
    return one.reason.field, one.reason.found, one.reason.allowed


@click.command(cls=AsWritten)
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--route", metavar="NAME", help="Only events that this route matched when they were parked.")
@config_option
@json_option
@pass_cli_context
def remap(context: CliContext, source: str | None, route: str | None, *, as_json: bool) -> None:
    """Map parked events again with the current configuration.

    Example:
      ringback remap --route "callback date on a contact"
    """
    if source is not None:
        context.source(source)
    context.assure_store()
    found = context.services.parked.remap(ParkedFilter(source=source, route=route), datetime.now(UTC))
    context.services.audit.note_done(COMMAND_LINE, "remap", [source or "every-source"])
    if as_json:
        output.as_json(RemapModel.model_validate(found).model_dump())
        return
    for one in found.recalls:
        output.line(one)
    waiting = f", {found.pending} wait for a lookup" if found.pending else ""
    output.line(
        f"{found.looked_at} examined, {len(found.recalls)} became recalls{waiting}, "
        f"{found.still_parked} still parked"
    )
