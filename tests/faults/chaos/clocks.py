"""Workers whose clocks are wrong: code that a worker runs at its start, before it looks at the time.

Each life of a worker has another clock, up to ten minutes off. The store's clock and CLOCK_BOOTTIME are those
of the machine: nothing that keeps a promise may go by anything else.
"""

from __future__ import annotations

from random import Random

VARIABLE = "FAULTS_CLOCK_SECONDS"
FURTHEST_SECONDS = 600

CODE = f"""
import os
from datetime import timedelta
import workers.drain as turn
if not hasattr(turn, "utc_now"):
    raise SystemExit("workers no longer ask workers.drain for the time")  # an Exception would pass unheeded here
shift, right = timedelta(seconds=float(os.environ.get("{VARIABLE}", "0"))), turn.utc_now
turn.utc_now = lambda: right() + shift
"""


def clock_errors(seed: int, worker: str, lives: int = 1000) -> tuple[float, ...]:
    """Return how wrong the clock of each life of a worker is, in seconds; made of the seed alone."""
    rng = Random(f"clocks {seed} {worker}")
    return tuple(round(rng.uniform(-FURTHEST_SECONDS, FURTHEST_SECONDS), 1) for _ in range(lives))
