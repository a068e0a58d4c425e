"""A web process that hangs is replaced; one that was only held up is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time

import httpx
import pytest

from integration.local.stack import web_command
from integration.local.supervisor import free_port, wait_until
from support.hanging_web import SECONDS
from support.real_web import ROOT

PATIENCE_SECONDS = 60


class HangingWeb:
    def __init__(self, folder):
        self.port = free_port()
        self.log = folder / "log.txt"
        words = {"integration.asgi:create_app": "support.hanging_web:create_app"}
        command = [words.get(word, word) for word in web_command(self.port, {"WEB_CONCURRENCY": "1"})]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wait()

    def wait(self):
        alive = self.process.poll
        wait_until(f"http://127.0.0.1:{self.port}/", PATIENCE_SECONDS, alive=lambda: alive() is None)

    def ask(self, path="/", timeout=10.0):
        """Return the pid of the process that answered."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False, timeout=timeout)
        return int(answer.text)

    def successor(self, pid):
        """Return the pid of the process that answers instead of `pid`."""
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                if (now := self.ask(timeout=1.0)) != pid:
                    return now
            time.sleep(0.2)
        raise AssertionError(self.log.read_text("utf-8"))


@pytest.fixture
def web(tmp_path):
    web = HangingWeb(tmp_path)
    yield web
    with contextlib.suppress(ProcessLookupError):
        os.killpg(web.process.pid, signal.SIGKILL)
    web.process.wait(20)


def hang(web, path):
    with contextlib.suppress(httpx.HTTPError):
        web.ask(path, timeout=0.5)


@pytest.mark.timeout(200)
@pytest.mark.parametrize("path", ["/blocks-the-loop", "/holds-the-lock"])
def test_a_process_whose_loop_stands_still_is_replaced(web, path):
    first = web.ask()
    hang(web, path)
    assert web.successor(first) != first
    said = web.log.read_text("utf-8")
    assert "hanging_web.py" in said  # the frames
    assert "a-value-3001112233" not in said
    if path == "/blocks-the-loop":
        assert "the event loop has stalled; this process ends" in said


@pytest.mark.timeout(200)
def test_a_process_that_was_stopped_or_is_busy_is_not_replaced(web):
    first = web.ask()
    os.kill(first, signal.SIGSTOP)
    time.sleep(SECONDS * 1.5)
    os.kill(first, signal.SIGCONT)
    busy = [threading.Thread(target=web.ask, args=("/runs", PATIENCE_SECONDS)) for _ in range(4)]
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join()
    assert web.ask() == first
