"""Webhooks go on while strangers post huge forms and viewers try the heaviest templates.

It prints how long the webhooks took. That depends on the machine, so it decides nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from support.dashboard_users import ANA, CHEAP
from support.hook_client import AT
from support.real_web import ROOT, running_web

pytestmark = pytest.mark.thorough

SECONDS = float(os.environ.get("ATTACK_SECONDS", "20"))
CONNECTIONS = 64
VIEWERS = ("ana", "eva", "luis", "mar")
PER_SECOND = 20
SECRET = "a-secret-of-forms-1"
MOST_MEMORY_BYTES = 500 * 1024 * 1024
WEB_PROCESSES = 2
SETTINGS = """
[sources.forms]
kind = "json"
verify = "bearer"
secrets = ["a-secret-of-forms-1"]

[[routes]]
name = "form"
source = "forms"
account = "bogota"
campaign_id = "10"
customer_id = "{{ event.customer }}"
recall_telephone = "{{ event.phone }}"
recall_date = "{{ event.at }}"
""" + "".join(f'[users.{name}]\npassword = "{CHEAP.hash(ANA)}"\nrole = "viewer"\n' for name in VIEWERS)


class Memory(threading.Thread):
    """Looks at the memory of the processes of a group. `most` is the most of each, in bytes, by its program."""

    def __init__(self, group):
        super().__init__(daemon=True)
        self._group, self._ended = group, threading.Event()
        self.most, self.programs = {}, {}

    def run(self):
        while not self._ended.wait(0.1):
            for folder in Path("/proc").glob("[0-9]*"):
                with suppress(OSError, IndexError):
                    fields = (folder / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[2]) == self._group:
                        pid, used = int(folder.name), int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
                        self.most[pid] = max(used, self.most.get(pid, 0))
                        program = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                        self.programs[pid] = "fork server" if "isolated_work" in program else "web"

    def stop(self):
        self._ended.set()
        self.join()

    def alive(self, program):
        """Return the processes of a program that are alive."""
        return [
            pid for pid, name in self.programs.items() if name == program and Path(f"/proc/{pid}").exists()
        ]


def sign_in(web, name):
    """Return the headers of a signed-in user."""
    with httpx.Client(base_url=web.url, trust_env=False, timeout=60) as client:
        token = re.search(r'"X-CSRFToken": "([^"]+)"', client.get("/sign-in").text)[1]
        answer = client.post("/sign-in", data={"name": name, "password": ANA}, headers={"X-CSRFToken": token})
        assert answer.status_code == 303
        token = re.search(r'"X-CSRFToken": "([^"]+)"', client.get("/studio").text)[1]
        return {
            "Cookie": f"ringback={client.cookies['ringback']}",
            "X-CSRFToken": token,
            "HX-Request": "true",
        }


class Webhooks:
    """Sends webhooks at a steady rate, each at its time, whether or not the earlier ones are answered."""

    def __init__(self, web):
        self._web = web
        self.answers = []

    def send(self, seconds):
        with (
            httpx.Client(trust_env=False, timeout=60, limits=httpx.Limits(max_connections=64)) as client,
            ThreadPoolExecutor(64) as threads,
        ):
            started = time.monotonic()
            for number in range(int(seconds * PER_SECOND)):
                due = started + number / PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                threads.submit(self._send, client, number, due)

    def _send(self, client, number, due):
        event = {"customer": f"c{number}", "phone": "3001112233", "at": AT}
        headers = {"Authorization": f"Bearer {SECRET}"}
        try:
            status = client.post(f"{self._web.url}/hooks/forms", json=event, headers=headers).status_code
        except httpx.HTTPError as error:
            status = type(error).__name__
        self.answers.append((status, time.monotonic() - due))

    @property
    def statuses(self):
        return Counter(status for status, _ in self.answers)

    def figures(self):
        ordered = sorted(seconds for _, seconds in self.answers)
        return {
            name: round(ordered[int(len(ordered) * part)], 3) for name, part in (("p50", 0.5), ("p99", 0.99))
        } | {"max": round(ordered[-1], 3)}


def test_webhooks_go_on_during_an_attack(tmp_path, valkey):
    with running_web(tmp_path, valkey, 5, SETTINGS) as web:
        viewers = [sign_in(web, name) for name in VIEWERS]
        memory = Memory(web.process.pid)
        memory.start()
        attack = {"port": web.port, "seconds": SECONDS, "forms": CONNECTIONS, "viewers": viewers}
        attackers = subprocess.Popen(
            [sys.executable, "-m", "faults.attackers", json.dumps(attack)],
            cwd=ROOT / "tests",
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            webhooks = Webhooks(web)
            webhooks.send(SECONDS)
            answered = json.loads(attackers.communicate(timeout=120)[0])
        finally:
            attackers.kill()
            memory.stop()
        most = {
            name: max(memory.most[pid] for pid in memory.most if memory.programs[pid] == name)
            for name in ("web", "fork server")
        }
        sys.stdout.write(f"\nwebhooks: {webhooks.figures()} s, {dict(webhooks.statuses)}\n")
        sys.stdout.write(
            f"attackers: {answered}; memory: { {name: used >> 20 for name, used in most.items()} } MiB\n"
        )
        assert webhooks.statuses == {202: int(SECONDS * PER_SECOND)}
        assert answered["forms"].keys() <= {"400", "413", "503", "closed"}
        assert answered["drafts"].keys() <= {"422", "429", "503", "left"}
        assert answered["drafts"].get("422", 0) + answered["drafts"].get("429", 0) > 0
        assert max(most.values()) < MOST_MEMORY_BYTES
        assert len(memory.alive("fork server")) <= WEB_PROCESSES, "no work goes on after its client has left"
