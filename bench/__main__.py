"""`make bench`: measures Ringback and the Celery baselines, and writes docs/benchmarks.md."""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from bench import accepting, growth, plots, profile, pushing, report
from bench.goals import verdicts
from bench.machine import described
from bench.plan import QUICK, TRIAL, WHOLE
from bench.results import Results
from bench.stage import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(plan: Plan) -> Results:
    """Run all measurements that fit into the plan's time.

    A failure is recorded and does not stop the rest.
    """
    results, started = Results(machine=described()), time.monotonic()

    def left() -> bool:
        return time.monotonic() - started < plan.limit_seconds

    steps: list[tuple[str, Callable[[], None]]] = [
        ("accepting webhooks", lambda: accepting.measure(results, plan)),
        ("from POST to PUT", lambda: accepting.measure_idle(results, plan)),
        ("pushing to wolkvox", lambda: pushing.measure(results, plan, left)),
        ("many accounts", lambda: growth.measure_accounts(results, plan)),
        ("where the time goes", lambda: profile.measure(results)),
        ("many queued recalls", lambda: growth.measure_queued(results, plan, left)),
    ]
    for name, measure in (steps[0], steps[2]) if plan is TRIAL else steps:
        if not left():
            results.lacks(name, "the time limit of the run was reached")
            continue
        _print(f"{time.monotonic() - started:6.0f} s  {name} …")
        try:
            measure()
        except Exception as error:  # noqa: BLE001  (a failure must not stop the other measurements)
            results.lacks(name, f"{type(error).__name__}: {error}"[:500])
            _print(f"          not measured: {type(error).__name__}: {error}"[:300])
    _print(f"{time.monotonic() - started:6.0f} s  done")
    return results


def publish(results: Results, folder: Path) -> None:
    """Write the page, its plots and the raw figures."""
    assets = folder / "benchmarks"
    assets.mkdir(parents=True, exist_ok=True)
    (assets / "figures.json").write_text(json.dumps(results.as_dict(), indent=1) + "\n", "utf-8")
    drawn = plots.draw(results, assets) if find_spec("matplotlib") else []
    report.write(results, folder / "benchmarks.md", [(f"benchmarks/{name}", shows) for name, shows in drawn])


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer runs, takes about two minutes")
    parser.add_argument("--trial", action="store_true", help="takes seconds; only tests the harness")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="the folder to write the page to")
    arguments = parser.parse_args()
    results = run(TRIAL if arguments.trial else QUICK if arguments.quick else WHOLE)
    publish(results, arguments.folder)
    for each in verdicts(results):
        mark = {True: "reached", False: "NOT REACHED", None: "-"}[each.reached]
        _print(f"{mark:<12} {each.goal}: {each.found}")
    for what, why in results.missing.items():
        _print(f"not measured: {what}: {why}")
    _print(f"written: {arguments.folder / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
