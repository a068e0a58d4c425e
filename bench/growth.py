"""Measures scaling: from a thousand to a million queued recalls, and from one to thousands of accounts."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from bench import pages, pushing
from bench.accepting import send
from bench.machine import cpu_seconds, memory_mb
from bench.results import RINGBACK, SENTRY
from bench.samples import Sender
from bench.stage import BenchStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.plan import Plan
    from bench.results import Results

FEW = 1000
QUEUES = 16
IDLE_SECONDS = 5.0
SECONDS = 3.0
FILL_SECONDS = 240.0


def measure_queued(results: Results, plan: Plan, left: Callable[[], bool]) -> None:
    """Measure accepting and pushing with few and many queued recalls, and the memory per recall.

    The pages of the dashboard are measured with many.
    """
    for queued in (FEW, plan.many):
        for name in plan.ours:
            if queued and left():
                with BenchStage.open(sentry=name == SENTRY) as stage:
                    _queued(results, name, plan, stage, queued)


def _queued(results: Results, name: str, plan: Plan, stage: BenchStage, queued: int) -> None:
    stage.configure(QUEUES)
    services, client = stage.services(), stage.client()
    before = client.info("memory")["used_memory"]
    # Filling is not measured and need not sync each write. The measurements below do.
    client.config_set("appendfsync", "everysec")
    started = time.monotonic()
    total = pushing.fill(services, QUEUES, max(1, queued // QUEUES), FILL_SECONDS)
    if total < 0.99 * queued:
        results.lacks(f"{queued:,} queued", f"only {total:,} were queued within {FILL_SECONDS:g} s")
    filled_seconds = time.monotonic() - started
    client.config_set("appendfsync", "always")
    each = (client.info("memory")["used_memory"] - before) / total
    stage.start_web()
    sender = Sender(services.config, random.Random(13))  # noqa: S311  (test data)
    send(stage, sender.single(500), 16, 2.0)
    accepted = send(stage, sender.single(round(SECONDS * 6000)), 32, SECONDS)
    if queued == plan.many and name == RINGBACK:
        pages.measure(results, name, stage)
    stage.wolkvox("begin?ms=0")
    stage.start_workers()
    seen = pushing.watch(stage, 0, replace(plan, queue_seconds=SECONDS))
    results.add(
        f"{queued if total >= 0.99 * queued else total:,} queued",
        name,
        {
            "accept_per_second": accepted["per_second"],
            "accept_web_us": accepted["web_us"],
            "accept_store_us": accepted["store_us"],
            "push_per_second": seen["per_second"],
            "push_worker_us": seen["worker_us"],
            "push_store_us": seen["store_us"],
            "bytes_each": each,
            "filled_seconds": filled_seconds,
        },
    )


def measure_accounts(results: Results, plan: Plan) -> None:
    """Measure start, idle cost and accepting with one account and with many."""
    for accounts in (1, plan.accounts):
        for name in plan.ours if accounts else ():
            with BenchStage.open(sentry=name == SENTRY) as stage:
                _accounts(results, name, stage, accounts)


def _accounts(results: Results, name: str, stage: BenchStage, accounts: int) -> None:
    stage.configure(accounts)
    web_seconds = stage.start_web()
    started = time.monotonic()
    stage.start_workers(1)
    _wait_until_ready(stage)
    worker_seconds = time.monotonic() - started
    time.sleep(2.0)
    web, workers, store = (stage.pids(name) for name in ("web", "workers", "store"))
    before = [cpu_seconds(pids) for pids in (web, workers, store)]
    time.sleep(IDLE_SECONDS)
    used = [
        (cpu_seconds(pids) - was) / IDLE_SECONDS * 100
        for pids, was in zip((web, workers, store), before, strict=True)
    ]
    sender = Sender(stage.services().config, random.Random(17))  # noqa: S311  (test data)
    stage.end("workers")
    accepted = send(stage, sender.single(round(SECONDS * 6000)), 32, SECONDS)
    results.add(
        f"{accounts:,} accounts",
        name,
        {
            "web_start_seconds": web_seconds,
            "worker_start_seconds": worker_seconds,
            "idle_web_percent": used[0],
            "idle_worker_percent": used[1],
            "idle_store_percent": used[2],
            "memory_mb": memory_mb(web) + memory_mb(workers),
            "accept_per_second": accepted["per_second"],
            "accept_web_us": accepted["web_us"],
        },
    )


def _wait_until_ready(stage: BenchStage) -> None:
    """Wait until a worker is registered in the store. Raise TimeoutError."""
    client, end = stage.client(), time.monotonic() + 60
    while time.monotonic() < end:
        if any(who.startswith("worker:") for who in client.zrange("{ringback}:processes", 0, -1)):
            return
        time.sleep(0.02)
    raise TimeoutError(f"no worker within 60 s: {stage.log_of('workers')[-300:]}")
