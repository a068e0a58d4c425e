"""What was measured: for each thing and system the figures of every run, and their median and spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

RINGBACK = "Ringback"
SENTRY = "Ringback, Sentry on"
DEDICATED_QUEUES = "Celery, a queue and a process per token"
LOCKS = "Celery, a shared pool with a lock and retry"
BARE = "bare httpx"


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of several runs, and the lowest and highest."""

    middle: float
    low: float
    high: float
    runs: int


@dataclass(slots=True)
class Results:
    """Figures by thing and system, a mapping for each run; and what could not be measured, and why."""

    figures: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    profile: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    def add(self, thing: str, system: str, figures: dict[str, float]) -> None:
        """Note the figures of one run."""
        self.figures.setdefault(thing, {}).setdefault(system, []).append(figures)

    def lacks(self, thing: str, why: str) -> None:
        """Note that something was not measured."""
        self.missing[thing] = why

    def spread(self, thing: str, system: str, figure: str) -> Spread | None:
        """Give the spread of a figure; None where it was not measured."""
        values = [run[figure] for run in self.figures.get(thing, {}).get(system, []) if figure in run]
        if not values:
            return None
        return Spread(median(values), min(values), max(values), len(values))

    def middle(self, thing: str, system: str, figure: str) -> float | None:
        """Give the median of a figure; None where it was not measured."""
        spread = self.spread(thing, system, figure)
        return None if spread is None else spread.middle

    def told(self) -> dict[str, Any]:
        """Give it as JSON can hold it."""
        return {
            "machine": self.machine,
            "figures": self.figures,
            "missing": self.missing,
            "profile": self.profile,
        }
