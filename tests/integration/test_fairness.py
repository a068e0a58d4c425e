"""More queues than threads, with workers as the Procfile starts them: all are served, and all alike."""

from __future__ import annotations

from collections import Counter

import pytest

from integration.domain.recall import Filter, State
from support.waiting import wait_until
from support.worker_processes import WorkerProcesses
from workers.drain import DRAIN_CALLS
from workers.sweeper import SWEEP_DRAINS

pytestmark = pytest.mark.thorough

# More than the threads of both workers, those of the sweep included.
NAMES = tuple(f"a{n}" for n in range(2 * (2 + SWEEP_DRAINS) + 4))
EACH = 3 * DRAIN_CALLS + 5


@pytest.fixture
def workers_running(tmp_path, start_valkey, sandbox):
    workers_running = WorkerProcesses(tmp_path, start_valkey(), sandbox, "", NAMES)
    yield workers_running
    workers_running.kill_workers()


def pushed(workers_running):
    """The queues of the calls, in the order of the calls."""
    return [call["body"]["customer_id"].partition("-")[0] for call in workers_running.sandbox.calls()]


def test_no_queue_is_ahead_of_another_by_more_than_three_drains(workers_running):
    for n in range(EACH):
        for name in NAMES:
            workers_running.ask(f"{name}-{n}", account=name)
    for _ in range(2):
        workers_running.start_worker(WORKER_CONCURRENCY="2")
    total = EACH * len(NAMES)
    wait_until(lambda: len(pushed(workers_running)) == total, 240, what="all calls")
    seen = Counter(dict.fromkeys(NAMES, 0))
    for name in pushed(workers_running):
        seen[name] += 1
        if max(seen.values()) < EACH:
            assert max(seen.values()) - min(seen.values()) <= 3 * DRAIN_CALLS, seen
    accepted = Filter(state=State.ACCEPTED)
    wait_until(
        lambda: sum(1 for _ in workers_running.services.recalls.records.every(accepted)) == total,
        60,
        what="all accepted",
    )


def test_where_no_wake_up_was_published_every_queue_is_drained_though_few_threads_are_there(workers_running):
    for n in range(2):
        for name in NAMES:
            workers_running.ask(f"{name}-{n}", account=name)
    workers_running.start_worker(WORKER_CONCURRENCY="1")
    wait_until(lambda: set(pushed(workers_running)) == set(NAMES), 60, what="every queue")
