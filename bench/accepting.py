"""Measures how fast webhooks are accepted, by Ringback and the baseline in alternating runs."""

from __future__ import annotations

import importlib.util
import json
import random
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench import load
from bench.machine import cpu_seconds
from bench.results import DEDICATED_QUEUES, RINGBACK, SENTRY
from bench.samples import BATCH, Sender
from bench.stage import ROOT, BenchStage, token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.plan import Plan
    from bench.results import Results

# Upper bounds of accepted requests per second. More requests are prepared than can be sent.
MOST_SINGLE = 9000
MOST_BATCHES = 250
WORKER_CLASSES = {
    "gthread, 32 threads": ("--worker-class", "gthread", "--threads", "32", "--keep-alive", "75"),
    "gevent": ("--worker-class", "gevent", "--worker-connections", "1000", "--keep-alive", "75"),
}


def measure(results: Results, plan: Plan) -> None:
    """Measure all kinds of webhooks at each number of connections, alternating between the systems."""
    with ExitStack() as opened:
        stages = {name: opened.enter_context(BenchStage.open(sentry=name == SENTRY)) for name in plan.ours}
        for name, stage in stages.items():
            stage.configure(1)
            results.add("start", name, {"web_seconds": stage.start_web()})
        sender = Sender(stages[RINGBACK].services().config, random.Random(7))  # noqa: S311  (test data)
        if plan.baseline_queues and importlib.util.find_spec("gunicorn"):
            stages[DEDICATED_QUEUES] = opened.enter_context(BenchStage.open())
            _start_best_baseline(results, stages[DEDICATED_QUEUES], sender)
        _alternate(results, plan, stages, sender)


def _start_best_baseline(results: Results, stage: BenchStage, sender: Sender) -> None:
    """Start the baseline's receiver with the worker class that is fastest on this machine."""
    rates: dict[str, float] = {}
    for name, flags in WORKER_CLASSES.items():
        stage.start_baseline_web(flags)
        send(stage, sender.single(300), 8, 5.0)
        rates[name] = send(stage, sender.single(6000), 32, 1.5)["per_second"]
        stage.end("web")
    best = max(rates, key=rates.__getitem__)
    results.machine["the baseline's web"] = f"gunicorn, 2 processes, {best} (best of " + ", ".join(
        f"{name} {rate:.0f}/s" for name, rate in rates.items()
    ) + ")"  # fmt: skip
    stage.start_baseline_web(WORKER_CLASSES[best])


