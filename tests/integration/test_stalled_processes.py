"""A process that is stopped (SIGSTOP) is found and replaced: by `ringback up`, and by a container's health check."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import httpx
import pytest

from integration.domain.errors import RingbackError
from integration.local import health_check
from integration.local.embedded_store import EmbeddedStore
from integration.local.health_check import UnhealthyError, check, check_ticks
from integration.local.stack import (
    LOOPBACK,
    child_environment,
    listen,
    port_of,
    start_web,
    start_worker,
)
from integration.local.supervisor import Backoff, Program, Supervisor
from integration.telemetry.liveness import TickCounter, open_counter
from support import ENVIRON, SOURCES_AND_ROUTES, account, write_config
from support.procfile import ROOT
from support.reporters import SilentReporter
from support.waiting import is_gone, wait_until
from workers.sweeper import STALLED_SECONDS, Sweeper
from workers.tasks import count_tick
from workers.worker import Worker

PATIENCE_SECONDS = 120


class Machine:
    """What `ringback up` runs, with the sandbox for wolkvox."""

    def __init__(self, folder, sandbox, supervisor):
        self.lines = []
        self.store = EmbeddedStore(folder / "data")
        supervisor.start(self.store)
        config = write_config(folder, account("bogota", sandbox.url) + _FORMS)
        environ = {
            **os.environ,
            **ENVIRON,
            "RINGBACK_CONFIG": str(config),
            "RINGBACK_EPOCH_FILE": str(folder / "epoch"),
            "WEB_CONCURRENCY": "2",
        }
        environ.pop("BROKER_URL", None)
        environ = child_environment(environ, redis_url=self.store.url)
        self.listeners = listen(0, LOOPBACK), listen(0, LOOPBACK)
        self.worker = start_worker(supervisor, environ, self.lines.append)
        self.web, self.dashboard = start_web(
            supervisor,
            environ,
            listener=self.listeners[0],
            dashboard_listener=self.listeners[1],
            relay=self.lines.append,
        )
        self.url = f"http://{LOOPBACK}:{port_of(self.listeners[0])}"

    def ask(self, customer):
        """Ask for a callback; None while the web answers with an error or not at all."""
        recall = {
            "account": "bogota",
            "campaign_id": "10",
            "customer_id": customer,
            "recall_telephone": "3001112233",
            "recall_date": "2031-01-01T10:00:00",
        }
        headers = {"Authorization": f"Bearer {ENVIRON['ZAPIER_KEY']}", "Idempotency-Key": customer}
        try:
            answer = httpx.post(
                f"{self.url}/v1/recalls", json=recall, headers=headers, trust_env=False, timeout=20
            )
        except httpx.HTTPError:
            return None
        return answer.json()["id"] if answer.is_success else None

    def state(self, recall):
        headers = {"Authorization": f"Bearer {ENVIRON['ZAPIER_KEY']}"}
        try:
            answer = httpx.get(
                f"{self.url}/v1/recalls/{recall}", headers=headers, trust_env=False, timeout=20
            )
        except httpx.HTTPError:
            return None
        return answer.json().get("state")


_FORMS = SOURCES_AND_ROUTES[: SOURCES_AND_ROUTES.index("partner")] + (
    '[sources.forms]\nkind = "json"\nverify = "standard-webhooks"\nsecrets = ["env:FORMS_SECRET"]\n'
)


@pytest.mark.thorough
@pytest.mark.timeout(400)
def test_every_process_of_up_that_is_stopped_is_replaced_and_callbacks_go_on(tmp_path, sandbox):
    ended = []
    with Supervisor(restart=Backoff(), on_ended=ended.append) as supervisor:
        machine = Machine(tmp_path, sandbox, supervisor)
        before = wait_until(lambda: machine.ask("before"), PATIENCE_SECONDS, what="an answer")
        services = (machine.store, machine.worker, machine.web, machine.dashboard)
        stopped = [each.pid for each in services]
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        wait_until(
            lambda: all(map(is_gone, stopped)) and all(each.poll() is None for each in services),
            PATIENCE_SECONDS,
            what=lambda: str(ended),
        )
        after = wait_until(lambda: machine.ask("after"), PATIENCE_SECONDS, what="an answer")
        for recall in (before, after):
            wait_until(
                lambda r=recall: machine.state(r) == "accepted", PATIENCE_SECONDS, what=lambda: str(ended)
            )
    first = {each.name: each for each in reversed(ended)}
    assert set(first) == {"store", "worker", "web", "dashboard"}
    assert {(each.how, each.again_in_seconds) for each in first.values()} == {
        ("did not respond for 10 s and was killed", 0.0)
    }
    for listener in machine.listeners:
        listener.close()


COUNTS = """
import os, time
from integration.telemetry.liveness import open_counter
counter = open_counter(os.environ)
while True:
    counter.tick()
    time.sleep(0.2)
