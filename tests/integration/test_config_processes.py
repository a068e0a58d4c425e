"""A configuration file that is damaged while real web and worker processes run."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path

import pytest

from integration.local.child_process import spawn
from support.cli_runner import Ringback
from support.procfile import ROOT, procfile_line
from support.real_web import running_web
from support.waiting import wait_until

DATABASE = 11
WEB_PROCESSES = 2
SOURCE = '[sources.forms]\nkind = "json"\nverify = "bearer"\nsecrets = ["secret-of-forms-1"]\n'
ROUTE = (
    '[[routes]]\nname = "form"\nsource = "forms"\naccount = "bogota"\ncampaign_id = "10"\n'
    'customer_id = "{{ event.customer }}"\nrecall_telephone = "{{ event.phone }}"\nrecall_date = "{{ event.at }}"\n'
)
FORM = {"customer": "1", "phone": "3001112233", "at": "2030-01-01T10:00:00-05:00"}


class RunningProcesses:
    """Two web processes and a worker that read one file."""

    def __init__(self, folder, web, url):
        self.path, self.web, self.url = folder / "ringback.toml", web, url
        self.whole = self.path.read_text("utf-8")
        self.worker_log = folder / "worker.log"
        environ = {
            **os.environ,
            "RINGBACK_CONFIG": str(self.path),
            "REDIS_URL": url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        environ.pop("BROKER_URL", None)
        with self.worker_log.open("ab") as log:
            command = ["sh", "-c", f"exec {procfile_line('worker')}"]
            self.worker = spawn(command, env=environ, cwd=ROOT, output=log)
        wait_until(lambda: b" ready" in self.worker_log.read_bytes(), 60, what="the worker")

    def wait_for(self, event, times=1):
        """Wait until each process has logged an event so often."""
        text = event.encode()
        wait_until(
            lambda: (
                self.web.log.read_bytes().count(text) >= WEB_PROCESSES * times
                and self.worker_log.read_bytes().count(text) >= times
            ),
            60,
            what=f"{event}, {times} times in each process",
        )

    def post_form(self, customer):
        request = urllib.request.Request(
            f"{self.web.url}/hooks/forms",
            data=json.dumps({**FORM, "customer": customer}).encode(),
            headers={"Content-Type": "application/json", "Authorization": "Bearer secret-of-forms-1"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())

    def readyz(self):
        with urllib.request.urlopen(f"{self.web.url}/readyz", timeout=60) as answer:
            return json.loads(answer.read())


@pytest.fixture
def processes(tmp_path, valkey):
    with running_web(tmp_path, valkey, DATABASE, SOURCE + ROUTE) as web:
        running = RunningProcesses(tmp_path, web, f"{valkey.url.rsplit('/', 1)[0]}/{DATABASE}")
        try:
            yield running
        finally:
            running.worker.kill()


def test_a_damaged_file_takes_nothing_away_from_running_processes(processes):
    assert len(processes.post_form("1")[1]["recalls"]) == 1
    processes.path.write_text(processes.whole[: processes.whole.index("[[routes]]")])
    processes.wait_for("removes what is in use")
    assert "[[routes]]" in processes.readyz()["warnings"][0]
    assert len(processes.post_form("2")[1]["recalls"]) == 1
    processes.path.write_text("")
    processes.wait_for("configuration rejected")
    processes.path.unlink()
    processes.wait_for("configuration rejected", times=2)
    assert len(processes.post_form("3")[1]["recalls"]) == 1
    processes.path.write_text(processes.whole)
    processes.wait_for("configuration valid again")
    assert processes.readyz()["warnings"] == []
    assert b"configuration loaded" not in processes.web.log.read_bytes()


def test_an_accepted_change_is_used_by_running_web_and_worker_processes(processes):
    processes.path.write_text(processes.whole[: processes.whole.index("[[routes]]")])
    processes.wait_for("removes what is in use")
    done = Ringback(processes.path, {"REDIS_URL": processes.url})("config", "accept")
    assert done.exit_code == 0, done.output
    processes.wait_for("configuration loaded")
    status, answer = processes.post_form("1")
    assert (status, answer["recalls"], answer["parked"]) == (202, [], 1)
