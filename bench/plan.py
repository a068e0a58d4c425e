"""Durations and counts of the measurements: a whole run, a quick one, and a trial of the harness."""

from __future__ import annotations

from dataclasses import dataclass

from bench.results import RINGBACK, SENTRY


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Durations in seconds and counts. After `limit_seconds` no new measurement starts."""

    limit_seconds: float
    ours: tuple[str, ...] = (RINGBACK, SENTRY)
    rounds: int
    accept_seconds: float
    connections: tuple[int, ...]
    batch_connections: tuple[int, ...]
    batches: bool
    idle_events: int
    queues: tuple[int, ...]
    baseline_queues: tuple[int, ...]
    speeds_ms: tuple[int, ...]
    warm_seconds: float
    queue_seconds: float
    many_queues_seconds: float
    many: int
    accounts: int


WHOLE = Plan(
    limit_seconds=1800,
    rounds=3,
    accept_seconds=2.0,
    connections=(1, 32, 128),
    batch_connections=(8, 32),
    batches=True,
    idle_events=50,
    queues=(1, 16, 256, 1000),
    baseline_queues=(1, 16),
    speeds_ms=(50, 0),
    warm_seconds=2.0,
    queue_seconds=6.0,
    many_queues_seconds=40.0,
    many=1_000_000,
    accounts=5000,
)
QUICK = Plan(
    limit_seconds=200,
    rounds=1,
    accept_seconds=1.5,
    connections=(1, 32),
    batch_connections=(8,),
    batches=True,
    idle_events=20,
    queues=(1, 16, 256),
    baseline_queues=(1,),
    speeds_ms=(50, 0),
    warm_seconds=1.0,
    queue_seconds=2.5,
    many_queues_seconds=2.5,
    many=20_000,
    accounts=1000,
)
TRIAL = Plan(
    limit_seconds=240,
    ours=(RINGBACK,),
    rounds=1,
    accept_seconds=0.3,
    connections=(2,),
    batch_connections=(),
    batches=False,
    idle_events=3,
    queues=(2,),
    baseline_queues=(),
    speeds_ms=(50,),
    warm_seconds=0.1,
    queue_seconds=0.4,
    many_queues_seconds=0.4,
    many=0,
    accounts=0,
)
