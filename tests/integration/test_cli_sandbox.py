"""`ringback sandbox`: the simulator as a process, as its options say."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from support.cli_runner import Ringback


@contextlib.contextmanager
def running(*args):
    code = "from integration.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sandbox", "--port", "0", *args], stdout=subprocess.PIPE, text=True
    )
    try:
        yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def code(url, token):
    answer = httpx.get(f"{url}/api/v2/information.php?api=campaigns", headers={"wolkvox-token": token})
    return answer.json()["code"]


def test_it_answers_by_its_options_and_ends_when_asked(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"action": "answer", "status": 500, "times": 1}]))
    with running("--token", "a", "--token", "b", "--daily-limit", "2", "--rules", str(rules)) as url:
        assert [code(url, "a") for _ in range(3)] == [500, 200, 403]
        assert code(url, "b") == 200
        assert code(url, "c") == 403


def test_a_port_that_is_taken_is_status_1(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = Ringback(tmp_path / "none")("sandbox", "--port", str(taken.getsockname()[1]))
    assert done.exit_code == 1
    assert "Choose another port with --port" in done.stderr


@pytest.mark.parametrize(
    "rules", ["{", "[1]", '[{"action": "explode"}]', '[{"action": "drop", "colour": 1}]']
)
def test_rules_that_are_none_are_wrong_usage(tmp_path, rules):
    path = tmp_path / "rules.json"
    path.write_text(rules)
    done = Ringback(tmp_path / "none")("sandbox", "--rules", str(path))
    assert done.exit_code == 2
    assert "--rules" in done.stderr