def _alternate(results: Results, plan: Plan, stages: dict[str, BenchStage], sender: Sender) -> None:
    seconds = plan.accept_seconds
    for stage in stages.values():
        with suppress(OSError, subprocess.SubprocessError):
            send(stage, sender.single(1000), 16, 3.0)
            send(stage, sender.hubspot(10), 4, 3.0)
    for _ in range(plan.rounds):
        for kind in _kinds(plan, sender):
            for connections in plan.connections if kind.single else plan.batch_connections:
                most = round(kind.most * seconds / (4 if connections == 1 else 1))
                for system, stage in stages.items():
                    if system != DEDICATED_QUEUES or kind.baseline:
                        thing = f"accept {kind.name}, {connections} connections"
                        _try(results, thing, system, stage, partial(kind.write, most), connections, seconds)


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of webhook. `most` is the number to prepare per second; `baseline`: the baseline supports it."""

    name: str
    write: Callable[[int], Iterator[bytes]]
    most: int
    baseline: bool
    single: bool = True


def _kinds(plan: Plan, sender: Sender) -> tuple[_Kind, ...]:
    single = _Kind("single", sender.single, MOST_SINGLE, baseline=True)
    most = MOST_BATCHES
    more = (
        _Kind(f"HubSpot batch of {BATCH}", sender.hubspot, most, baseline=True, single=False),
        _Kind(
            f"Salesforce message of {BATCH}", sender.salesforce, MOST_BATCHES, baseline=False, single=False
        ),
        _Kind("a duplicate", sender.duplicates, MOST_SINGLE, baseline=False),
    )
    return (single, *more) if plan.batches else (single,)


def _try(  # noqa: PLR0913, PLR0917  (what is sent, where to, and how)
    results: Results,
    thing: str,
    system: str,
    stage: BenchStage,
    write: Callable[[], Iterator[bytes]],
    connections: int,
    seconds: float,
) -> None:
    try:
        _note(results, thing, system, send(stage, write(), connections, seconds))
    except (OSError, subprocess.SubprocessError) as error:  # a failure must not stop the other measurements
        results.lacks(f"{thing}, {system}", f"{type(error).__name__}: {error}"[:200])


def send(stage: BenchStage, requests: Iterator[bytes], connections: int, seconds: float) -> dict[str, Any]:
    """Send requests from a separate process. Return its results and the processor time used."""
    path = stage.folder / "requests"
    load.write_requests(path, requests)
    web, store = stage.pids("web"), stage.pids("store")
    before = cpu_seconds(web), cpu_seconds(store)
    command = [
        sys.executable,
        "-m",
        "bench.load",
        str(stage.web_port),
        str(path),
        str(connections),
        str(seconds),
    ]
    output = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=seconds + 60).stdout
    seen: dict[str, Any] = json.loads(output)
    good = max(1, seen["good"])
    seen["web_us"] = (cpu_seconds(web) - before[0]) / good * 1e6
    seen["store_us"] = (cpu_seconds(store) - before[1]) / good * 1e6
    seen["load_us"] = seen["cpu_seconds"] / good * 1e6
    return seen


_FIGURES = ("per_second", "p50_ms", "p99_ms", "web_us", "store_us", "load_us")


def _note(results: Results, thing: str, system: str, seen: dict[str, Any]) -> None:
    bad = {status: count for status, count in seen["statuses"].items() if not status.startswith("2")}
    if seen["hung"]:
        bad["no answer"] = seen["hung"]
    if bad:
        results.lacks(f"{thing} ({system}), a part", f"answers that were not 2xx: {bad}")
    results.add(thing, system, {name: seen[name] for name in _FIGURES})


def measure_idle(results: Results, plan: Plan) -> None:
    """Measure the time from POST to PUT on idle systems."""
    for _ in range(min(2, plan.rounds)):
        for name in plan.ours:
            with BenchStage.open(sentry=name == SENTRY) as stage:
                stage.configure(1)
                stage.start_web()
                stage.start_workers(1)
                _note_idle(results, name, stage, plan)
        if plan.baseline_queues and importlib.util.find_spec("gunicorn"):
            with BenchStage.open() as stage:
                stage.start_baseline_web(WORKER_CLASSES["gthread, 32 threads"])
                stage.start_baseline_workers([token(0)])
                stage.configure(1)
                _note_idle(results, DEDICATED_QUEUES, stage, plan)


def _note_idle(results: Results, system: str, stage: BenchStage, plan: Plan) -> None:
    sender = Sender(stage.services().config, random.Random(11))  # noqa: S311  (test data)
    stage.wolkvox("begin?ms=5")
    _one_by_one(stage, sender, "warm", 1, 15.0)
    latencies = _one_by_one(stage, sender, "idle", plan.idle_events, 0.06)
    ordered = sorted(latencies)
    results.add(
        "POST to PUT, idle",
        system,
        {
            "p50_ms": load.quantile(ordered, 0.50) * 1000,
            "p99_ms": load.quantile(ordered, 0.99) * 1000,
            "seen": len(latencies),
        },
    )


def _one_by_one(stage: BenchStage, sender: Sender, name: str, number: int, wait: float) -> list[float]:
    """Send webhooks one at a time. Return the seconds from each POST to its PUT."""
    sent: dict[str, float] = {}
    for place in range(number):
        customer = f"{name}-{place}"
        request = sender.form(customer)
        connection = load.Connection(stage.web_port)
        sent[customer] = time.monotonic()
        connection.send(request)
        while connection.received() is None:
            pass
        connection.sock.close()
        _wait(stage, customer, wait)
    arrivals = stage.wolkvox("arrivals")
    return [arrivals[customer] - at for customer, at in sent.items() if customer in arrivals]


def _wait(stage: BenchStage, customer: str, seconds: float) -> None:
    """Sleep for `seconds`. If longer than one second, return early once the customer's call has arrived."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(min(0.06, seconds))
        if seconds > 1 and customer in stage.wolkvox("arrivals"):
            return
