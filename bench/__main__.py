"""`make bench`: measures Ringback beside what one would write instead, and writes docs/benchmarks.md."""

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


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def run(plan: Plan) -> Results:
    """Measure everything that the plan has time for. What fails is told, and the rest goes on."""
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
            results.lacks(name, "the time for the whole run was over")
            continue
        _say(f"{time.monotonic() - started:6.0f} s  {name} …")
        try:
            measure()
        except Exception as error:  # noqa: BLE001  (one that fails must not cost the others)
            results.lacks(name, f"{type(error).__name__}: {error}"[:500])
            _say(f"          not measured: {type(error).__name__}: {error}"[:300])
    _say(f"{time.monotonic() - started:6.0f} s  done")
    return results


def publish(results: Results, folder: Path) -> None:
    """Write the page, its plots and the figures themselves."""
    beside = folder / "benchmarks"
    beside.mkdir(parents=True, exist_ok=True)
    (beside / "figures.json").write_text(json.dumps(results.told(), indent=1) + "\n", "utf-8")
    drawn = plots.draw(results, beside) if find_spec("matplotlib") else []
    report.write(results, folder / "benchmarks.md", [(f"benchmarks/{name}", shows) for name, shows in drawn])


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="about two minutes, fewer runs")
    parser.add_argument("--trial", action="store_true", help="seconds: only whether the harness works")
    parser.add_argument("--folder", type=Path, default=ROOT / "docs", help="where the page is written")
    chosen = parser.parse_args()
    results = run(TRIAL if chosen.trial else QUICK if chosen.quick else WHOLE)
    publish(results, chosen.folder)
    for each in verdicts(results):
        mark = {True: "reached", False: "NOT REACHED", None: "-"}[each.reached]
        _say(f"{mark:<12} {each.goal}: {each.found}")
    for what, why in results.missing.items():
        _say(f"not measured: {what}: {why}")
    _say(f"written: {chosen.folder / 'benchmarks.md'}")


if __name__ == "__main__":
    main()
