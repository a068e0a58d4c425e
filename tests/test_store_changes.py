"""Changes of the store with everything real: killed and restarted, an old copy put back, a replica promoted.

Workers are Celery processes from the Procfile's own line; wolkvox is the sandbox, which goes on working on a
call whose client has left, and counts overlaps on its side.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from faults.cast import ROOT, procfile_line
from integration.plan import request_from_fields
from integration.processes import spawn
from integration.recall import State
from integration.sandbox import Sandbox
from members import LEASE, Member, World
from support import ENVIRON, account, make_desk
from workers.lane import HELD, Claim

WORK = 2.7
"""How long the sandbox works on a call, in seconds; `server_limit_seconds` is 3, so a lease is 6 s."""
SHORT = "timeout_seconds = 1\nserver_limit_seconds = 3\n"
LONG = "timeout_seconds = 1\nserver_limit_seconds = 300\n"


class Plant:
    """A store of its own, workers, and the sandbox."""

    def __init__(self, folder, server, sandbox, more):
        self.folder = folder
        self.server = server
        self.sandbox = sandbox
        self.copy_folder = folder / "copy"
        self.text = account("bogota", sandbox.url, more=more)
        self.desk = self.fresh_desk()
        self.desk.bind()
        self.logs = []
        self.workers = []

    def fresh_desk(self):
        """A desk of a process that has seen nothing yet."""
        return make_desk(self.folder, self.server.client(), self.text)

    def start_worker(self, **more):
        log = self.folder / f"worker{len(self.logs)}.log"
        self.logs.append(log)
        environ = {
            **os.environ,
            **ENVIRON,
            "RINGBACK_CONFIG": str(self.folder / "ringback.toml"),
            "REDIS_URL": self.server.url,
            "WORKER_CONCURRENCY": "4",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **more,
        }
        for name in ("SENTRY_DSN", "BROKER_URL"):
            if name not in more:
                environ.pop(name, None)
        with log.open("ab") as out:
            command = ["sh", "-c", f"exec {procfile_line('worker')}"]
            self.workers.append(spawn(command, env=environ, cwd=ROOT, output=out))
        eventually(lambda: b" ready" in log.read_bytes(), "the worker")
        return self.workers[-1]

    def kill_workers(self):
        for worker in self.workers:
            worker.kill()
        self.workers.clear()

    def ask(self, customer="c1"):
        request = request_from_fields(
            self.desk.config.accounts["bogota"],
            campaign_id="10",
            customer_id=customer,
            recall_telephone="300 111 2233",
            recall_date=(datetime.now(UTC) + timedelta(days=1)).isoformat(),
            now=datetime.now(UTC),
            source="api:test",
        )
        return self.desk.admit_one(request, expired=None, key="", fingerprint="").answer.recalls[0]

    def state(self, recall):
        return self.desk.recalls.get(recall).state

    def copy_store(self):
        """Keep a copy of the store's folder as it is now."""
        self.server.kill()
        shutil.copytree(self.server.folder, self.copy_folder, ignore=shutil.ignore_patterns("*.sock"))
        self.server.start()

    def put_copy_back(self):
        """Let the store go on with the copy; gives when, in epoch seconds."""
        self.server.kill()
        shutil.rmtree(self.server.folder)
        shutil.copytree(self.copy_folder, self.server.folder)
        began = time.time()
        self.server.start()
        return began

    def calls(self):
        return [datetime.fromisoformat(call["received_at"]).timestamp() for call in self.sandbox.calls()]

    def reports(self):
        lines = [line for log in self.logs for line in log.read_text("utf-8", "replace").splitlines()]
        return [line for line in lines if "the store lost some of its history" in line]


