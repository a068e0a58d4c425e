"""The files that deploy Ringback agree with the code, with each other, and with what the README names."""

from __future__ import annotations

import fnmatch
import importlib
import json
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
import redis
from celery.bin.celery import celery as celery_command

from integration.cli.processes.sandbox import sandbox as sandbox_command
from integration.config.environment import LIVENESS_FILE
from integration.local import health_check
from integration.local.child_process import spawn
from integration.local.embedded_store import find_server
from integration.local.supervisor import wait_until
from integration.server import APPLICATION, SETTINGS
from integration.server import main as server_command
from integration.store.durability import assure
from support.worker_processes import WorkerProcesses

ROOT = Path(__file__).parent.parent.parent


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def procfile() -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text("Procfile").splitlines())


def expanded(line: str, **environ: str) -> list[str]:
    """Give a line's words as a shell would, with nothing but these variables set."""
    script = f'set -- {line}\nfor word in "$@"; do printf "%s\\n" "$word"; done'
    done = subprocess.run(
        ["/bin/sh", "-c", script], env=environ, capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout.splitlines()


def options(command: click.Command, words: list[str]) -> dict:
    """Read words as the program itself would, without starting it."""
    return command.make_context(words[0], words[1:]).params


# --- YAML, as much of it as the compose file uses ----------------------------------------------


def read_yaml(lines: list[str]) -> object:
    rows = [(len(row) - len(row.lstrip()), row.strip()) for row in lines if row.strip()]
    rows = [row for row in rows if not row[1].startswith("#")]
    anchors: dict[str, dict] = {}
    value, rest = _block(rows, anchors)
    assert not rest, rest[0]
    return value


def _block(rows: list, anchors: dict) -> tuple[object, list]:
    indent = rows[0][0]
    if rows[0][1].startswith("- "):
        return _sequence(rows, indent, anchors)
    return _mapping(rows, indent, anchors)


def _sequence(rows: list, indent: int, anchors: dict) -> tuple[list, list]:
    found = []
    while rows and rows[0][0] == indent and rows[0][1].startswith("- "):
        first = rows[0][1][2:]
        if re.match(r"[\w-]+:( |$)", first):
            value, rows = _mapping([(indent + 2, first), *rows[1:]], indent + 2, anchors)
        else:
            value, rows = _scalar(first), rows[1:]
        found.append(value)
    return found, rows


def _mapping(rows: list, indent: int, anchors: dict) -> tuple[dict, list]:
    found: dict = {}
    merged: dict = {}
    while rows and rows[0][0] == indent:
        key, _, value = rows[0][1].partition(":")
        assert key not in found, f"{key} comes twice"
        value, rows = value.strip(), rows[1:]
        if key == "<<":
            merged = anchors[value.removeprefix("*")]
        elif value and not value.startswith("&"):
            found[key] = _scalar(value)
        elif rows and rows[0][0] > indent:
            found[key], rows = _block(rows, anchors)
            anchors[value.removeprefix("&")] = found[key]
        else:
            found[key] = None
    return {**merged, **found}, rows


def _scalar(word: str) -> object:
    if word[0] in '["':
        return json.loads(word)
    return {"true": True, "false": False}.get(word, word)


@pytest.fixture(scope="module")
def compose() -> dict:
    return read_yaml(text("docker-compose.yml").splitlines())


# --- the Procfile ------------------------------------------------------------------------------


def test_the_procfile_has_web_and_worker():
    assert set(procfile()) == {"web", "worker"}


def test_the_web_takes_its_processes_and_its_log_level_from_the_environment(monkeypatch):
    assert procfile()["web"] == "ringback web"
    words = ["server", "--fd", "3"]
    monkeypatch.delenv("WEB_CONCURRENCY", raising=False)
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    unset = options(server_command, words)
    assert (unset["fd"], unset["processes"], unset["log_level"]) == (3, 2, "INFO")
    monkeypatch.setenv("WEB_CONCURRENCY", "5")
    monkeypatch.setenv("LOG_LEVEL", "warning")
    found = options(server_command, words)
    assert (found["processes"], found["log_level"]) == (5, "WARNING")


def test_the_web_is_the_factory_that_exists():
    module, _, name = APPLICATION.partition(":")
    assert SETTINGS["factory"]
    assert SETTINGS["interface"] == "asgi"
    assert callable(getattr(importlib.import_module(module), name))


def test_the_web_logs_no_requests_as_a_path_may_hold_a_url_key():
    assert SETTINGS["log_access"] is False


def test_the_web_ends_within_ten_seconds_and_comes_back_when_it_crashes():
    assert 1 <= SETTINGS["workers_kill_timeout"] < 10
    assert SETTINGS["respawn_failed_workers"]


def test_the_web_keeps_more_connections_than_slow_senders_will_open():
    """A connection that dribbles costs no thread, but counts towards the backpressure of its process."""
    assert SETTINGS["backpressure"] >= 4096


def test_heads_that_never_end_cannot_fill_the_memory():
    """So many connections, each with as much of a head as it may hold, are 256 MiB and gone in 30 s."""
    http1 = SETTINGS["http1_settings"]
    assert SETTINGS["backpressure"] * http1.max_buffer_size <= 256 * 1024 * 1024
    assert http1.header_read_timeout <= 30_000


def test_the_worker_takes_its_threads_and_its_log_level_from_the_environment():
    line = procfile()["worker"]
    assert worker_options(expanded(line))["concurrency"] == "32"
    given = worker_options(expanded(line, WORKER_CONCURRENCY="4", LOG_LEVEL="WARNING"))
    assert (given["concurrency"], given["loglevel"]) == ("4", logging.WARNING)


def worker_options(words: list[str]) -> dict:
    at = words.index("worker")
    assert words[:at] == ["celery", "--quiet", "--app", "workers.celery_app"]
    worker = celery_command.commands["worker"]
    parser = worker.make_parser(click.Context(worker))
    found, left, _ = parser.parse_args(words[at + 1 :])
    assert not left
    kinds = {option.name: option.type for option in worker.params}
    context = click.Context(worker)
    return {name: kinds[name].convert(value, None, context) for name, value in found.items()}


def test_the_worker_is_the_celery_app_that_exists():
    from integration.celery_app import app

    assert app.conf.worker_pool == "threads"


def test_workers_do_not_talk_to_each_other():
    words = expanded(procfile()["worker"])
    assert {"--without-gossip", "--without-mingle"} <= set(words)


# --- the image ---------------------------------------------------------------------------------


def instructions(kind: str) -> list[str]:
    joined = text("Dockerfile").replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in joined.splitlines() if line.startswith(kind + " ")]


