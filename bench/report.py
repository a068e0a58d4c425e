"""docs/benchmarks.md, written from what was measured. What stands between the marks stays as it is."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bench.goals import verdicts
from bench.results import BARE, DEDICATED_QUEUES, LOCKS, RINGBACK, SENTRY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from bench.results import Results, Spread

NOTES_BEGIN = "<!-- notes: what stands from here to their end is kept when this page is written anew -->"
NOTES_END = "<!-- end of the notes -->"
NO_NOTES = "\nNothing was noted.\n"
_NOTES = re.compile(f"{re.escape(NOTES_BEGIN)}(.*?){re.escape(NOTES_END)}", re.DOTALL)
IDLE = "POST to PUT, idle"
_SYSTEMS = (RINGBACK, SENTRY, DEDICATED_QUEUES, LOCKS, BARE)

_INTRODUCTION = f"""# Benchmarks

Written by `make bench` (`make bench QUICK=1`: about two minutes, fewer runs). It starts everything on
loopback on the machine described below: a Valkey that has each write on disk before it answers
(`appendonly yes`, `appendfsync always`), a wolkvox that only answers, Ringback, and what one would write
instead, on a store of the same kind, under the same load, in turns. All of it, load and wolkvox too, shares
the processors.

- **{DEDICATED_QUEUES}** ("the baseline"): Flask under gunicorn, the signature checked, the fields mapped by
  hand,
  `apply_async(queue=token)` with `acks_late`, a `celery worker` with one slot for each token, kept-alive
  connections. It keeps no memory of what it has seen, no body, no history, and knows no supersede.
- **{LOCKS}**: the same receiver, one queue, two processes of 64 threads, a Redis lock per token without
  waiting, and `retry` where it is taken.
- **{BARE}**: two processes of as many threads as Ringback's, each with a connection of its own, and nothing
  but calls.

