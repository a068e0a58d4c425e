"""Line plots as SVG path data for templates. Pure.

The view box is 100 by 100 and stretches to the available space. Labels are HTML outside the SVG.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE: Final = 100.0
_STEPS: Final = (1, 2, 3, 4, 5, 6, 8, 10)


@dataclass(frozen=True, slots=True)
class PlotSeries:
    """A series: a name, values at equal time steps (None if unknown), and a colour class (`tone`)."""

    name: str
    values: Sequence[float | None]
    tone: str = "first"

    @property
    def total(self) -> float | None:
        """Return the sum of the known values, or None if there are none."""
        known = [value for value in self.values if value is not None]
        return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class PlotLine:
    """A series as SVG path data: the line and the area under the line, "" without known values."""

    series: PlotSeries
    path: str
    area: str


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines on one scale from 0 to `top`.

    `grid` holds the horizontal lines as pairs of distance from the top of the view box and value.
    """

    lines: tuple[PlotLine, ...]
    top: float
    grid: tuple[tuple[float, float], ...]

    @property
    def empty(self) -> bool:
        """Return True if no series has a known value."""
        return not any(line.path for line in self.lines)


def plot(*series: PlotSeries) -> Plot:
    """Return a plot of several series on one scale, which begins at 0."""
    largest = max((v for each in series for v in each.values if v is not None), default=0.0)
    top = ceiling(largest)
    lines = tuple(PlotLine(each, *_paths(each.values, top)) for each in series)
    return Plot(lines=lines, top=top, grid=((0.0, top), (SIDE / 2, top / 2), (SIDE, 0.0)))


def ceiling(value: float) -> float:
    """Return the smallest round number that is not below `value`, at least 2.

    A round number is one of _STEPS times a power of ten.
    """
    if value <= _STEPS[1]:
        return float(_STEPS[1])
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value)


def _paths(values: Sequence[float | None], top: float) -> tuple[str, str]:
    """Return line and area as path data, both interrupted at unknown values."""
    lines: list[str] = []
    areas: list[str] = []
    for run in _runs(values):
        points = [_point(index, value, len(values), top) for index, value in run]
        lines.append("M" + "L".join(points))
        first, last = points[0].split(" ")[0], points[-1].split(" ")[0]
        areas.append(f"M{first} {SIDE:g}L" + "L".join(points) + f"L{last} {SIDE:g}Z")
    return "".join(lines), "".join(areas)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index, value))
    return [run for run in runs if run]


def _point(index: int, value: float, count: int, top: float) -> str:
    x = SIDE * index / (count - 1) if count > 1 else SIDE
    return f"{round(x, 2):g} {round(SIDE - SIDE * value / top, 2):g}"
