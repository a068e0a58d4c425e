"""Exponential backoff for retries."""

from __future__ import annotations

_MOST_DOUBLINGS = 32


def backoff_seconds(attempt: int, *, base: float, maximum: float, jitter: float = 0.0) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (1 for the first).

    The wait is `base` seconds, doubled for each further attempt up to `maximum`, then extended by the
    fraction `jitter`, a random number from the caller (shortened if it is negative). An `attempt` below 1
    counts as 1.
    """
    doublings = min(max(attempt, 1) - 1, _MOST_DOUBLINGS)
    return min(base * 2.0**doublings, maximum) * (1 + jitter)