Ringback runs two web processes and two worker processes of 64 threads. The load is Python of this
repository (`bench/load.py`), the same for both: every webhook is signed beforehand, and a connection sends
its next when it has its answer. Figures are medians of the runs, with the lowest and highest in brackets.
"""


def write(results: Results, path: Path, plots: Sequence[tuple[str, str]] = ()) -> None:
    """Write the page; `plots` are (file beside it, what it shows)."""
    kept = _notes(path.read_text("utf-8")) if path.exists() else NO_NOTES
    parts = [
        _INTRODUCTION,
        _machine(results),
        _goals(results),
        f"## Notes\n\n{NOTES_BEGIN}{kept}{NOTES_END}\n",
        _accepting(results),
        _pushing(results),
        *(f"![{shows}]({name})\n" for name, shows in plots),
        _growing(results),
        _profiles(results),
        _missing(results),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(part for part in parts if part), "utf-8")


def _notes(page: str) -> str:
    found = _NOTES.search(page)
    return found[1] if found else NO_NOTES


def _machine(results: Results) -> str:
    return "\n".join(
        ["## Machine", "", *(f"- {name}: {words}" for name, words in results.machine.items()), ""]
    )


def _goals(results: Results) -> str:
    marks = {True: "reached", False: "**not reached**", None: "not measured"}
    rows = [(each.goal, each.found, marks[each.reached]) for each in verdicts(results)]
    return "## What is to be reached\n\n" + _table(("goal", "measured", ""), rows)


def _accepting(results: Results) -> str:
    rows = [
        _accepted(results, thing, system)
        for thing in _things(results, "accept ")
        for system in _of(results, thing)
    ]
    rows += [_idle(results, system) for system in _of(results, IDLE)]
    head = ("webhooks", "system", "a second", "p50 ms", "p99 ms", "web µs", "store µs", "load µs")
    return "## Accepting webhooks\n\nµs: processor time for each delivery.\n\n" + _table(head, rows)


def _accepted(results: Results, thing: str, system: str) -> tuple[str, ...]:
    return (
        thing.removeprefix("accept "),
        _short(system),
        _shown(results.spread(thing, system, "per_second"), 0),
        _shown(results.spread(thing, system, "p50_ms"), 1),
        _shown(results.spread(thing, system, "p99_ms"), 1),
        *(_cpu(results, thing, system, name) for name in ("web_us", "store_us", "load_us")),
    )


def _idle(results: Results, system: str) -> tuple[str, ...]:
    p50, p99 = (_shown(results.spread(IDLE, system, name), 1) for name in ("p50_ms", "p99_ms"))
    return ("from POST to PUT, idle", _short(system), "", p50, p99, "", "", "")


def _pushing(results: Results) -> str:
    rows = [
        _pushed(results, thing, system)
        for thing in _things(results, "push, ")
        for system in _of(results, thing)
    ]
    head = (
        *("queues", "system", "a second", "used", "gap p50 ms", "gap p99 ms", "calls of a queue", "overlaps"),
        *("memory MB", "worker µs", "store µs"),
    )
    words = (
        "Used: the share of the time in which a queue had its call under way. Gap: from an answer to "
        "the next "
        "call of the same queue. Overlaps: calls that began while another of the same token was under way. "
        "Memory: PSS of web and workers, without the store.\n\n"
    )
    return "## Pushing to wolkvox\n\n" + words + _table(head, rows)


def _pushed(results: Results, thing: str, system: str) -> tuple[str, ...]:
    fewest, most, overlaps = (
        f"{results.middle(thing, system, name) or 0:.0f}" for name in ("fewest", "most", "overlaps")
    )
    return (
        thing.removeprefix("push, "),
        _short(system),
        _shown(results.spread(thing, system, "per_second"), 0),
        _percent(results.spread(thing, system, "utilisation")),
        _shown(results.spread(thing, system, "gap_p50_ms"), 1),
        _shown(results.spread(thing, system, "gap_p99_ms"), 1),
        f"{fewest} to {most}",
        overlaps,
        _shown(results.spread(thing, system, "memory_mb"), 0),
        _cpu(results, thing, system, "worker_us"),
        _cpu(results, thing, system, "store_us"),
    )


def _growing(results: Results) -> str:
    parts = []
    for title, ending, columns in _GROWTH:
        things = [thing for thing in results.figures if thing.endswith(ending)]
        rows = [
            (thing, *(_shown(results.spread(thing, RINGBACK, name), digits) for name, _, digits in columns))
            for thing in things
        ]
        if rows:
            parts.append(f"### {title}\n\n" + _table(("", *(words for _, words, _ in columns)), rows))
    return "## How it grows\n\n" + "\n".join(parts) if parts else ""


_GROWTH: tuple[tuple[str, str, tuple[tuple[str, str, int], ...]], ...] = (
    (
        "Queued recalls",
        " queued",
        (
            ("accept_per_second", "accepted a second", 0),
            ("accept_web_us", "web µs each", 0),
            ("accept_store_us", "store µs each", 0),
            ("push_per_second", "pushed a second", 0),
            ("push_worker_us", "worker µs each", 0),
            ("push_store_us", "store µs each", 0),
            ("bytes_each", "bytes each in the store", 0),
        ),
    ),
    (
        "Accounts",
        " accounts",
        (
            ("web_start_seconds", "web starts in s", 1),
            ("worker_start_seconds", "worker starts in s", 1),
            ("idle_web_percent", "idle: web %", 1),
            ("idle_worker_percent", "worker %", 1),
            ("idle_store_percent", "store %", 1),
            ("memory_mb", "memory MB", 0),
            ("accept_per_second", "accepted a second", 0),
            ("accept_web_us", "web µs each", 0),
        ),
    ),
    (
        "Start with a full backlog",
        "full backlog",
        (
            ("queues", "queues", 0),
            ("first_seconds", "first call after s", 1),
            ("all_seconds", "a call on every queue after s", 1),
        ),
    ),
)


def _profiles(results: Results) -> str:
    if not results.profile:
        return ""
    parts = ["## Where the processor time goes", ""]
    for what, shares in results.profile.items():
        parts += [f"Of {what}, in the busiest process:", ""]
        parts.append(_table(("part", "share"), [(part, f"{share:.0%}") for part, share in shares]))
    return "\n".join(parts)


def _missing(results: Results) -> str:
    if not results.missing:
        return ""
    told = (f"- {what}: {' '.join(why.split())}" for what, why in results.missing.items())
    return "\n".join(["## Not measured", "", *told, ""])


# --- tables ----------------------------------------------------------------------------------


def _things(results: Results, beginning: str) -> list[str]:
    return [thing for thing in results.figures if thing.startswith(beginning)]


def _of(results: Results, thing: str) -> list[str]:
    return [system for system in _SYSTEMS if system in results.figures.get(thing, {})]


def _short(system: str) -> str:
    return {DEDICATED_QUEUES: "queue per token", LOCKS: "lock and retry"}.get(system, system)


def _shown(spread: Spread | None, digits: int) -> str:
    if spread is None:
        return ""
    middle = f"{spread.middle:,.{digits}f}"
    if spread.runs == 1:
        return middle
    return f"{middle} ({spread.low:,.{digits}f} to {spread.high:,.{digits}f})"


def _percent(spread: Spread | None) -> str:
    return "" if spread is None else f"{spread.middle:.1%}"


def _cpu(results: Results, thing: str, system: str, figure: str) -> str:
    found = results.middle(thing, system, figure)
    return "" if found is None else f"{found:,.0f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
