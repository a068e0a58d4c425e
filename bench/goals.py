"""The performance goals, compared with the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import pages
from bench.results import BARE, DEDICATED_QUEUES, RINGBACK, SENTRY
from bench.samples import BATCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.results import Results

HUBSPOT = f"accept HubSpot batch of {BATCH}, "
SINGLE = "accept single, {} connections"
MANY = "1,000,000 queued"
FEW = "1,000 queued"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A goal, the measured value as text, and whether it was reached (None: not measured)."""

    goal: str
    found: str
    reached: bool | None


def verdicts(results: Results) -> list[Verdict]:
    """Compare the results with every goal."""
    return [judge(results) for judge in _GOALS]


def _unmeasured(goal: str) -> Verdict:
    return Verdict(goal, "not measured", None)


def _ratio(  # noqa: PLR0913, PLR0917  (one argument per part of the goal)
    goal: str, thing: str, figure: str, of: str, to: str, good: Callable[[float], bool], unit: str
) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        ours, theirs = results.middle(thing, of, figure), results.middle(thing, to, figure)
        if not ours or not theirs:
            return _unmeasured(goal)
        found = f"{ours / theirs:.2f} × ({ours:,.4g} {unit} beside {theirs:,.4g} {unit})"
        return Verdict(goal, found, good(ours / theirs))

    return judge


def _bound(
    goal: str, thing: str, figure: str, good: Callable[[float], bool], unit: str, scale: float = 1
) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        ours = results.middle(thing, RINGBACK, figure)
        if ours is None:
            return _unmeasured(goal)
        return Verdict(goal, f"{ours * scale:,.4g} {unit}", good(ours * scale))

    return judge


def _best_batches(results: Results, system: str) -> float:
    """Return the events per second at the best number of connections; 0 if not measured."""
    rates = (
        results.middle(thing, system, "per_second") for thing in results.figures if thing.startswith(HUBSPOT)
    )
    return max((rate for rate in rates if rate), default=0.0) * BATCH


def _batches(of: str, to: str, least: float, goal: str) -> Callable[[Results], Verdict]:
    def judge(results: Results) -> Verdict:
        ours, theirs = _best_batches(results, of), _best_batches(results, to)
        if not ours or not theirs:
            return _unmeasured(goal)
        found = f"{ours / theirs:.2f} × ({ours:,.4g} events/s beside {theirs:,.4g})"
        return Verdict(goal, found, ours >= least * theirs)

    return judge


def _fair(results: Results) -> Verdict:
    goal = "1,000 busy queues: the busiest has at most twice the calls of the idlest"
    thing = "push, 1000 queues, 50 ms"
    most, fewest = (results.middle(thing, RINGBACK, name) for name in ("most", "fewest"))
    queues = results.middle(thing, RINGBACK, "queues")
    if not most or not fewest or not queues:
        return _unmeasured(goal)
    return Verdict(goal, f"{most:.0f} beside {fewest:.0f}", queues == 1000 and most <= 2 * fewest)


def _grown(figure: str, what: str) -> Callable[[Results], Verdict]:
    goal = f"{what} with 1,000,000 queued: at least 80 % of that with 1,000"

    def judge(results: Results) -> Verdict:
        few, many = (results.middle(thing, RINGBACK, figure) for thing in (FEW, MANY))
        if not few or not many:
            return _unmeasured(goal)
        return Verdict(goal, f"{many / few:.0%} ({many:,.0f}/s beside {few:,.0f}/s)", many >= 0.8 * few)

    return judge


def _overlaps(results: Results) -> Verdict:
    goal = "no two calls of one token at once, in any of these runs"
    runs = [
        run for systems in results.figures.values() for run in systems.get(RINGBACK, []) if "overlaps" in run
    ]
    if not runs:
        return _unmeasured(goal)
    found = sum(run["overlaps"] for run in runs)
    return Verdict(goal, f"{found:.0f} in {sum(run['calls'] for run in runs):,.0f} calls", found == 0)