def test_the_image_starts_the_procfiles_web():
    [command] = instructions("CMD")
    assert json.loads(command) == procfile()["web"].split()


def test_the_image_runs_as_a_user_that_is_not_root():
    [user] = instructions("USER")
    assert int(user) > 0
    assert text("Dockerfile").index("\nUSER ") > text("Dockerfile").rindex("\nFROM ")


def test_the_image_installs_the_lock_file_with_its_hashes_checked():
    installs = [line for line in instructions("RUN") if "pip install" in line]
    assert "--require-hashes" in installs[0]
    assert "requirements.lock" in installs[0]
    assert all("--no-deps" in line for line in installs[1:])


def test_the_image_pins_the_minor_version_of_a_python_that_ringback_takes():
    [python] = instructions("ARG")
    minor = int(re.fullmatch(r"PYTHON=3\.(\d+)-slim-[a-z]+", python)[1])
    assert minor >= 11
    assert all("${PYTHON}" in image for image in instructions("FROM"))


def test_the_image_holds_no_configuration_and_no_secret():
    assert not re.search(r"(?i)(token|secret|password|dsn)\s*=", text("Dockerfile"))
    for source in instructions("COPY"):
        assert ". ." not in source
    for private in ("ringback.toml", ".env", ".ringback/dump", "config/ringback.toml", ".git/config"):
        assert not in_context(private)
    for needed in (
        "requirements.lock",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "integration/store/lua/queue.lua",
    ):
        assert in_context(needed)
        assert (ROOT / needed).exists()


def in_context(path: str) -> bool:
    """Tell whether a file is sent to the image's build; the last rule that matches decides."""
    sent = True
    for rule in text(".dockerignore").splitlines():
        pattern = rule.removeprefix("!").removeprefix("**/")
        parents = ["/".join(path.split("/")[: n + 1]) for n in range(path.count("/") + 1)]
        if rule and not rule.startswith("#") and any(fnmatch.fnmatch(p, pattern) for p in parents):
            sent = rule.startswith("!")
    return sent


def test_what_the_image_copies_is_sent_to_its_build():
    for line in instructions("COPY"):
        if not line.startswith("--from"):
            assert all(in_context(source) and (ROOT / source).exists() for source in line.split()[:-1])