def eventually(holds, what, seconds=60.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if holds():
                return
        except redis.RedisError:
            pass
        time.sleep(0.02)
    raise AssertionError(f"{what}: not after {seconds:g} s")


@pytest.fixture
def plant(tmp_path, start_valkey, request):
    with Sandbox() as sandbox:
        plant = Plant(tmp_path, start_valkey(), sandbox, getattr(request, "param", SHORT))
        yield plant
        plant.kill_workers()


def a_call_that_the_copy_does_not_know(plant):
    """A copy is made with a recall in the queue; then the recall is being pushed when the store ends."""
    plant.desk.pause("bogota", "until the copy is made")
    recall = plant.ask()
    plant.copy_store()
    plant.sandbox.add_rule(action="delay", seconds=WORK, times=1)
    plant.desk.resume("bogota")
    eventually(plant.calls, "the first call")
    return recall


@pytest.mark.timeout(180)
def test_with_an_old_copy_put_back_running_workers_call_nobody_before_the_quiet_time_is_over(plant):
    for _ in range(2):
        plant.start_worker()
    recall = a_call_that_the_copy_does_not_know(plant)
    back = plant.put_copy_back()
    plant.desk = plant.fresh_desk()
    plant.desk.resume("bogota")
    view = plant.desk.account("bogota")
    eventually(lambda: plant.desk.account("bogota").reason == HELD, "the reason")
    view = plant.desk.account("bogota")
    assert view.state == "waiting"
    assert back < view.until.timestamp() <= time.time() + 6
    eventually(lambda: plant.state(recall) is State.ACCEPTED, "the recall")
    first, *more = plant.calls()
    assert first < back
    assert more
    assert all(call >= view.until.timestamp() for call in more)
    assert plant.sandbox.stats()["overlaps"] == []
    assert len(plant.reports()) == 1
    assert "went back" in plant.reports()[0]


@pytest.mark.timeout(180)
def test_with_an_old_copy_put_back_while_all_is_down_a_file_remembers(plant):
    seen = {"RINGBACK_SEEN_FILE": str(plant.folder / "seen")}
    plant.start_worker(**seen)
    recall = a_call_that_the_copy_does_not_know(plant)
    # The claim is remembered with the next sweep.
    time.sleep(1.0)
    plant.kill_workers()
    back = plant.put_copy_back()
    plant.start_worker(**seen)
    plant.desk = plant.fresh_desk()
    plant.desk.resume("bogota")
    eventually(lambda: plant.state(recall) is State.ACCEPTED, "the recall")
    assert all(call < back or call >= back + 6 for call in plant.calls())
    assert plant.sandbox.stats()["overlaps"] == []
    assert len(plant.reports()) == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("plant", [LONG], indirect=True)
def test_a_store_that_is_killed_and_started_again_keeps_everything_and_costs_no_quiet_time(plant):
    """A quiet time would be over five minutes here: the test would not end in time."""
    plant.start_worker(RINGBACK_SEEN_FILE=str(plant.folder / "seen"))
    for n in range(3):
        recalls = [plant.ask(f"c{n}-{m}") for m in range(5)]
        plant.server.kill()
        plant.server.start()
        plant.desk.bind()
        eventually(lambda: all(plant.state(r) is State.ACCEPTED for r in recalls), "all recalls")  # noqa: B023
    plant.kill_workers()
    plant.server.kill()
    plant.server.start()
    plant.start_worker(RINGBACK_SEEN_FILE=str(plant.folder / "seen"))
    last = plant.ask("last")
    eventually(lambda: plant.state(last) is State.ACCEPTED, "the last one")
    assert plant.reports() == []
    assert plant.sandbox.stats()["overlaps"] == []


# --- a replica ---------------------------------------------------------------------------------


class Pair(World):
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

        eventually(same, "the replica")

    def fail_over(self, *members):
        """Let the replica take over as it is; the primary is gone."""
        self.replica_client.replicaof("NO", "ONE")
        self.primary.kill()
        for member in members:
            member.store.client = self.replica_client


@pytest.fixture
def pair(start_valkey):
    return Pair(start_valkey(), start_valkey())


def lag_behind(pair):
    """Stop the replica's stream, as a network that is too slow would."""
    pair.replica_client.replicaof("NO", "ONE")


def working(pair, *members):
    members[0].lanes.bind({"bogota": "L1", "lima": "L2"})
    for each in members:
        each.beat()
        each.sweep()


def test_a_failover_without_lag_costs_no_quiet_time(pair):
    one, two = Member(pair), Member(pair)
    working(pair, one, two)
    one.ask("c1")
    pair.in_step()
    pair.fail_over(one, two)
    assert one.acquire().kind == "wait"
    two.sweep()
    assert isinstance(one.acquire(), Claim)
    assert one.losses == two.losses == []


def test_a_failover_to_a_replica_that_lagged_holds_the_lanes(pair):
    one, two = Member(pair), Member(pair)
    working(pair, one, two)
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
    pair.passes(LEASE - 0.1)
    assert one.acquire().kind == "wait"
    pair.passes(0.1)
    assert isinstance(one.acquire(), Claim)
    assert one.losses == []
