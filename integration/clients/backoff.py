"""Exponential backoff, for everything that is tried again after a failure."""

from __future__ import annotations

_MOST_DOUBLINGS = 32


def backoff_seconds(attempt: int, *, base: float, maximum: float, jitter: float = 0.0) -> float:
    """Return how many seconds to wait after the failed attempt `attempt` (1 for the first).

    `base` seconds, doubled for each further attempt up to `maximum`, and then longer by the fraction
    `jitter`, which the caller draws (negative: shorter). A counter below 1 counts as 1.
    """
    doublings = min(max(attempt, 1) - 1, _MOST_DOUBLINGS)
    return min(base * 2.0**doublings, maximum) * (1 + jitter)
