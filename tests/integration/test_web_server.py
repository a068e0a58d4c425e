"""A web process that hangs is replaced, the others answer meanwhile, and connections wait for a restart."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import httpx
import pytest

from integration.local.stack import LOOPBACK, listen, port_of, web_command
from integration.local.supervisor import Backoff, Program, Supervisor
from support.hanging_web import BUSY_SECONDS
from support.real_web import ROOT
from support.waiting import wait_until

PATIENCE_SECONDS = 90
REQUESTS = 40


class HangingWeb:
    def __init__(self, supervisor, processes):
        self.lines = []
        self.listener = listen(0, LOOPBACK)
        self.url = f"http://{LOOPBACK}:{port_of(self.listener)}"
        environ = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "WEB_CONCURRENCY": str(processes)}
        self.program = Program(
            "web",
            [*web_command(self.listener), "--app", "support.hanging_web:create_app"],
            env=environ,
            cwd=ROOT,
            relay=self.lines.append,
            listener=self.listener,
        )
        supervisor.start(self.program)
        assert len(self.answering(processes)) == processes

    def ask(self, path="/", timeout=float(PATIENCE_SECONDS)):
        """Return the pid of the process that answered, on a connection of its own."""
        return int(httpx.get(self.url + path, trust_env=False, timeout=timeout).text)

    def answering(self, least, without=None):
        """Return the pids of the processes that answer, when there are at least so many."""
        end = time.monotonic() + PATIENCE_SECONDS
        pids = set()
        while len(pids) < least and time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                pids.add(self.ask(timeout=1.0))
                pids.discard(without)
        assert len(pids) >= least, self.lines
        return pids

    def hang(self, path):
        with contextlib.suppress(httpx.HTTPError):
            self.ask(path, timeout=0.5)


@pytest.fixture(scope="module")
def web():
    """A web of two processes. Each test leaves two that answer."""
    with Supervisor(restart=Backoff()) as supervisor:
        web = HangingWeb(supervisor, 2)
        yield web
    web.listener.close()


@pytest.mark.timeout(200)
def test_processes_whose_loops_stand_still_are_replaced(web):
    for path in ("/blocks-the-loop", "/holds-the-lock"):
        before = web.answering(2)
        web.hang(path)
        wait_until(lambda b=before: len(b & web.answering(2)) == 1, PATIENCE_SECONDS, what=path)
    log = "\n".join(web.lines)
    assert "hanging_web.py" in log  # the frames
    assert "a-value-3001112233" not in log
    assert log.count("a web process has stalled and is replaced") == 2


@pytest.mark.timeout(200)
def test_while_a_process_is_stopped_the_other_one_answers_everybody_until_it_is_replaced(web):
    stopped, other = web.answering(2)
    os.kill(stopped, signal.SIGSTOP)
    # A connection that waits for the stopped process would wait until it is replaced, and be reset then.
    assert {web.ask() for _ in range(REQUESTS)} == {other}
    assert web.answering(2, without=stopped) > {other}
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


@pytest.mark.timeout(200)
def test_processes_that_are_busy_are_not_replaced(web):
    before = web.answering(2)
    busy = [threading.Thread(target=web.ask, args=("/runs",)) for _ in range(4)]
    began = time.monotonic()
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join()
    assert time.monotonic() - began >= BUSY_SECONDS
    assert web.answering(2) == before


@pytest.mark.timeout(200)
def test_no_connection_is_refused_while_a_killed_web_is_started_again(web):
    before = web.answering(2)
    os.kill(web.program.pid, signal.SIGKILL)
    for _ in range(REQUESTS):
        # One of the old processes may answer, until it notices that its parent is gone. What it has accepted at
        # that moment gets no answer, and its sender sends it again. ConnectError is what must not happen.
        with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
            web.ask()
    wait_until(lambda: before.isdisjoint(web.answering(2)), PATIENCE_SECONDS, what="two new processes")
