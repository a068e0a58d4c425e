"""Web and worker from the Procfile's own lines, a store and the sandbox, as many as a test wants."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import redis

from integration.local.sandbox import Sandbox
from integration.local.supervisor import answers, free_port, wait_until
from integration.services.configuration import load_config
from support import ENVIRON, SOURCES_AND_ROUTES, account, sign
from support.procfile import ROOT, procfile_line

ACCOUNTS = 20
LIMITS = "timeout_seconds = 2\nserver_limit_seconds = 1\n"
AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
API_KEY = "api-key-of-the-journey-0123456789"


class System:
    """A store, a sandbox, and as many webs and workers as a test wants."""

    def __init__(self, folder, redis_url, sandbox):
        self.folder = folder
        self.sandbox = sandbox
        self.client = httpx.Client(trust_env=False, timeout=30)
        self.running = []
        self.log = folder / "log.txt"
        self.config_path = folder / "ringback.toml"
        self.environ = {
            **os.environ,
            **ENVIRON,
            "JOURNEY_KEY": API_KEY,
            "RINGBACK_CONFIG": str(self.config_path),
            "REDIS_URL": redis_url,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self.move_to_another_port()
        for n in range(ACCOUNTS):
            self.environ[f"TOKEN_A{n}"] = f"token-of-account-{n}-x"
        self.write_config()

    def write_config(self, more=""):
        names = ["bogota", "lima", *(f"a{n}" for n in range(ACCOUNTS))]
        text = "".join(account(name, self.sandbox.url, more=LIMITS) for name in names)
        routes = SOURCES_AND_ROUTES.replace("[api_keys]", '[api_keys]\njourney = "env:JOURNEY_KEY"')
        self.config_path.write_text(text + routes + more, "utf-8")

    def start(self, name):
        process = self.spawn(name)
        while name == "web" and not self.ready(process):
            # Somebody else took the port between its choice and its use.
            self.move_to_another_port()
            process = self.spawn(name)
        return process

    def spawn(self, name):
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["sh", "-c", f"exec {procfile_line(name)}"],
                env=self.environ,
                cwd=ROOT,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(process)
        return process

    def ready(self, process):
        wait_until(lambda: process.poll() is not None or answers(f"{self.url}/readyz"), 60, what="web")
        return process.poll() is None

    def move_to_another_port(self):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ["PORT"] = str(self.port)

    def stop(self):
        self.client.close()
        for process in self.running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.running:
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def api(self, method, path, **more):
        headers = {"Authorization": f"Bearer {API_KEY}", **more.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, trust_env=False, timeout=30, **more)

    def ask(self, customer, account_name="bogota", *, at=AT, campaign="10", phone="3001112233"):
        recall = {
            "account": account_name,
            "campaign_id": campaign,
            "customer_id": customer,
            "recall_telephone": phone,
            "recall_date": at,
        }
        answer = self.api("POST", "/v1/recalls", json=recall)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def post_signed(self, source, body, url_key=None, *, url=None, now=None):
        """Post as the source's sender does; `url` is another address to sign for."""
        address = f"{self.url}/hooks/{source}" + (f"/{url_key}" if url_key else "")
        settings = load_config(self.config_path, self.environ).sources[source]
        headers = sign(settings, body, url=url or address, now=now)
        return httpx.post(address, content=body, headers=headers, trust_env=False, timeout=30)

    def recall(self, recall_id):
        return self.api("GET", f"/v1/recalls/{recall_id}").json()

    def await_state(self, recall_id, state, seconds=60):
        wait_until(lambda: self.recall(recall_id)["state"] == state, seconds, what=f"{recall_id} {state}")

    def counted(self, state):
        found, cursor = 0, ""
        while True:
            page = self.api("GET", f"/v1/recalls?state={state}&limit=200{cursor}").json()
            found += len(page["items"])
            if page["next"] is None:
                return found
            cursor = f"&cursor={page['next']}"

    def no_overlap(self):
        stats = self.sandbox.stats()
        assert stats["overlaps"] == [], stats["overlaps"]
        assert set(stats["max_in_flight"].values()) <= {1}


databases = itertools.count(1)


@contextmanager
def running(folder, valkey, *names):
    # Systems that run side by side must not share a deliveries, so each has a database of its own.
    url = f"{valkey.url.rsplit('/', 1)[0]}/{next(databases)}"
    redis.Redis.from_url(url).flushdb()
    with Sandbox() as sandbox:
        system = System(folder, url, sandbox)
        try:
            for name in names:
                system.start(name)
            yield system
        finally:
            system.stop()
