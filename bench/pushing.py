"""Measures how fast queued recalls are pushed to wolkvox, and the pause of a queue between two calls."""

from __future__ import annotations

import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from bench.machine import cpu_seconds, memory_mb
from bench.results import BARE, DEDICATED_QUEUES, LOCKS, RINGBACK, SENTRY
from bench.stage import THREADS, WORKER_PROCESSES, BenchStage, token
from integration.domain.delivery import Delivery, Event
from integration.domain.recall import RecallRequest
from integration.mapping.planner import RecallWanted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.plan import Plan
    from bench.results import Results
    from integration.services.container import Services

# An upper bound for the pushes per second of any system on this machine.
MOST_PER_SECOND = 3000
DELIVERY = 100
FILL_THREADS = 8
TAKEN_UP_SECONDS = 45.0
# If filling takes longer, the machine is too slow for the measurements that follow.
FILL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """A number of queues that stay busy during the measurement, and the latency of wolkvox in ms."""

    queues: int
    ms: int

    @property
    def thing(self) -> str:
        """Return the name of the measurement."""
        return f"push, {self.queues} {'queue' if self.queues == 1 else 'queues'}, {self.ms} ms"

    def per_queue(self, seconds: float) -> int:
        """Return how many recalls a queue needs to stay busy for `seconds`, for any system."""
        by_machine = MOST_PER_SECOND / self.queues
        by_queue = 1000 / self.ms if self.ms else by_machine
        return math.ceil(min(by_machine, by_queue) * seconds * 1.2) + 2


def measure(results: Results, plan: Plan, left: Callable[[], bool]) -> None:
    """Measure each number of queues, with a slow and a fast wolkvox."""
    for ms in plan.speeds_ms:
        for queues in plan.queues:
            each = Load(queues, ms)
            for system, run in _SYSTEMS.items():
                if not _is_measured(system, each, plan):
                    continue
                if not left():
                    results.lacks(f"from {each.thing}, {system}, on", "the time limit of the run was reached")
                    return
                _try(
                    results,
                    f"{each.thing}, {system}",
                    partial(run, results, each, _plan_for(system, each, plan)),
                )


def _plan_for(system: str, each: Load, plan: Plan) -> Plan:
    """Measure longer if queues outnumber threads, so that each queue gets several drains."""
    if system in plan.ours and each.ms and each.queues > THREADS * WORKER_PROCESSES * 2:
        return replace(plan, queue_seconds=plan.many_queues_seconds)
    return plan


def _is_measured(system: str, each: Load, plan: Plan) -> bool:
    if system == DEDICATED_QUEUES:
        return each.queues in plan.baseline_queues and each.ms > 0
    if system == LOCKS:
        return bool(plan.baseline_queues) and each.ms > 0
    return system in plan.ours or (system == BARE and each.queues == max(plan.queues))


def _try(results: Results, what: str, run: Callable[[], None]) -> None:
    try:
        run()
    except Exception as error:  # noqa: BLE001  (a failure must not stop the other measurements)
        results.lacks(what, f"{type(error).__name__}: {error}"[:300])


# --- filling the queues ----------------------------------------------------------------------


def fill(services: Services, queues: int, per_queue: int, most_seconds: float = FILL_SECONDS) -> int:
    """Queue recalls, cycling through the queues. Return their number, which is lower if the time ran out."""
    end = time.monotonic() + most_seconds

    def admit(delivery: Delivery, wanted: list[RecallWanted]) -> int:
        if time.monotonic() > end:
            return 0
        services.admission.admit(delivery, wanted, b"")
        return len(wanted)

    with ThreadPoolExecutor(FILL_THREADS) as pool:
        return sum(pool.map(lambda each: admit(*each), _deliveries(queues, per_queue)))


def _deliveries(queues: int, per_queue: int) -> Iterator[tuple[Delivery, list[RecallWanted]]]:
    now = datetime.now(UTC)
    wanted: list[RecallWanted] = []
    for place in range(per_queue):
        for queue in range(queues):
            wanted.append(_wanted(queue, place, now))
            if len(wanted) == DELIVERY:
                yield _delivery(place, queue, now), wanted
                wanted = []
    if wanted:
        yield _delivery(per_queue, 0, now), wanted


def _delivery(place: int, queue: int, now: datetime) -> Delivery:
    name = f"dl_{place:08x}{queue:08x}"
    return Delivery(
        id=name, source="forms", method="POST", url="", headers={"host": "bench"}, body=b"", received_at=now
    )


def _wanted(queue: int, place: int, now: datetime) -> RecallWanted:
    # Spread the dates, as in practice, so that inserts do not all go to one end of the queue.
    date = now + timedelta(hours=24 + place % 240)
    request = RecallRequest(
        account=f"a{queue}",
        campaign_id="10",
        customer_id=f"C{queue}-{place}",
        recall_telephone=f"300{(queue * 7919 + place) % 10**7:07d}",
        recall_date=date,
        requested_date=date,
        version=now,
        source="forms",
        route="form",
    )
    return RecallWanted(event=Event(data={}, dedup_key=f"{queue}-{place}"), request=request)


# --- the systems -----------------------------------------------------------------------------


