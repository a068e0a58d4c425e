"""Alerts while the processes that mind them are killed at random: each is told, and never as two."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from support import SOURCES_AND_ROUTES, make_services, two_accounts, url_of
from support.waiting import wait_until

pytestmark = pytest.mark.thorough

TESTS = Path(__file__).parent.parent
ROUNDS = 3
KILLS = 3

# One process that has loaded everything makes the others, on demand: loading it each time takes seconds.
FORKER = """
import os, signal, sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from datetime import timedelta
from pathlib import Path
from integration.services.configuration import watch_config
from support import ENVIRON
from support.reporters import SilentReporter
from integration.alerts import lifecycle, monitor
from integration.store.monitoring import alerts
from integration.services.container import Services
from integration.services.wakeup import WakeUpPublisher
from integration.store.client import Store, connect
alerts.ELECTED_SECONDS, alerts.HOLD_SECONDS, lifecycle.CLEAR_AFTER = 0.4, 0.6, timedelta(seconds=0.5)

def monitor_alerts():
    store = Store(connect({url!r}), kind="web")
    services = Services(watch_config(Path({config!r}), ENVIRON), store, WakeUpPublisher.silent())
    alert_monitor = monitor.AlertMonitor(services, store.process_id, SilentReporter())
    while True:
        alert_monitor.look()
        time.sleep(0.02)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)  # what it logs
        monitor_alerts()
    print(child, flush=True)
"""


class AlertMonitors:
    """Forked processes that evaluate the alert rules of one store, and are killed."""

    def __init__(self, folder, client, dice):
        config = str(folder / "ringback.toml")
        where = {"root": str(TESTS.parent), "tests": str(TESTS), "url": url_of(client), "config": config}
        self.forker = subprocess.Popen(
            [sys.executable, "-c", FORKER.format(**where)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1,
        )  # fmt: skip
        self.dice = dice
        self.living = []

    def start(self):
        self.forker.stdin.write("another\n")
        self.living.append(int(self.forker.stdout.readline()))

    def kill_one(self):
        os.kill(self.living.pop(self.dice.randrange(len(self.living))), signal.SIGKILL)

    def end(self):
        while self.living:
            self.kill_one()
        self.forker.stdin.close()
        self.forker.wait(10)


def test_killed_monitors_send_each_alert_once_and_none_as_two(tmp_path, store, receiver):
    seed = int(os.environ.get("SEED", random.randrange(10**6)))
    sys.stdout.write(f"SEED={seed}\n")
    dice = random.Random(seed)
    channel = f'[alerts.channels.chat]\nkind = "webhook"\nurl = "{receiver.url}"\n'
    rule = '[[alerts.rules]]\nkind = "queue-stopped"\n'
    services = make_services(tmp_path, store, two_accounts() + SOURCES_AND_ROUTES + channel + rule)
    services.binding.bind()
    queue = f"{{ringback}}:queue:{services.queues.bound()['bogota']}"
    monitors = AlertMonitors(tmp_path, store, dice)
    try:
        for _ in range(3):
            monitors.start()
        for number in range(1, ROUNDS + 1):
            for phase, stopped in (("begins", "for the test"), ("is over", "")):
                store.hset(queue, "stopped", stopped)
                for _ in range(KILLS):
                    time.sleep(dice.random() * 0.5)
                    receiver.answers = [500] * dice.randrange(2)
                    monitors.kill_one()
                    monitors.start()
                wait_until(lambda p=phase, n=number: len(ids(receiver, p)) >= n)
    finally:
        monitors.end()
    assert [len(ids(receiver, phase)) for phase in ("begins", "is over")] == [ROUNDS, ROUNDS]
    # Whoever dies between sending and noting it sends the same message again, under the same id and in its place.
    order = list(dict.fromkeys(body["id"] for body in receiver.bodies()))
    phases = [next(b["phase"] for b in receiver.bodies() if b["id"] == each) for each in order]
    assert phases == ["begins", "is over"] * ROUNDS
    assert datetime.now(UTC) > datetime.fromisoformat(receiver.bodies()[0]["since"])


def ids(receiver, phase):
    return {body["id"] for body in receiver.bodies() if body["phase"] == phase}
