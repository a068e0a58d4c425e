"""The main job with everything real: web and worker from the Procfile's own lines, a store, the sandbox."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
import redis

from integration.config_file import load
from integration.processes import answers, free_port, wait_until
from integration.sandbox import Sandbox
from integration.sources import SOURCES
from support import ENVIRON, SOURCES_AND_ROUTES, account, as_bytes, hubspot_event

ROOT = Path(__file__).parent.parent.parent
ACCOUNTS = 20
LIMITS = "timeout_seconds = 2\nserver_limit_seconds = 1\n"
AT = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0).isoformat()
API_KEY = "api-key-of-the-journey-0123456789"


def procfile_line(name):
    for line in (ROOT / "Procfile").read_text("utf-8").splitlines():
        kind, _, command = line.partition(":")
        if kind.strip() == name:
            return command.strip()
    raise AssertionError(f"no {name} in the Procfile")


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

    def ask(self, customer, account_name="bogota"):
        recall = {
            "account": account_name,
            "campaign_id": "10",
            "customer_id": customer,
            "recall_telephone": "3001112233",
            "recall_date": AT,
        }
        answer = self.api("POST", "/v1/recalls", json=recall)
        assert answer.status_code == 202, answer.text
        return answer.json()["id"]

    def post_signed(self, source, body, url_key=None):
        settings = load(self.config_path, self.environ).sources[source]
        path = f"/hooks/{source}" + (f"/{url_key}" if url_key else "")
        headers = SOURCES[settings.kind].sign(
            body,
            settings,
            url=self.url + path,
            method="POST",
            message_id=f"msg_{time.time_ns()}",
            now=datetime.now(UTC),
        )
        return httpx.post(self.url + path, content=body, headers=headers, trust_env=False, timeout=30)

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
    # Systems that run side by side must not share a ledger, so each has a database of its own.
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


@pytest.fixture(scope="module")
def system(tmp_path_factory, valkey):
    with running(tmp_path_factory.mktemp("journey"), valkey, "web", "worker") as started:
        yield started


def test_every_source_ends_at_wolkvox(system):
    hubspot = system.post_signed("hubspot", as_bytes([hubspot_event(901, AT)]))
    form = system.post_signed("forms", as_bytes({"customer": "902", "phone": "3001112233", "at": AT}))
    direct = system.ask("903")
    assert (hubspot.status_code, form.status_code) == (202, 202)
    for recall in (hubspot.json()["recalls"][0], form.json()["recalls"][0], direct):
        system.await_state(recall, "accepted")
    customers = {call["body"]["customer_id"] for call in system.sandbox.calls()}
    assert {"901", "902", "903"} <= customers


def test_a_thousand_recalls_over_twenty_accounts_one_call_at_a_time_each(system):
    system.sandbox.settings.latency_ms = 5
    before = system.counted("accepted")
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda n: system.ask(f"many-{n}", f"a{n % ACCOUNTS}"), range(1000)))
    assert len(set(ids)) == 1000
    wait_until(lambda: system.counted("accepted") - before == 1000, 120, what="all accepted", every_seconds=1)
    system.no_overlap()
    system.sandbox.settings.latency_ms = 0


def test_a_worker_killed_in_a_call_loses_nothing_and_overlaps_nothing(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        system.sandbox.settings.latency_ms = 300
        first = system.start("worker")
        ids = [system.ask(f"k{n}", f"a{n % 3}") for n in range(12)]
        wait_until(lambda: system.sandbox.stats()["count"] >= 2, 60, what="calls under way")
        os.killpg(first.pid, signal.SIGKILL)
        system.start("worker")
        for recall in ids:
            system.await_state(recall, "accepted", 90)
        system.no_overlap()


def test_a_lost_doorbell_delays_work_and_loses_none(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        recall = system.ask("bell")
        client = redis.Redis.from_url(system.environ["REDIS_URL"])
        wait_until(lambda: client.keys("*celery:ringback*"), 30, what="the doorbell in the broker")
        client.delete(*client.keys("*celery*"))
        system.start("worker")
        system.await_state(recall, "accepted")


def test_a_changed_file_is_taken_up_and_a_faulty_one_refused_whole(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        # A process that only starts now has no old configuration to stay with, and would refuse to start.
        wait_until(lambda: system.log.read_text("utf-8").count("Started worker-") == 2, 60, what="both")
        system.write_config('\n[accounts.bad]\ntoken = ""\n')
        wait_until(lambda: httpx.get(f"{system.url}/readyz").status_code == 503, 30, what="the fault")
        system.ask("still-taken")
        system.write_config(account("cali", system.sandbox.url, token="token-of-cali-1"))
        wait_until(lambda: httpx.get(f"{system.url}/readyz").status_code == 200, 30, what="the mended file")
        wait_until(
            lambda: system.api("GET", "/v1/accounts/cali").status_code == 200, 30, what="the new account"
        )


def test_a_warm_shutdown_ends_the_worker_in_order(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        worker = system.start("worker")
        system.await_state(system.ask("before"), "accepted")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def raw(system, *parts):
    with socket.create_connection(("127.0.0.1", system.port), timeout=20) as sock:
        try:
            for part in parts:
                sock.sendall(part)
        except OSError:
            pass
        answer = b""
        while b"\r\n\r\n" not in answer and (part := sock.recv(65536)):
            answer += part
        return int(answer.split()[1])


def test_a_chunked_body_over_the_limit_is_413_and_under_it_is_read(system):
    head = b"POST /hooks/forms HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    over = raw(system, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 17, b"0\r\n\r\n")
    assert over == 413
    under = raw(system, head + b"Transfer-Encoding: chunked\r\n\r\n", chunk * 2, b"0\r\n\r\n")
    assert under == 401


def test_a_length_over_the_limit_is_413_without_reading_it(system):
    head = b"POST /hooks/forms HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n"
    assert raw(system, head, b"{}") == 413


@pytest.mark.parametrize(
    "headers", [b"webhook-id: a\r\nwebhook-id: b\r\n", b"webhook-signature: v1,\xff\xfe\r\n"]
)
def test_strange_headers_are_refused(system, headers):
    head = b"POST /hooks/forms HTTP/1.1\r\nHost: x\r\n" + headers + b"Content-Length: 2\r\n\r\n{}"
    assert raw(system, head) in (400, 401)


def test_no_secret_and_no_number_is_in_the_logs(system):
    system.await_state(system.ask("customer-in-no-log"), "accepted")
    said = system.log.read_text("utf-8", "replace")
    assert json.dumps("pushed")[1:-1] in said
    for word in ("3001112233", "customer-in-no-log", API_KEY, "token-of-", ENVIRON["FORMS_SECRET"]):
        assert word not in said
