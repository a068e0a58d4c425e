"""Exponential backoff for retries."""

from __future__ import annotations

_MOST_DOUBLINGS = 32


def backoff_seconds(attempt: int, *, base: float, maximum: float, jitter: float = 0.0) -> float:
    """Return the seconds to wait after the failed attempt number `attempt` (1 for the first).

    The wait is `base` seconds, doubled for each further attempt up to `maximum`. The result is the wait
    plus its fraction `jitter`, which may be negative, so it may exceed `maximum`. An `attempt` below 1
    counts as 1.
    """
    doublings = min(max(attempt, 1) - 1, _MOST_DOUBLINGS)
    return min(base * 2.0**doublings, maximum) * (1 + jitter)
