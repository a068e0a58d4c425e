"""Backup and restore of a running `ringback up`: its real processes, embedded store included."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from integration.local.sandbox import Sandbox, Settings
from integration.local.supervisor import answers, free_port
from integration.store.backup import RESTORED
from support import account
from support.cli_runner import Ringback
from support.waiting import wait_until

pytestmark = pytest.mark.thorough

SECRET = "a-bearer-secret-of-s-0123"
SOURCE = """
[sources.s]
kind = "json"
verify = "bearer"
secrets = "{secret}"

[[routes]]
name = "r"
source = "s"
account = "bogota"
campaign_id = "12345"
customer_id = "{{{{ event.id }}}}"
recall_telephone = "3001112233"
recall_date = "{{{{ now }}}}"
"""


class Stack:
    """`ringback up` with a data folder, a configuration and a wolkvox of its own."""

    def __init__(self, folder: Path, latency_ms: float) -> None:
        folder.mkdir()
        self.folder = folder
        self.sandbox = Sandbox(settings=Settings(latency_ms=latency_ms)).start()
        self.environ = {"RINGBACK_DATA_DIR": str(folder / "data")}
        self.process: subprocess.Popen[bytes] | None = None
        text = account("bogota", self.sandbox.url) + SOURCE.format(secret=SECRET)
        (folder / "ringback.toml").write_text(text, "utf-8")
        self.cli = Ringback(folder / "ringback.toml", self.environ)

    def start(self) -> None:
        self.port, dashboard = free_port(), free_port()
        environ = {**os.environ, **self.environ, "RINGBACK_CONFIG": str(self.cli.config)}
        environ |= {"TOKEN_BOGOTA": f"token-{self.folder.name}", "PORT": str(self.port)}
        for name in ("REDIS_URL", "BROKER_URL"):
            environ.pop(name, None)
        command = [str(Path(sys.executable).parent / "ringback"), "up", "--dashboard-port", str(dashboard)]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, env=environ, stdout=log, stderr=subprocess.STDOUT)
        wait_until(lambda: answers(f"http://127.0.0.1:{self.port}/readyz"), 60, what="the stack")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)

    def post(self, customer: str) -> str:
        """Return the recall's id."""
        url, headers = f"http://127.0.0.1:{self.port}/hooks/s", {"Authorization": f"Bearer {SECRET}"}
        answer = httpx.post(url, json={"id": customer}, headers=headers, trust_env=False, timeout=30)
        assert answer.status_code == 202, answer.text
        return answer.json()["recalls"][0]

    def recalls(self) -> dict[str, str]:
        """Return the state of each recall, by its id."""
        items = self.cli.json("recalls", "--all", "--reveal")["items"]
        return {item["id"]: item["state"] for item in items}

    def account(self) -> dict[str, object]:
        (found,) = self.cli.json("accounts")["items"]
        return found


@pytest.fixture
def stack_of(tmp_path):
    """Return a function that makes a stack; it is stopped after the test."""
    stacks = []

    def make(name: str, *, latency_ms: float = 0.0) -> Stack:
        stacks.append(Stack(tmp_path / name, latency_ms))
        return stacks[-1]

    yield make
    for stack in stacks:
        stack.stop()
        stack.sandbox.stop()


class Sender(threading.Thread):
    """Posts one webhook after the other until `stop`. `recalls` are those that were acknowledged."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.stack, self.recalls, self.fault = stack, [], None
        self.done = threading.Event()

    def run(self) -> None:
        try:
            while not self.done.is_set():
                self.recalls.append(self.stack.post(f"c{len(self.recalls)}"))
        except AssertionError as fault:
            self.fault = fault

    def stop(self) -> None:
        self.done.set()
        self.join(60)


def test_a_backup_of_a_running_stack_is_restored_into_a_new_one_that_waits_for_the_operator(
    stack_of, tmp_path
):
    first = stack_of("first", latency_ms=300)
    first.start()
    sender = Sender(first)
    sender.start()
    wait_until(lambda: len(sender.recalls) >= 20, 60, what="webhooks before the backup")
    before = list(sender.recalls)
    file = tmp_path / "backup"
    written = first.cli("backup", str(file))
    assert written.exit_code == 0, written.output
    during = len(sender.recalls)
    wait_until(lambda: len(sender.recalls) > during, 60, what="a webhook after the backup")
    sender.stop()
    assert sender.fault is None, "every webhook was acknowledged, also during the backup"
    assert set(first.recalls()) == set(sender.recalls)
    first.stop()

    second = stack_of("second")
    second.start()
    second.stop()
    refused = second.cli("restore", str(file))
    assert (refused.exit_code, "not empty" in refused.output) == (1, True), refused.output

    third = stack_of("third")
    back = third.cli("restore", str(file))
    assert back.exit_code == 0, back.output
    third.start()
    restored = third.recalls()
    assert set(before) <= set(restored) <= set(sender.recalls), "all of before, nothing invented"
    assert (third.account()["state"], third.account()["reason"]) == ("paused", RESTORED)
    new = third.post("a new customer")
    assert third.recalls()[new] == "queued"
    assert third.sandbox.stats()["count"] == 0, "nothing is sent before the operator confirms"
    assert third.account()["state"] == "paused"

    # A call that was running during the backup counts as running until its lease ends.
    waiting = [each for each, state in third.recalls().items() if state in {"queued", "pushing"}]
    assert len(waiting) > 1
    assert third.cli("restore", "--confirm").exit_code == 0
    wait_until(lambda: set(third.recalls().values()) == {"accepted"}, 60, what="the queued recalls")
    stats = third.sandbox.stats()
    assert (stats["accepted"], stats["overlaps"]) == (len(waiting), [])
