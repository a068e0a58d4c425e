"""The main job with everything real: web and worker from the Procfile's own lines, a store, the sandbox."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import redis

from integration.local.supervisor import wait_until
from support import ENVIRON, account, as_bytes, hubspot_event
from support.system import ACCOUNTS, API_KEY, AT, running


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


@pytest.mark.thorough
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


def test_a_lost_wake_up_delays_work_and_loses_none(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        recall = system.ask("bell")
        client = redis.Redis.from_url(system.environ["REDIS_URL"])
        wait_until(lambda: client.keys("*celery:ringback*"), 30, what="the wake-up in the broker")
        client.delete(*client.keys("*celery*"))
        system.start("worker")
        system.await_state(recall, "accepted")


def test_a_changed_file_is_taken_up_and_a_faulty_one_refused_whole(tmp_path, valkey):
    with running(tmp_path, valkey, "web") as system:
        # A process that only starts now has no old configuration to stay with, and would refuse to start.
        wait_until(lambda: system.log.read_text("utf-8").count("Started worker-") == 2, 60, what="both")
        system.write_config('\n[accounts.bad]\ntoken = ""\n')
        wait_until(lambda: readiness_warnings(system), 30, what="the fault")
        system.ask("still-taken")
        system.write_config(account("cali", system.sandbox.url, token="token-of-cali-1"))
        wait_until(lambda: not readiness_warnings(system), 30, what="the mended file")
        wait_until(
            lambda: system.api("GET", "/v1/accounts/cali").status_code == 200, 30, what="the new account"
        )


def readiness_warnings(system):
    answer = httpx.get(f"{system.url}/readyz")
    assert answer.status_code == 200
    return answer.json()["warnings"]


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
