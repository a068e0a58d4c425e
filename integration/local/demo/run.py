"""The command `ringback demo`: sends samples and displays their results and the wolkvox calls."""

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
from integration.local.demo.installation import DemoStack, client_of, place_rules, start_stack
from integration.local.demo.samples import SampleRow, SampleSet
from integration.local.supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE_SECONDS = 60.0
LOOK_SECONDS = 0.3


@click.command(short_help="Run a demonstration on this machine, without CRM and wolkvox.")
@click.option("--once", is_flag=True, help="Print the results and exit: 0 if all are as expected, else 1.")
def demo(*, once: bool) -> None:
    """Run Ringback on free ports with sample webhooks, and show the wolkvox calls.

    The command runs until Ctrl-C, unless --once is given. Data is kept in the folder demo of
    RINGBACK_DATA_DIR (default .ringback).
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    folder = data_dir(os.environ) / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Supervisor() as supervisor:
            stack = start_stack(supervisor, folder, lambda what: console.print(f"Starting {what} …"))
            good = _run_samples(stack, console)
            if not once:
                _keep_running(stack, supervisor, console)
    except RingbackError as error:
        console.print(f"[red]The demo could not run:[/red] {error}", soft_wrap=True)
        sys.exit(1)
    except KeyboardInterrupt:
        console.print("Stopped.")
        sys.exit(0)
    sys.exit(0 if good else 1)


def _run_samples(stack: DemoStack, console: Console) -> bool:
    samples = SampleSet(stack, run_id=round(time.time()))
    place_rules(stack, samples.sandbox_rules())
    console.print("\nSending sample webhooks …\n")
    samples.send_all()
    _await_results(samples, console)
    calls = _calls(samples)
    console.print(_calls_table(calls))
    faults = check_calls(samples, calls, _stats(stack))
    for fault in faults:
        console.print(f"[red]wrong[/red]  {fault}")
    good = all(row.ok for row in samples.rows) and not faults
    done = sum(bool(row.ok) for row in samples.rows)
    verdict = (
        "[green]All results are as expected.[/green]"
        if good
        else "[red]Some results are not as expected.[/red]"
    )
    console.print(f"{verdict} {done} of {len(samples.rows)} samples; at most one call at a time per token.")
    return good


def _await_results(samples: SampleSet, console: Console) -> None:
    until = time.monotonic() + SETTLE_SECONDS
    with _ResultsView(samples, console) as show:
        while not _settled(samples) and time.monotonic() < until:
            show()
            time.sleep(LOOK_SECONDS)
        for row in samples.rows:
            row.ok = bool(row.ok)
        show()


def _settled(samples: SampleSet) -> bool:
    for row in samples.rows:
        if row.expected == "parked" and row.ok is None:
            _check_parked(samples, row)
    return samples.update()


def _check_parked(samples: SampleSet, row: SampleRow) -> None:
    key = samples.stack.config.api_keys["demo"].key.get_secret_value()
    answer = samples.call(
        lambda client: client.get("/v1/parked?source=hubspot", headers={"Authorization": f"Bearer {key}"})
    )
    for parked in answer.json()["items"]:
        event = parked.get("event") or {}
        data = event.get("data", event)
        if data.get("eventId") == samples.run_id * 100 + 3:
            row.actual, row.ok = f"parked: {parked['reason']['field']}", True


class _ResultsView:
    """A table of results: updated in place on a terminal, otherwise printed once at the end."""

    def __init__(self, samples: SampleSet, console: Console) -> None:
        self._samples = samples
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
            self._console.print(_results_table(self._samples.rows))

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(_results_table(self._samples.rows), refresh=True)


MARKS = {None: "[yellow]…[/yellow]", True: "[green]ok[/green]", False: "[red]wrong[/red]"}


def _results_table(rows: list[SampleRow]) -> Table:
    table = Table(title="Samples and their results", title_justify="left", box=None, pad_edge=False)
    for name in ("sample", "must be", "is", ""):
        table.add_column(name)
    for row in rows:
        table.add_row(row.name, row.expected, row.actual, MARKS[row.ok])
    return table


def _calls(samples: SampleSet) -> list[dict[str, Any]]:
    with client_of(samples.stack.sandbox) as client:
        answer = client.get("/sandbox/calls")
    return [call for call in answer.json() if str(_customer(call)).startswith(str(samples.run_id))]


def _customer(call: dict[str, Any]) -> str:
    body = call.get("body")
    return str(body.get("customer_id", "")) if isinstance(body, dict) else ""


def _stats(stack: DemoStack) -> dict[str, Any]:
    with client_of(stack.sandbox) as client:
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


def check_calls(samples: SampleSet, calls: list[dict[str, Any]], stats: dict[str, Any]) -> list[str]:
    """Return texts about customers with a wrong number of calls, and about overlapping calls."""
    counted: dict[str, int] = {}
    for call in calls:
        counted[_customer(call)] = counted.get(_customer(call), 0) + 1
    wrong = [
        f"customer {customer}: {counted.get(customer, 0)} calls instead of {expected}"
        for customer, expected in samples.expected_calls.items()
        if counted.get(customer, 0) != expected
    ]
    if stats["overlaps"]:
        wrong.append("two calls were in flight at once on one token")
    return wrong


def _keep_running(stack: DemoStack, supervisor: Supervisor, console: Console) -> None:
    console.print(f"\nDashboard  {stack.dashboard}/")
    console.print(f"           name {stack.user.name}, password {stack.user.password} (for this run)")
    console.print(f"API        {stack.web}/openapi.json")
    console.print(f"Sandbox    {stack.sandbox}  (calls that wolkvox received, live)")
    console.print(f"Data       {stack.folder}")
    console.print("\nAll processes keep running until Ctrl-C. Stored data is kept.")
    supervisor.run()
    console.print("Stopped.")