def test_the_health_check_asks_healthz_on_the_port_of_the_environment():
    [check] = instructions("HEALTHCHECK")
    program = json.loads(check[check.index("[") :])
    assert program == ["python", "-m", health_check.__name__, "--web"]
    with_port = subprocess.run(
        [sys.executable, *program[1:]], env={"PORT": "1"}, cwd=ROOT, capture_output=True, check=False
    )
    assert with_port.returncode == 1
    assert b"/healthz on port 1: [Errno 111] Connection refused" in with_port.stderr


# --- compose -----------------------------------------------------------------------------------


def test_compose_has_the_store_both_roles_and_the_sandbox(compose):
    roles = {"web", "dashboard", "worker"}
    assert set(compose["services"]) == {"valkey", "sandbox", *roles}
    assert compose["services"]["sandbox"]["profiles"] == ["sandbox"]
    assert all("profiles" not in compose["services"][name] for name in ("valkey", *roles))


def test_compose_publishes_on_this_machine_only_and_every_process_has_a_health_check(compose):
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert service["mem_limit"]
    # The image has the health check of web and dashboard. Each container has a /tmp of its own.
    for name in ("web", "dashboard"):
        assert "healthcheck" not in compose["services"][name]
    check = compose["services"]["worker"]["healthcheck"]["test"]
    assert check == ["CMD", "python", "-m", health_check.__name__]
    for name in ("web", "dashboard", "worker"):
        assert compose["services"][name]["environment"][LIVENESS_FILE] == "/tmp/liveness"
        assert compose["services"][name]["tmpfs"] == ["/tmp"]


def test_compose_serves_the_dashboard_by_itself_and_to_this_machine_only(compose):
    web, dashboard = compose["services"]["web"], compose["services"]["dashboard"]
    assert web["environment"]["RINGBACK_SERVE"] == "hooks,api"
    assert dashboard["environment"]["RINGBACK_SERVE"] == "dashboard"
    assert (
        dashboard["environment"]["RINGBACK_HOOKS_URL"]
        == "${RINGBACK_HOOKS_URL:-http://127.0.0.1:${PORT:-8080}}"
    )
    assert all(port.startswith("127.0.0.1:") for port in dashboard["ports"])


def test_the_store_forgets_nothing_and_is_open_to_nobody_outside(compose):
    valkey = compose["services"]["valkey"]
    assert "ports" not in valkey
    assert valkey["volumes"] == ["valkey:/data"]
    assert "valkey" in compose["volumes"]
    assert "ping" in valkey["healthcheck"]["test"][1]


def test_the_store_keeps_what_it_acknowledges_and_wants_its_password(compose, tmp_path, monkeypatch):
    """The command as it is written, with the server of this machine in place of the image's."""
    (tmp_path / "valkey-server").symlink_to(find_server())
    entry = tmp_path / "docker-entrypoint.sh"
    entry.write_text(f'#!/bin/sh\nexec "$@" --port 0 --dir {tmp_path} --unixsocket {tmp_path}/s\n', "utf-8")
    entry.chmod(0o755)
    command = [word.replace("$$", "$") for word in compose["services"]["valkey"]["command"]]
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STORE_MEMORY": "64mb", "STORE_PASSWORD": "geheim"}
    child = spawn(command, env=environ, output=subprocess.DEVNULL)
    try:
        with (
            redis.Redis.from_url(f"unix://{tmp_path}/s") as stranger,
            redis.Redis.from_url(f"unix://:geheim@{tmp_path}/s") as client,
        ):
            wait_until((tmp_path / "s").exists, 60, what="the store")
            with pytest.raises(redis.AuthenticationError):
                stranger.ping()
            assure(client, accept_loss=False)
            assert client.config_get("maxmemory") == {"maxmemory": "67108864"}
            assert b"geheim" not in Path(f"/proc/{child.pid}/cmdline").read_bytes()
    finally:
        child.stop(10)


def test_web_and_worker_use_that_store_and_one_configuration(compose):
    for name in ("web", "dashboard", "worker"):
        service = compose["services"][name]
        assert service["environment"]["REDIS_URL"] == "redis://:${STORE_PASSWORD}@valkey:6379/0"
        [mount] = service["volumes"]
        assert mount["read_only"] is True
        assert service["environment"]["RINGBACK_CONFIG"] == f"{mount['target']}/ringback.toml"
        assert service["depends_on"] == {"valkey": {"condition": "service_healthy"}}


