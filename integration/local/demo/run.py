"""Runs the demo's story and shows it: what was sent, what became of it, what wolkvox received."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from integration.config.environment import data_dir
from integration.domain.errors import RingbackError
from integration.local.demo.samples import SampleRow, Story
from integration.local.demo.stage import DemoStack, client_of, place_rules, start_stack
from integration.local.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE_SECONDS = 60.0
LOOK_SECONDS = 0.3


@click.command(short_help="See it work: CRM to wolkvox, on this machine alone.")
@click.option("--once", is_flag=True, help="Print the outcome and end: 0 when all went as it should, else 1.")
def demo(*, once: bool) -> None:
    """Start everything on free ports, send sample webhooks, and show what wolkvox received.

    Stays up until Ctrl-C, unless --once. Its data lies in .ringback/demo and is kept.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    folder = data_dir(os.environ) / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Supervisor() as supervisor:
            stage = start_stack(supervisor, folder, lambda what: console.print(f"Starting {what} …"))
            good = _play(stage, console)
            _name_dashboard(stage, console)
            if not once:
                _stay(stage, supervisor, console)
    except RingbackError as error:
        console.print(f"[red]The demo could not run:[/red] {error}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(0)
    sys.exit(0 if good else 1)


def _play(stage: DemoStack, console: Console) -> bool:
    story = Story(stage, run=round(time.time()))
    place_rules(stage, story.rules())
    console.print("\nSending what a CRM would send …\n")
    story.tell()
    _settle(story, console)
    calls = _calls(story)
    console.print(_calls_table(calls))
    faults = check_calls(story, calls, _stats(stage))
    for fault in faults:
        console.print(f"[red]wrong[/red]  {fault}")
    good = all(row.ok for row in story.rows) and not faults
    done = sum(bool(row.ok) for row in story.rows)
    verdict = "[green]All as it should be.[/green]" if good else "[red]Not all is as it should be.[/red]"
    console.print(f"{verdict} {done} of {len(story.rows)} samples; at most one call at a time per token.")
    return good


def _settle(story: Story, console: Console) -> None:
    until = time.monotonic() + SETTLE_SECONDS
    with _PushedCall(story, console) as show:
        while not _settled(story) and time.monotonic() < until:
            show()
            time.sleep(LOOK_SECONDS)
        for row in story.rows:
            row.ok = bool(row.ok)
        show()


def _settled(story: Story) -> bool:
    for row in story.rows:
        if row.must == "parked" and row.ok is None:
            _look_for_parked(story, row)
    return story.look()


def _look_for_parked(story: Story, row: SampleRow) -> None:
    key = story.stage.config.api_keys["demo"].key.get_secret_value()
    answer = story.call(
        lambda client: client.get("/v1/parked?source=hubspot", headers={"Authorization": f"Bearer {key}"})
    )
    for parked in answer.json()["items"]:
        event = parked.get("event") or {}
        data = event.get("data", event)
        if data.get("eventId") == story.run * 100 + 3:
            row.happened, row.ok = f"parked: {parked['reason']['field']}", True


class _PushedCall:
    """A table that is renewed in place on a terminal, and printed once elsewhere."""

    def __init__(self, story: Story, console: Console) -> None:
        self._story = story
        self._console = console
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Callable[[], None]:
        if self._live is not None:
            self._live.start()
        return self._show

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self._console.print(_story_table(self._story.rows))

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(_story_table(self._story.rows), refresh=True)


MARKS = {None: "[yellow]…[/yellow]", True: "[green]ok[/green]", False: "[red]wrong[/red]"}


def _story_table(rows: list[SampleRow]) -> Table:
    table = Table(
        title="What was sent, and what became of it", title_justify="left", box=None, pad_edge=False
    )
    for name in ("sample", "must be", "is", ""):
        table.add_column(name)
    for row in rows:
        table.add_row(row.what, row.must, row.happened, MARKS[row.ok])
    return table


def _calls(story: Story) -> list[dict[str, Any]]:
    with client_of(story.stage.sandbox) as client:
        answer = client.get("/sandbox/calls")
    return [call for call in answer.json() if str(_customer(call)).startswith(str(story.run))]


def _customer(call: dict[str, Any]) -> str:
    body = call.get("body")
    return str(body.get("customer_id", "")) if isinstance(body, dict) else ""


def _stats(stage: DemoStack) -> dict[str, Any]:
    with client_of(stage.sandbox) as client:
        return dict(client.get("/sandbox/stats").json())


def _calls_table(calls: list[dict[str, Any]]) -> Table:
    table = Table(title="\nWhat wolkvox received", title_justify="left", box=None, pad_edge=False)
    for name in ("#", "token", "campaign", "customer", "telephone", "date", "answer"):
        table.add_column(name)
    for call in calls:
        body = call["body"]
        table.add_row(
            str(call["seq"]),
            str(call["token"])[:8],
            str(call["query"].get("campaign_id", "")),
            body["customer_id"],
            body["recall_telephone"],
            body["recall_date"],
            str(call["code"]),
        )
    return table


def check_calls(story: Story, calls: list[dict[str, Any]], stats: dict[str, Any]) -> list[str]:
    """Compare what the sandbox received with what had to be sent; gives what is wrong."""
    counted: dict[str, int] = {}
    for call in calls:
        counted[_customer(call)] = counted.get(_customer(call), 0) + 1
    wrong = [
        f"customer {customer}: {counted.get(customer, 0)} calls instead of {expected}"
        for customer, expected in story.expected_calls.items()
        if counted.get(customer, 0) != expected
    ]
    if stats["overlaps"]:
        wrong.append("two calls were in flight at once on one token")
    return wrong


def _name_dashboard(stage: DemoStack, console: Console) -> None:
    console.print(f"\nDashboard  {stage.dashboard}/")
    console.print(f"           name {stage.user.name}, password {stage.user.password} (for this run)")


def _stay(stage: DemoStack, supervisor: Supervisor, console: Console) -> None:
    console.print(f"API        {stage.web}/openapi.json")
    console.print(f"Sandbox    {stage.sandbox}  (what wolkvox received, live)")
    console.print(f"Data       {stage.folder}")
    console.print("\nEverything stays up. Ctrl-C stops it; what is stored is kept.")
    supervisor.run()
    console.print("Stopped.")