"""


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_without_restart_a_stopped_process_is_reported_and_killed():
    ended = []
    with Supervisor(on_ended=ended.append) as supervisor:
        program = Program("worker", [sys.executable, "-c", COUNTS], cwd=ROOT, relay=None, counts_ticks=True)
        supervisor.start(program)
        wait_until(program.ticks, PATIENCE_SECONDS, what="the first tick")
        os.kill(program.pid, signal.SIGSTOP)
        wait_until(lambda: ended, PATIENCE_SECONDS, what="its end")
        assert is_gone(program.pid)
        assert not supervisor.alive(program)
    assert str(ended[0]) == "worker did not respond for 10 s and was killed; not started again"


def test_a_stopped_store_counts_no_tick(tmp_path):
    with EmbeddedStore(tmp_path / "data") as store:
        first = store.ticks()
        assert store.ticks() > first > 0
        os.kill(store.pid, signal.SIGSTOP)
        before = store.ticks()
        assert store.ticks() == before
        os.kill(store.pid, signal.SIGCONT)
        wait_until(lambda: store.ticks() > before, PATIENCE_SECONDS, what="an answer")


# --- a container ------------------------------------------------------------------------------


def checked(path, *words):
    environ = {**os.environ, "RINGBACK_LIVENESS_FILE": str(path)}
    command = [sys.executable, "-m", "integration.local.health_check", *words]
    return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.thorough
@pytest.mark.timeout(120)
def test_the_health_check_of_a_container_kills_a_process_that_is_stopped(tmp_path):
    path = tmp_path / "ticks"
    environ = {**os.environ, "RINGBACK_LIVENESS_FILE": str(path)}
    process = subprocess.Popen([sys.executable, "-c", COUNTS], env=environ, cwd=ROOT)
    try:
        wait_until(lambda: checked(path).returncode == 0, PATIENCE_SECONDS, what="a healthy process")
        process.send_signal(signal.SIGSTOP)
        done = checked(path)
        assert (done.returncode, done.stderr) == (1, "the process did not respond for 10 s and was killed\n")
        assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_a_process_that_has_not_started_is_unhealthy_and_not_killed(tmp_path):
    path = tmp_path / "ticks"
    with pytest.raises(UnhealthyError, match="has not started"):
        check_ticks(path)
    open_counter({"RINGBACK_LIVENESS_FILE": str(path)})
    with pytest.raises(UnhealthyError, match="is starting"):
        check_ticks(path)


def test_a_stalled_process_that_is_pid_1_is_not_reported_as_killed(tmp_path, monkeypatch):
    path = tmp_path / "ticks"
    monkeypatch.setattr(os, "getpid", lambda: 1)
    open_counter({"RINGBACK_LIVENESS_FILE": str(path)}).tick()
    monkeypatch.setattr(health_check, "LOOK_SECONDS", 0)
    monkeypatch.setattr(os, "kill", lambda pid, _signal: pytest.fail(f"{pid} is killed"))
    with pytest.raises(UnhealthyError, match="is PID 1; run the container with --init"):
        check_ticks(path)


def test_a_process_that_counts_is_healthy(tmp_path):
    path = tmp_path / "ticks"
    counter = open_counter({"RINGBACK_LIVENESS_FILE": str(path)})
    counter.tick()
    done = threading.Event()

    def tick():
        while not done.wait(0.05):
            counter.tick()

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        check({"RINGBACK_LIVENESS_FILE": str(path)}, web=False)
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize(
    ("port", "words"), [("1", "Connection refused"), ("eighty", "a number from 1 to 65535")]
)
def test_with_web_the_port_of_the_environment_is_asked(port, words):
    with pytest.raises(RingbackError, match=words):
        check({"PORT": port}, web=True)


# --- the sweep --------------------------------------------------------------------------------


class Stopping:
    def __init__(self, *, is_set):
        self.is_set = lambda: is_set


@pytest.mark.parametrize(
    ("seconds", "stopping", "stalled"),
    [
        (None, False, False),
        (STALLED_SECONDS - 1, False, False),
        (STALLED_SECONDS, False, True),
        (STALLED_SECONDS, True, False),
    ],
)
def test_a_worker_whose_sweep_begins_no_step_for_a_minute_counts_no_tick(seconds, stopping, stalled):
    sweeper = object.__new__(Sweeper)
    sweeper._stopping = Stopping(is_set=stopping)
    sweeper._step_at = None if seconds is None else 1000.0
    counter = TickCounter()
    count_tick(counter, SimpleNamespace(sweeper=sweeper), 1000.0 + (seconds or 0))
    assert counter.value == (not stalled)


def test_a_worker_that_waits_for_the_store_counts_ticks():
    counter = TickCounter()
    count_tick(counter, None, 1000.0)
    assert counter.value == 1


def test_every_step_of_a_sweep_is_noted(services):
    sweeper = Worker(
        services.configuration.watch, services.store, services.wake_ups, SilentReporter()
    ).sweeper
    assert sweeper._step_at is None
    began = time.monotonic()
    sweeper._steps = (sweeper._stopping.set,)
    sweeper._run()
    assert sweeper._step_at >= began
