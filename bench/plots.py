"""Plots of throughput and latency by number of queues and connections, as SVG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.results import BARE, DEDICATED_QUEUES, LOCKS, RINGBACK, SENTRY

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from bench.results import Results

_COLOURS = {
    RINGBACK: "#1b7f5c",
    SENTRY: "#6c5ce7",
    DEDICATED_QUEUES: "#c0392b",
    LOCKS: "#d68910",
    BARE: "#7f8c8d",
}
_QUEUES = re.compile(r"push, (\d+) queues?, (\d+) ms")
_CONNECTIONS = re.compile(r"accept single, (\d+) connections")


@dataclass(frozen=True, slots=True)
class _Plot:
    """A figure by number of queues or connections. `ms` filters by the latency of wolkvox."""

    name: str
    title: str
    pattern: re.Pattern[str]
    figure: str
    unit: str
    ms: int | None = None


_PLOTS = (
    _Plot(
        "queues-throughput.svg",
        "Pushes over busy queues, wolkvox at 50 ms",
        _QUEUES,
        "per_second",
        "a second",
        50,
    ),
    _Plot(
        "queues-gap.svg",
        "Gap until a queue's next call, p50, wolkvox at 50 ms",
        _QUEUES,
        "gap_p50_ms",
        "ms",
        50,
    ),
    _Plot(
        "queues-throughput-0ms.svg",
        "Pushes over busy queues, wolkvox at 0 ms",
        _QUEUES,
        "per_second",
        "a second",
        0,
    ),
    _Plot("accept-throughput.svg", "Single events over connections", _CONNECTIONS, "per_second", "a second"),
    _Plot(
        "accept-latency.svg", "Latency of single events over connections, p99", _CONNECTIONS, "p99_ms", "ms"
    ),
)


def draw(results: Results, folder: Path) -> list[tuple[str, str]]:
    """Draw the plots that have data. Return pairs of file name and title. Requires matplotlib."""
    import matplotlib as mpl  # noqa: PLC0415  (optional dependency)

    mpl.use("svg")
    # Makes the output reproducible.
    mpl.rcParams["svg.hashsalt"] = "ringback"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plot in _PLOTS:
        lines = _lines(results, plot.pattern, plot.figure, plot.ms)
        if lines:
            over = "queues" if plot.pattern is _QUEUES else "connections"
            _draw(folder / plot.name, plot, lines, over)
            drawn.append((plot.name, plot.title))
    return drawn


def _lines(
    results: Results, pattern: re.Pattern[str], figure: str, ms: int | None
) -> dict[str, list[tuple[int, float]]]:
    lines: dict[str, list[tuple[int, float]]] = {}
    for thing, systems in results.figures.items():
        found = pattern.fullmatch(thing)
        if found is None or (ms is not None and int(found[2]) != ms):
            continue
        for system in systems:
            middle = results.middle(thing, system, figure)
            if middle is not None:
                lines.setdefault(system, []).append((int(found[1]), middle))
    return lines


def _draw(path: Path, plot: _Plot, lines: dict[str, list[tuple[int, float]]], over: str) -> None:
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes: Any = figure.add_subplot()
    for system, points in lines.items():
        xs, ys = zip(*sorted(points), strict=True)
        axes.plot(xs, ys, marker="o", label=system, color=_COLOURS[system])
    axes.set_xscale("log")
    ticks = sorted({x for points in lines.values() for x, _ in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set(title=plot.title, xlabel=over, ylabel=plot.unit)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, format="svg", metadata={"Date": None})
