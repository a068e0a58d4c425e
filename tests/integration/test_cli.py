"""The command line as a whole: help, exit statuses, and errors in plain words. Up runs as it really does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from typing import TYPE_CHECKING

import click
import pytest

from integration.cli.context import CliContext, redacted_address
from integration.cli.main import COMMANDS, main, render_error
from integration.domain.errors import ConfigError, Fault, RingbackError, StoreAwayError, StoreUnsafeError
from integration.local.stack import child_environment, listen, web_command, worker_command
from integration.telemetry.logging import readable
from support import ENVIRON, account, url_of, write_config
from support.cli_runner import Ringback
from support.ports import two_free_ports

if TYPE_CHECKING:
    from pathlib import Path

RINGBACK = [sys.executable, "-c", "from integration.cli.main import main; main()"]
NOWHERE = "redis://operator:geheim-pass@127.0.0.1:1/0"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Ringback(write_config(tmp_path))


def process(*args, cwd, env=None):
    environ = {name: value for name, value in os.environ.items() if name not in {"REDIS_URL", "PORT"}}
    return subprocess.run(
        [*RINGBACK, *args],
        cwd=cwd,
        env={**environ, **ENVIRON, **(env or {})},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- help --------------------------------------------------------------------------------------


def test_help_names_every_command_that_is_there(run):
    shown = run("--help")
    assert shown.exit_code == 0
    for name in main.list_commands(click.Context(main)):
        assert re.search(rf"^  {name} +\w", shown.output, re.MULTILINE), name


def unindented(text):
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_command_has_help_with_an_example_or_no_arguments(run, name):
    shown = run(name, "--help")
    assert shown.exit_code == 0
    assert "ringback " in shown.output
    assert "\x08" not in shown.output
    assert "[required]" not in shown.output
    command = main.get_command(click.Context(main), name)
    examples = (command.help or "").replace("\b", "").partition("Examples:")[2].split("\n")
    assert [
        line for line in examples if line.strip() and f"\n{line.strip()}" not in unindented(shown.output)
    ] == []


@pytest.mark.parametrize("name", ["check", "map", "send", "recalls", "show", "retry", "cancel"])
def test_commands_that_print_data_offer_json(run, name):
    assert "--json" in run(name, "--help").output


def test_the_short_helps_are_whole_sentences(run):
    commands = run("--help").output.partition("Commands:")[2]
    for line in commands.strip().splitlines():
        assert not line.endswith("..."), line


def test_version_is_reported(run):
    assert re.fullmatch(r"ringback, version \d+\.\d+\.\d+\n", run("--version").output)


# --- exit statuses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "args",
    [
        ("no-such-command",),
        ("recalls", "--state", "lost"),
        ("recalls", "--limit", "0"),
        ("map", "hubspot"),
        ("map", "hubspot", "no-such-file.json"),
        ("cancel",),
        ("retry",),
        ("retry", "rc_1", "--dead"),
        ("retry", "rc_1", "--account", "bogota"),
        ("up", "--port", "70000"),
        ("send", "hubspot", "ringback.toml", "--public"),
    ],
)
def test_wrong_usage_is_status_2(run, args):
    done = run(*args)
    assert done.exit_code == 2
    assert "Error" in done.stderr
    assert done.stdout == ""


def test_a_faulty_configuration_is_reported_whole_and_is_status_1(tmp_path):
    write_config(tmp_path, account("bogota", more='minimum = 3\nlate = "never"'))
    done = process("accounts", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "2 faults" in done.stderr
    assert "accounts.bogota.minimum" in done.stderr
    assert "accounts.bogota.late" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_store_at_all_is_status_1_and_says_what_to_do(run):
    done = run("recalls")
    assert done.exit_code == 1
    assert "REDIS_URL is not set, and the embedded store of" in done.stderr
    assert "ringback up" in done.stderr


@pytest.mark.parametrize("environ", [{}, {"REDIS_URL": "nonsense"}, {"LOG_LEVEL": "nonsense"}])
def test_a_fault_of_the_environment_is_not_called_one_of_the_configuration(run, environ):
    done = run("recalls", **environ)
    assert done.exit_code == 1
    assert done.stderr.startswith("environment: ")
    assert "the configuration" not in done.stderr


def test_a_store_that_is_away_is_named_without_its_credentials(tmp_path):
    write_config(tmp_path)
    done = process("recalls", cwd=tmp_path, env={"REDIS_URL": NOWHERE})
    assert done.returncode == 1
    assert "the store at redis://127.0.0.1:1/0 cannot be reached" in done.stderr
    assert "geheim" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("url", ["htp://x:y@z", "nonsense geheim", "redis://127.0.0.1:geheim/0"])
def test_an_address_that_is_none_is_a_fault_of_the_environment(run, url):
    done = run("recalls", REDIS_URL=url)
    assert done.exit_code == 1
    assert "REDIS_URL is an invalid address. Use redis://" in done.stderr
    assert "geheim" not in done.stderr


def test_a_store_that_refuses_a_command_is_reported_without_its_words(run, store):
    store.acl_setuser("narrow", enabled=True, passwords=["+geheim"], categories=["+@connection"], keys=["*"])
    try:
        where = url_of(store).removeprefix("redis://")
        done = run("recalls", REDIS_URL=f"redis://narrow:geheim@{where}")
    finally:
        store.acl_deluser("narrow")
    assert done.exit_code == 1
    assert "rejected a command (NoPermissionError)" in done.stderr
    assert "geheim" not in done.stderr


def test_the_configuration_may_be_named_before_or_behind_the_command(run, tmp_path):
    other = tmp_path / "elsewhere.toml"
    other.write_text("wrong = 1")
    for args in (("--config", str(other), "check"), ("check", "--config", str(other))):
        assert "elsewhere.toml: wrong" in run(*args).output


def test_an_unsafe_store_is_reported_as_such_and_not_as_one_that_is_away():
    away = StoreAwayError("the store may lose acknowledged recalls")
    away.__cause__ = StoreUnsafeError("Ringback refuses this store:\n- appendonly is no")
    assert render_error(away, CliContext({})) == "Ringback refuses this store:\n- appendonly is no"


def test_one_fault_is_one_line():
    fault = Fault("ringback.toml", "accounts.x.token", "nothing", "a text")
    text = render_error(ConfigError((fault,)), CliContext({}))
    assert text.splitlines() == ["the configuration is not valid, 1 fault:", f"- {fault}"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pa%40ss@host:6379/1?password=x", "redis://host:6379/1"),
        ("rediss://:pass@host/0", "rediss://host/0"),
        ("unix:///var/run/store.sock?db=0&password=x", "unix:///var/run/store.sock"),
        ("redis://a@b@host/0", "redis://host/0"),
    ],
)
def test_an_address_is_shown_without_what_opens_it(url, shown):
    assert redacted_address(url) == shown


# --- up ----------------------------------------------------------------------------------------


def test_no_secret_is_in_a_command_line():
    with listen(0) as listener:
        web = web_command(listener)
        assert web[web.index("--fd") + 1] == str(listener.fileno())
    assert not any(secret in " ".join(web + worker_command()) for secret in ENVIRON.values())


@pytest.mark.parametrize(
    "chosen", [{}, {"LOG_LEVEL": "debug", "WEB_CONCURRENCY": "3", "WORKER_CONCURRENCY": "4"}]
)
def test_the_worker_is_started_as_the_procfile_starts_it(request, chosen):
    text = (request.config.rootpath / "Procfile").read_text()
    expanded = re.sub(r"\$\{(\w+):-(\w+)\}", lambda hole: chosen.get(hole[1], hole[2]), text)
    procfile = dict(line.split(": ", 1) for line in expanded.splitlines())
    # Ours name the interpreter, so that no other one is found on PATH.
    assert worker_command(chosen)[:2] == [sys.executable, "-m"]
    assert worker_command(chosen)[2:] == procfile["worker"].split()


def test_children_get_the_store_beside_the_environment():
    environ = child_environment({"WOLKVOX_TOKEN": "t"}, redis_url="unix:///s?db=0")
    assert (environ["WOLKVOX_TOKEN"], environ["REDIS_URL"]) == ("t", "unix:///s?db=0")


def test_a_child_s_json_line_is_put_into_words():
    line = (
        'worker    | {"event": "pushed", "level": "info", "timestamp": "T", "logger": "x", "recall": "rc_1"}'
    )
    assert readable(line) == "worker    | T info    pushed  recall=rc_1"


def test_a_line_of_a_child_cannot_steer_the_terminal_or_forge_another():
    record = {
        "timestamp": "T",
        "level": "error",
        "event": "a\x1b[2J\nforged",
        "name": "b\u202e",
        "exception": "one\ntwo\x1b",
    }
    shown = readable(f"web | {json.dumps(record)}")
    assert shown == "web | T error   a [2J forged  name=b\nweb | one\nweb | two "


@pytest.mark.parametrize("line", ["web       | plain", "web       | {not json", "no bar", ""])
def test_a_child_s_other_lines_stay_as_they_are(line):
    assert readable(line) == line


def test_a_port_that_is_taken_is_reported(run):
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port))
        with pytest.raises(RingbackError):
            listen(port)
    assert done.exit_code == 1
    assert f"port {port} cannot be used" in done.stderr


def test_up_refuses_a_store_that_forgets_before_it_starts_anything(tmp_path, start_valkey):
    write_config(tmp_path)
    server = start_valkey("--appendonly", "no")
    done = process("up", "--port", str(two_free_ports()), cwd=tmp_path, env={"REDIS_URL": server.url})
    assert done.returncode == 1
    assert "appendonly is no" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_up_takes_a_webhook_and_stops_on_ctrl_c(run, tmp_path):
    port = two_free_ports()
    body = tmp_path / "body.json"
    body.write_text(json.dumps({"customer": "1", "phone": "3001112233", "at": "2030-01-01T10:00:00"}))
    environ = {**os.environ, **ENVIRON, "PORT": str(port), "RINGBACK_DATA_DIR": str(tmp_path / "data")}
    environ.pop("REDIS_URL", None)
    output = tmp_path / "output"
    with output.open("wb") as file:
        running = subprocess.Popen(
            [*RINGBACK, "up"], cwd=tmp_path, env=environ, stdout=file, stderr=file, start_new_session=True
        )
    try:
        _wait_for(output, "Ringback is up", running)
        printed = output.read_text()
        assert f"http://127.0.0.1:{port}/hooks/salesforce/{{url_key}}" in printed
        assert ENVIRON["URL_KEY"] not in printed
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60).status == 200
        # Found through port and data folder alone, as from another terminal.
        (recall,) = run.json("send", "forms", str(body), PORT=str(port))["answer"]["recalls"]
        assert run.json("show", recall)["id"] == recall
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 0
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
    assert "Traceback" not in output.read_text()


def _wait_for(output: Path, words: str, running: subprocess.Popen) -> None:
    end = time.monotonic() + 60
    while words not in output.read_text(errors="replace"):
        assert running.poll() is None, output.read_text(errors="replace")
        assert time.monotonic() < end, output.read_text(errors="replace")
        time.sleep(0.1)