def _ringback(results: Results, each: Load, plan: Plan, *, name: str = RINGBACK) -> None:
    with BenchStage.open(sentry=name == SENTRY) as stage:
        stage.configure(each.queues)
        services = stage.services()
        fill(services, each.queues, each.per_queue(plan.warm_seconds + plan.queue_seconds + 3))
        stage.start_web()
        stage.wolkvox(f"begin?ms={each.ms}")
        stage.start_workers()
        if each.queues == max(plan.queues) and each.ms:
            _measure_restart(results, name, stage, each)
        _note(results, name, stage, each, plan)


def _measure_restart(results: Results, name: str, stage: BenchStage, each: Load) -> None:
    """Record the time from the start of the workers to the first call, and to a call on every queue."""
    started, first = time.monotonic(), 0.0
    while time.monotonic() - started < TAKEN_UP_SECONDS:
        seen = stage.wolkvox("seen")
        passed = time.monotonic() - started
        first = first or (passed if seen["calls"] else 0.0)
        if seen["queues"] == each.queues:
            figures = {"queues": each.queues, "first_seconds": first, "all_seconds": passed}
            results.add("restart with a full backlog", name, figures)
            return
        time.sleep(0.05)
    why = f"{seen['queues']} of {each.queues} queues drained within {TAKEN_UP_SECONDS:g} s"
    results.lacks("restart with a full backlog", why)


def _queue_per_token(results: Results, each: Load, plan: Plan) -> None:
    with BenchStage.open() as stage:
        tokens = [token(queue) for queue in range(each.queues)]
        _publish(stage, "push", tokens, each.per_queue(plan.warm_seconds + plan.queue_seconds + 3), own=True)
        stage.wolkvox(f"begin?ms={each.ms}")
        stage.start_baseline_workers(tokens)
        _note(results, DEDICATED_QUEUES, stage, each, plan)


def _locks(results: Results, each: Load, plan: Plan) -> None:
    with BenchStage.open() as stage:
        tokens = [token(queue) for queue in range(each.queues)]
        _publish(
            stage,
            "push_locked",
            tokens,
            each.per_queue(plan.warm_seconds + plan.queue_seconds + 3),
            own=False,
        )
        stage.wolkvox(f"begin?ms={each.ms}")
        stage.start_shared_workers()
        _note(results, LOCKS, stage, each, plan)


def _publish(stage: BenchStage, task: str, tokens: list[str], per_queue: int, *, own: bool) -> None:
    """Publish the baseline's tasks as its receiver would."""
    from celery import Celery  # noqa: PLC0415

    with Celery("fill", broker=stage.store_url, set_as_current=False) as app:
        app.conf.broker_transport_options = {"global_keyprefix": "{baseline}:"}
        with app.producer_or_acquire() as producer:
            for place in range(per_queue):
                for queue, each in enumerate(tokens):
                    call = {
                        "campaign_id": "10",
                        "customer_id": f"C{queue}-{place}",
                        "recall_telephone": "3001112233",
                        "recall_date": "20300101100000",
                    }
                    app.send_task(
                        f"bench.baseline.tasks.{task}",
                        (each, call),
                        queue=each if own else "shared",
                        producer=producer,
                    )


def _bare(results: Results, each: Load, plan: Plan) -> None:
    with BenchStage.open() as stage:
        stage.wolkvox(f"begin?ms={each.ms}")
        threads = max(1, min(THREADS, each.queues // WORKER_PROCESSES))
        for _ in range(WORKER_PROCESSES):
            words = [str(stage.wolkvox_port), str(threads), str(plan.warm_seconds + plan.queue_seconds + 5)]
            stage.run("workers", [sys.executable, "-m", "bench.bare", *words], {})
        _note(results, BARE, stage, each, plan)


_SYSTEMS = {
    RINGBACK: _ringback,
    SENTRY: partial(_ringback, name=SENTRY),
    DEDICATED_QUEUES: _queue_per_token,
    LOCKS: _locks,
    BARE: _bare,
}


# --- measuring -------------------------------------------------------------------------------


def _note(results: Results, system: str, stage: BenchStage, each: Load, plan: Plan) -> None:
    results.add(each.thing, system, watch(stage, each.ms, plan))


def watch(stage: BenchStage, ms: int, plan: Plan) -> dict[str, float]:
    """Wait for the first call and the warm-up, then measure. Return the figures."""
    wait_for_calls(stage)
    time.sleep(plan.warm_seconds)
    stage.wolkvox(f"begin?ms={ms}")
    workers, store = stage.pids("workers"), stage.pids("store")
    before = cpu_seconds(workers), cpu_seconds(store)
    time.sleep(plan.queue_seconds)
    seen: dict[str, float] = stage.wolkvox("seen")
    calls = max(1, seen["calls"])
    seen["worker_us"] = (cpu_seconds(workers) - before[0]) / calls * 1e6
    seen["store_us"] = (cpu_seconds(store) - before[1]) / calls * 1e6
    seen["memory_mb"] = memory_mb(stage.pids("web", "workers"))
    seen["store_mb"] = memory_mb(store)
    return seen


def wait_for_calls(stage: BenchStage) -> None:
    """Wait for the first call to wolkvox. Raise TimeoutError."""
    end = time.monotonic() + 90
    while not stage.wolkvox("seen")["calls"]:
        if time.monotonic() > end:
            raise TimeoutError(f"no call within 90 s: {stage.log_of('workers')[-200:]}")
        time.sleep(0.05)
