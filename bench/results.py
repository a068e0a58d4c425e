"""Results of the benchmark: figures of every run by measurement and system, with median and spread."""

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
    """Median, lowest and highest value of several runs."""

    middle: float
    low: float
    high: float
    runs: int


@dataclass(slots=True)
class Results:
    """Figures by measurement and system, one mapping per run; and reasons for missing measurements."""

    figures: dict[str, dict[str, list[dict[str, float]]]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    machine: dict[str, str] = field(default_factory=dict)
    profile: dict[str, list[tuple[str, float]]] = field(default_factory=dict)

    def add(self, thing: str, system: str, figures: dict[str, float]) -> None:
        """Add the figures of one run."""
        self.figures.setdefault(thing, {}).setdefault(system, []).append(figures)

    def lacks(self, thing: str, why: str) -> None:
        """Record why a measurement is missing."""
        self.missing[thing] = why

    def spread(self, thing: str, system: str, figure: str) -> Spread | None:
        """Return the spread of a figure, or None if it was not measured."""
        values = [run[figure] for run in self.figures.get(thing, {}).get(system, []) if figure in run]
        if not values:
            return None
        return Spread(median(values), min(values), max(values), len(values))

    def middle(self, thing: str, system: str, figure: str) -> float | None:
        """Return the median of a figure, or None if it was not measured."""
        spread = self.spread(thing, system, figure)
        return None if spread is None else spread.middle

    def as_dict(self) -> dict[str, Any]:
        """Return the results as JSON values."""
        return {
            "machine": self.machine,
            "figures": self.figures,
            "missing": self.missing,
            "profile": self.profile,
        }