def test_composes_worker_is_the_procfiles(compose):
    command = [word.replace("$$", "$") for word in compose["services"]["worker"]["command"]]
    assert command == ["sh", "-c", f"exec {procfile()['worker']}"]
    assert "command" not in compose["services"]["web"]


def test_web_is_reached_on_the_port_that_it_listens_on(compose):
    web = compose["services"]["web"]
    assert web["ports"] == [f"127.0.0.1:${{PORT:-8080}}:{web['environment']['PORT']}"]


@pytest.mark.thorough
@pytest.mark.timeout(200)
def test_composes_health_check_of_a_worker_kills_one_that_is_stopped(
    compose, tmp_path, start_valkey, sandbox
):
    running = WorkerProcesses(tmp_path, start_valkey(), sandbox, "")
    environ = {**os.environ, LIVENESS_FILE: str(tmp_path / "liveness")}
    command = [sys.executable, *compose["services"]["worker"]["healthcheck"]["test"][2:]]

    def status():
        return subprocess.run(command, env=environ, cwd=ROOT, capture_output=True, check=False).returncode

    try:
        worker = running.start_worker(**{LIVENESS_FILE: environ[LIVENESS_FILE]})
        assert status() == 0
        os.killpg(worker.pid, signal.SIGSTOP)
        assert status() == 1
        assert worker.wait(60) == -signal.SIGKILL
    finally:
        running.kill_workers()


def test_the_sandbox_is_a_command_that_exists_and_gets_no_secrets(compose):
    sandbox = compose["services"]["sandbox"]
    program, name, *words = sandbox["command"]
    assert (program, name) == ("ringback", sandbox_command.name)
    found = options(sandbox_command, [name, *words])
    assert (found["host"], found["port"]) == ("0.0.0.0", 8202)
    assert sandbox["ports"] == ["127.0.0.1:8202:8202"]
    assert sandbox["env_file"] == []


def test_every_service_comes_back_and_the_roles_may_write_nothing(compose):
    for name, service in compose["services"].items():
        assert service["restart"] == "unless-stopped"
        if name != "valkey":
            assert service["read_only"] is True
            assert service["cap_drop"] == ["ALL"]


def test_each_role_has_the_time_that_it_needs_to_end(compose):
    kill = SETTINGS["workers_kill_timeout"]
    seconds = {
        name: int(s["stop_grace_period"][:-1])
        for name, s in compose["services"].items()
        if "stop_grace_period" in s
    }
    assert seconds["web"] > kill
    assert seconds["worker"] > 20


def test_the_tool_that_writes_the_lock_files_is_pinned():
    assert re.findall(r"pip install --quiet (uv\S*)", text("Makefile")) == ["uv==0.13.9"]


def test_every_variable_of_a_command_is_one_that_is_documented():
    known = {"PORT", "LOG_LEVEL", "WEB_CONCURRENCY", "WORKER_CONCURRENCY"}
    for line in procfile().values():
        assert set(re.findall(r"\$\{(\w+)", line)) <= known
        assert shlex.split(line)


@pytest.mark.parametrize(
    ("said", "status", "environ", "ends", "words"),
    [
        ("ConnectionError: Max retries exceeded", 1, {}, 0, "audit: NOT DONE"),
        ("ConnectionError: Max retries exceeded", 1, {"REQUIRE_AUDIT": "1"}, 2, "audit: NOT DONE"),
        ("flask could not be audited: not found", 0, {}, 0, "audit: NOT DONE"),
        ("Found 1 known vulnerability in 1 package", 1, {}, 2, "known vulnerability"),
        ("No known vulnerabilities found", 0, {}, 0, "No known vulnerabilities found"),
    ],
)
def test_an_audit_that_was_not_done_says_so_and_one_that_found_something_fails(
    tmp_path, said, status, environ, ends, words
):
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "pip-audit").write_text(f"#!/bin/sh\necho '{said}'\nexit {status}\n", "utf-8")
    (folder / "pip-audit").chmod(0o755)
    for name in ("bin/python", ".installed", ".installed-dev"):
        (tmp_path / name).touch()
    done = subprocess.run(
        ["make", "--no-print-directory", "audit", f"VENV={tmp_path}"],
        cwd=ROOT, env={"PATH": os.environ["PATH"], **environ}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == ends, done.stderr
    assert words in done.stdout