def _pages(results: Results) -> Verdict:
    goal = "the slowest page of the dashboard with 1,000,000 queued: p50 at most 200 ms"
    times = {
        thing: results.middle(thing, RINGBACK, "page_p50_ms")
        for thing in results.figures
        # A search of all records has time limits of its own.
        if thing.endswith(pages.ENDING) and thing != pages.SEARCH
    }
    known = {thing: time for thing, time in times.items() if time is not None}
    if not known or MANY not in results.figures:
        return _unmeasured(goal)
    slowest = max(known, key=known.__getitem__)
    return Verdict(goal, f"{known[slowest]:,.4g} ms ({slowest})", known[slowest] <= 200)


_GOALS: tuple[Callable[[Results], Verdict], ...] = (
    _ratio(
        "single signed and mapped events, 32 connections: at least 1.2 × the baseline's rate",
        *(SINGLE.format(32), "per_second", RINGBACK, DEDICATED_QUEUES, lambda r: r >= 1.2, "/s"),  # type: ignore[arg-type]
    ),
    _ratio(
        "p99 at 32 connections: at most half the baseline's",
        *(SINGLE.format(32), "p99_ms", RINGBACK, DEDICATED_QUEUES, lambda r: r <= 0.5, "ms"),  # type: ignore[arg-type]
    ),
    _batches(
        RINGBACK,
        DEDICATED_QUEUES,
        3,
        f"HubSpot batches of {BATCH}: at least 3 × the baseline's events a second",
    ),
    _ratio(
        "with Sentry on, single events: at least 85 % of the rate without it",
        *(SINGLE.format(32), "per_second", SENTRY, RINGBACK, lambda r: r >= 0.85, "/s"),  # type: ignore[arg-type]
    ),
    _batches(SENTRY, RINGBACK, 0.85, "with Sentry on, HubSpot batches: at least 85 % of the rate without it"),
    _bound(
        "POST to PUT on an idle system: p50 at most 10 ms",
        *("POST to PUT, idle", "p50_ms", lambda v: v <= 10, "ms"),  # type: ignore[arg-type]
    ),
    _bound(
        "POST to PUT on an idle system: p99 at most 30 ms",
        *("POST to PUT, idle", "p99_ms", lambda v: v <= 30, "ms"),  # type: ignore[arg-type]
    ),
    _ratio(
        "gap between two calls, 1 queue: p50 at most 0.7 × the baseline's",
        *("push, 1 queue, 50 ms", "gap_p50_ms", RINGBACK, DEDICATED_QUEUES, lambda r: r <= 0.7, "ms"),  # type: ignore[arg-type]
    ),
    _ratio(
        "gap between two calls, 16 queues: p50 at most 0.5 × the baseline's",
        *("push, 16 queues, 50 ms", "gap_p50_ms", RINGBACK, DEDICATED_QUEUES, lambda r: r <= 0.5, "ms"),  # type: ignore[arg-type]
    ),
    _bound(
        "1 queue at 50 ms: used at least 95 % of the time",
        *("push, 1 queue, 50 ms", "utilisation", lambda v: v >= 95, "%", 100),  # type: ignore[arg-type]
    ),
    _bound(
        "16 queues at 50 ms: used at least 93 % of the time",
        *("push, 16 queues, 50 ms", "utilisation", lambda v: v >= 93, "%", 100),  # type: ignore[arg-type]
    ),
    _ratio(
        "1,000 busy queues: at least 85 % of the rate of bare httpx",
        *("push, 1000 queues, 50 ms", "per_second", RINGBACK, BARE, lambda r: r >= 0.85, "/s"),  # type: ignore[arg-type]
    ),
    _fair,
    _bound(
        "1,000 busy queues: all processes of web and workers at most 400 MB",
        "push, 1000 queues, 50 ms",
        "memory_mb",
        lambda v: v <= 400,
        "MB",
    ),
    _grown("accept_per_second", "admission"),
    _grown("push_per_second", "pushes"),
    _pages,
    _bound("a queued recall: at most 1.2 KB in the store", MANY, "bytes_each", lambda v: v <= 1229, "bytes"),
    _bound(
        "start of the web with 5,000 accounts in 500 files: at most 3 s",
        "5,000 accounts",
        "web_start_seconds",
        lambda v: v <= 3,
        "s",
    ),
    _bound(
        "start of a worker with 5,000 accounts in 500 files: at most 3 s",
        "5,000 accounts",
        "worker_start_seconds",
        lambda v: v <= 3,
        "s",
    ),
    _overlaps,
)
