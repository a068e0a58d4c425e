"""Output of the commands: tables on a terminal, tab-separated lines for pipes, or JSON.

Control characters in tables and pairs are replaced, because they could control the terminal.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click
import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from integration.telemetry.logging import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, tzinfo


STATE_COLOURS = {
    "accepted": "green",
    "simulated": "green",
    "idle": "green",
    "busy": "cyan",
    "pushing": "cyan",
    "queued": "cyan",
    "waiting": "yellow",
    "paused": "yellow",
    "expired": "yellow",
    "dead": "red",
    "stopped": "red",
}


def moment(when: datetime | None, zone: tzinfo | None = None) -> str:
    """Return a time in ISO 8601 with seconds and offset, in `zone` if given. Return "" for None."""
    if when is None:
        return ""
    return (when if zone is None else when.astimezone(zone)).isoformat(" ", "seconds")


def coloured(state: str) -> str:
    """Return a state with the ANSI codes of its colour. click removes the codes without a terminal."""
    return click.style(state, fg=STATE_COLOURS.get(state))


def counted(number: int, plural: str) -> str:
    """Return a number with its noun. For 1 the noun is `plural` without its last letter."""
    return f"{number} {plural[:-1] if number == 1 else plural}"


def line(text: str = "") -> None:
    """Print a line to standard output."""
    click.echo(text)


def problem(text: str) -> None:
    """Print a line to standard error."""
    click.echo(text, err=True)


def as_json(value: Any) -> None:
    """Print a value as indented JSON."""
    try:
        click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode())
    except orjson.JSONEncodeError:
        # The value may repeat an argument with bytes that are not UTF-8.
        click.echo(json.dumps(value, indent=2))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as a table on a terminal, otherwise as tab-separated lines with a header line."""
    cells = ([printable(cell) for cell in row] for row in rows)
    if not sys.stdout.isatty():
        for row in (list(columns), *cells):
            click.echo("\t".join(row))
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for place, column in enumerate(columns):
        # Do not wrap the first column: it holds an id or name to copy.
        drawn.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in cells:
        drawn.add_row(*(Text(cell, style=STATE_COLOURS.get(cell, "")) for cell in row))
    Console().print(drawn)


def pairs(rows: Iterable[tuple[str, object]], indent: str = "") -> None:
    """Print name-value pairs, one per line. Empty values are left out."""
    texts = [(name, printable(value)) for name, value in rows]
    width = max((len(name) for name, _ in texts), default=0)
    for name, value in texts:
        if value:
            click.echo(f"{indent}{name:<{width}}  {value}")
