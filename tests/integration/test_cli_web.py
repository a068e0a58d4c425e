"""`ringback web`: what is wrong is said once and ends the start; a store that is away does not."""

from __future__ import annotations

import os
import subprocess
import sys

import httpx
import pytest

from integration.local.child_process import spawn
from integration.local.supervisor import free_port, wait_until
from support import ENVIRON, write_config


def run(folder, redis_url, **more):
    environ = {
        **os.environ,
        **ENVIRON,
        "RINGBACK_CONFIG": str(write_config(folder)),
        "REDIS_URL": redis_url,
        "PORT": str(free_port()),
        **more,
    }
    return [sys.executable, "-m", "integration", "web"], environ


def test_an_unsafe_store_ends_the_start(tmp_path, start_valkey):
    store = start_valkey("--appendonly", "no", "--save", "")
    command, environ = run(tmp_path, store.url)
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "appendonly" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "eighty"), ("RINGBACK_CONFIG", "nowhere.toml"), ("RINGBACK_SERVE", "hooks,pages")],
)
def test_what_is_wrong_in_the_environment_ends_the_start(tmp_path, valkey, name, value):
    command, environ = run(tmp_path, valkey.url, **{name: value})
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert value in done.stderr


def test_it_is_connected_to_the_broker_before_the_first_webhook(tmp_path, start_valkey):
    store = start_valkey()
    command, environ = run(tmp_path, store.url)
    child = spawn(command, env=environ, output=subprocess.DEVNULL)
    try:
        with store.client() as client:
            queues = "{ringback}:celery:_kombu.binding.ringback"
            wait_until(lambda: client.exists(queues), 60, what="the queues are declared")
    finally:
        child.stop(15)


def test_with_the_store_away_it_starts_and_answers(tmp_path):
    command, environ = run(tmp_path, f"redis://127.0.0.1:{free_port()}/0")
    child = spawn(command, env=environ, output=subprocess.DEVNULL)
    try:
        wait_until(f"http://127.0.0.1:{environ['PORT']}/healthz", 60, alive=lambda: child.poll() is None)
    finally:
        child.stop(15)


def test_it_serves_what_it_is_told_to(tmp_path, start_valkey):
    command, environ = run(tmp_path, start_valkey().url, RINGBACK_SERVE="dashboard")
    child = spawn([*command, "--serve", "hooks"], env=environ, output=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{environ['PORT']}"
    try:
        wait_until(f"{address}/readyz", 60, what="the web", alive=lambda: child.poll() is None)
        found = {
            path: httpx.get(address + path, trust_env=False, timeout=30).status_code
            for path in ("/healthz", "/hooks/forms", "/v1/me", "/sign-in", "/metrics")
        }
        assert found == {
            "/healthz": 200,
            "/hooks/forms": 405,
            "/v1/me": 404,
            "/sign-in": 404,
            "/metrics": 404,
        }
    finally:
        child.stop(10)
