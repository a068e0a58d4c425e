"""`ringback parked`, `remap`: the events that could not be mapped, and remapping them.

The table tells the reason and never the event; `--json` holds the event as it came.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from integration.api.models import ParkedEventModel, RemapModel
from integration.cli import output
from integration.cli.context import (
    COMMAND_LINE,
    AsWritten,
    CliContext,
    config_option,
    json_option,
    pass_session,
)
from integration.services.parked import ParkedFilter
from integration.store.parked import ParkedStore

if TYPE_CHECKING:
    from collections.abc import Mapping

COLUMNS = ("id", "parked at", "source", "route", "account", "field", "found", "allowed")


@click.command(cls=AsWritten)
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--route", metavar="NAME", help="Only events that this route took.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most this many.")
@config_option
@json_option
@pass_session
def parked(session: CliContext, source: str | None, route: str | None, limit: int, *, as_json: bool) -> None:
    """List events that could not become a recall.

    Newest first, with the reason. They wait: mend the route in ringback.toml, then `ringback remap`.

    Examples:
      ringback parked --source hubspot
      ringback parked --json       (with the events themselves)
    """
    found = [
        ParkedEventModel.of(record) for record in _newest(ParkedStore(session.store), source, route, limit)
    ]
    if as_json:
        output.as_json({"items": [one.model_dump(mode="json") for one in found], "next": None})
        return
    output.table(COLUMNS, ((one.id, output.moment(one.parked_at), *_told(one)) for one in found))


def _newest(parking: ParkedStore, source: str | None, route: str | None, limit: int) -> list[dict[str, str]]:
    def fits(record: Mapping[str, str]) -> bool:
        return source in {None, record["source"]} and route in {None, record["route"]}

    found, cursor = parking.page(fits=fits, limit=limit)
    while cursor is not None and len(found) < limit:
        more, cursor = parking.page(fits=fits, limit=limit - len(found), cursor=cursor)
        found += more
    return found


def _told(one: ParkedEventModel) -> tuple[object, ...]:
    return one.source, one.route, one.account, one.reason.field, one.reason.found, one.reason.allowed


@click.command(cls=AsWritten)
@click.option("--source", metavar="NAME", help="Only events of this source.")
@click.option("--route", metavar="NAME", help="Only events that this route took before.")
@config_option
@json_option
@pass_session
def remap(session: CliContext, source: str | None, route: str | None, *, as_json: bool) -> None:
    """Remap parked events, after the configuration was mended.

    Example:
      ringback remap --route "callback date on a contact"
    """
    if source is not None:
        session.source(source)
    found = session.services.parked.remap(ParkedFilter(source=source, route=route), datetime.now(UTC))
    session.services.audit.note_done(COMMAND_LINE, "remap", [source or "every-source"])
    if as_json:
        output.as_json(RemapModel.model_validate(found).model_dump())
        return
    for one in found.recalls:
        output.line(one)
    waiting = f", {found.pending} wait for a lookup" if found.pending else ""
    output.line(
        f"{found.looked_at} looked at, {len(found.recalls)} became recalls{waiting}, "
        f"{found.still_parked} still parked"
    )
