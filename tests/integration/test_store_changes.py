"""Changes of the store with everything real: killed and restarted, an old copy put back, a replica promoted.

Workers are Celery processes from the Procfile's own line; wolkvox is the sandbox, which goes on working on a
call whose client has left, and counts overlaps on its side.
"""

from __future__ import annotations

import time

import pytest

from integration.domain.recall import State
from integration.store.token_queue import HELD, Claim
from support.store_process import LEASE, Member, StoreHistory, working
from support.waiting import wait_until
from support.worker_processes import WorkerProcesses

pytestmark = pytest.mark.thorough

WORK = 2.7
"""How long the sandbox works on a call, in seconds; `server_limit_seconds` is 3, so a lease is 6 s."""
SHORT = "timeout_seconds = 1\nserver_limit_seconds = 3\n"
LONG = "timeout_seconds = 1\nserver_limit_seconds = 300\n"


@pytest.fixture
def workers_running(tmp_path, start_valkey, sandbox, request):
    workers_running = WorkerProcesses(tmp_path, start_valkey(), sandbox, getattr(request, "param", SHORT))
    yield workers_running
    workers_running.kill_workers()


def a_call_that_the_copy_does_not_know(workers_running):
    """A copy is made with a recall in the queue; then the recall is being pushed when the store ends."""
    workers_running.services.accounts.pause("bogota", "until the copy is made")
    recall = workers_running.ask()
    workers_running.copy_store()
    workers_running.sandbox.add_rule(action="delay", seconds=WORK, times=1)
    workers_running.services.accounts.resume("bogota")
    wait_until(workers_running.calls, 60, what="the first call")
    return recall


@pytest.mark.timeout(180)
def test_with_an_old_copy_put_back_running_workers_call_nobody_before_the_quiet_time_is_over(workers_running):
    for _ in range(2):
        workers_running.start_worker()
    recall = a_call_that_the_copy_does_not_know(workers_running)
    back = workers_running.put_copy_back()
    workers_running.services = workers_running.fresh_services()
    workers_running.services.accounts.resume("bogota")
    view = workers_running.services.accounts.get("bogota")
    wait_until(lambda: workers_running.services.accounts.get("bogota").reason == HELD, 60, what="the reason")
    view = workers_running.services.accounts.get("bogota")
    assert view.state == "waiting"
    assert back < view.until.timestamp() <= time.time() + 6
    wait_until(lambda: workers_running.state(recall) is State.ACCEPTED, 60, what="the recall")
    first, *more = workers_running.calls()
    assert first < back
    assert more
    assert all(call >= view.until.timestamp() for call in more)
    assert workers_running.sandbox.stats()["overlaps"] == []
    assert len(workers_running.reports()) == 1
    assert "went back" in workers_running.reports()[0]


def remembered(path):
    """The tick of the store that a worker's file holds."""
    words = path.read_text().split() if path.exists() else []
    return int(words[1]) if len(words) == 3 else 0


@pytest.mark.timeout(180)
def test_with_an_old_copy_put_back_while_all_is_down_a_file_remembers(workers_running):
    seen = {"RINGBACK_EPOCH_FILE": str(workers_running.folder / "seen")}
    workers_running.start_worker(**seen)
    recall = a_call_that_the_copy_does_not_know(workers_running)
    store = workers_running.services.store
    tick = int(store.client.hget(store.key("store"), "revision"))
    wait_until(
        lambda: tick <= remembered(workers_running.folder / "seen"), what="the sweep that remembers the claim"
    )
    workers_running.kill_workers()
    back = workers_running.put_copy_back()
    workers_running.start_worker(**seen)
    workers_running.services = workers_running.fresh_services()
    workers_running.services.accounts.resume("bogota")
    wait_until(lambda: workers_running.state(recall) is State.ACCEPTED, 60, what="the recall")
    assert all(call < back or call >= back + 6 for call in workers_running.calls())
    assert workers_running.sandbox.stats()["overlaps"] == []
    assert len(workers_running.reports()) == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("workers_running", [LONG], indirect=True)
def test_a_store_that_is_killed_and_started_again_keeps_everything_and_costs_no_quiet_time(workers_running):
    """A quiet time would be over five minutes here: the test would not end in time."""
    workers_running.start_worker(RINGBACK_EPOCH_FILE=str(workers_running.folder / "seen"))
    for n in range(3):
        recalls = [workers_running.ask(f"c{n}-{m}") for m in range(5)]
        workers_running.server.kill()
        workers_running.server.start()
        workers_running.services.binding.bind()
        wait_until(
            lambda: all(workers_running.state(r) is State.ACCEPTED for r in recalls),  # noqa: B023
            60,
            what="all recalls",
        )
    workers_running.kill_workers()
    workers_running.server.kill()
    workers_running.server.start()
    workers_running.start_worker(RINGBACK_EPOCH_FILE=str(workers_running.folder / "seen"))
    last = workers_running.ask("last")
    wait_until(lambda: workers_running.state(last) is State.ACCEPTED, 60, what="the last one")
    assert workers_running.reports() == []
    assert workers_running.sandbox.stats()["overlaps"] == []


# --- a replica ---------------------------------------------------------------------------------


class Pair(StoreHistory):
    """A primary and its replica, and members that are moved from one to the other."""

    def __init__(self, primary, replica):
        super().__init__(primary.client())
        self.primary, self.replica = primary, replica
        self.replica_client = replica.client()
        self.replica_client.replicaof("127.0.0.1", str(primary.port))
        self.in_step()

    def in_step(self):
        def same():
            info = self.replica_client.info("replication")
            return (
                info["master_link_status"] == "up"
                and info["slave_repl_offset"] == self.client.info("replication")["master_repl_offset"]
            )

        wait_until(same, 60, what="the replica")

    def fail_over(self, *members):
        """Let the replica take over as it is; the primary is gone."""
        self.replica_client.replicaof("NO", "ONE")
        self.primary.kill()
        for member in members:
            member.store.client = self.replica_client
            member.store._batcher._connection.raw = self.replica_client.connection_pool.make_connection()


@pytest.fixture
def pair(start_valkey):
    return Pair(start_valkey(), start_valkey())


def lag_behind(pair):
    """Stop the replica's stream, as a network that is too slow would."""
    pair.replica_client.replicaof("NO", "ONE")


@pytest.fixture
def workers(pair):
    """Two workers, both known to the store."""
    one, two = Member(pair), Member(pair)
    one.bind(bogota="L1", lima="L2")
    working(one, two)
    return one, two


def test_a_failover_without_lag_costs_no_quiet_time(pair, workers):
    one, two = workers
    one.ask("c1")
    pair.in_step()
    pair.fail_over(one, two)
    assert one.acquire().kind == "wait"
    two.sweep()
    assert isinstance(one.acquire(), Claim)
    assert one.losses == two.losses == []


def test_a_failover_to_a_replica_that_lagged_holds_the_queues(pair, workers):
    one, two = workers
    one.ask("c1")
    pair.in_step()
    lag_behind(pair)
    lost = two.acquire()
    assert isinstance(lost, Claim)
    pair.fail_over(one, two)
    # What the new primary counts meanwhile hides nothing.
    one.ask("c2")
    one.ask("c3")
    assert one.acquire().kind == "wait"
    two.sweep()
    assert [loss.missing for loss in two.losses] == [1]
    pair.pass_time(LEASE - 0.1)
    assert one.acquire().kind == "wait"
    pair.pass_time(0.1)
    assert isinstance(one.acquire(), Claim)
    assert one.losses == []
