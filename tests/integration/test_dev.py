"""`make dev`: it starts, a touched file starts web and worker again, and Ctrl-C leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from integration.local import dev
from integration.local.supervisor import answers
from support.ports import two_free_ports
from support.waiting import is_gone, wait_until

ROOT = Path(__file__).parent.parent.parent


def children(parent: int) -> dict[int, str]:
    """Return the process id and the command line of each child."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def pids(parent: int, *words: str) -> set[int]:
    return {pid for pid, line in children(parent).items() if any(word in line for word in words)}


def wait_until_they_run(process, port):
    """Return the process ids of worker, web and dashboard once all of them run."""
    for at in (port, port + 1):
        wait_until(lambda at=at: answers(f"http://127.0.0.1:{at}/healthz"), 60, what=f"port {at}")

    def all_three():
        found = pids(process.pid, "integration.server", "celery")
        return found if len(found) == 3 else None

    return wait_until(all_three, 60, what="worker, web and dashboard")


@pytest.fixture
def running(tmp_path):
    port = two_free_ports()
    output = tmp_path / "output"
    environ = {**os.environ, "PORT": str(port), "RINGBACK_DATA_DIR": str(tmp_path), "WEB_CONCURRENCY": "1"}
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "integration.local.dev"],
            cwd=ROOT, env=environ, stdout=file, stderr=file, start_new_session=True,
        )  # fmt: skip

    def said(words):
        text = output.read_text(errors="replace")
        assert process.poll() is None, text
        return words in text

    try:
        wait_until(lambda: said("Starting the worker"), 90, what=output.read_text)
        (ROOT / "workers/__init__.py").touch()
        wait_until(lambda: said("Ctrl-C stops all processes"), 90, what=output.read_text)
        yield process, port
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_touched_file_starts_web_and_worker_again_and_ctrl_c_stops_everything(running, tmp_path):
    process, port = running
    wait_until(lambda: "changed: workers/__init__.py" in (tmp_path / "output").read_text(), what="seen")
    before = wait_until_they_run(process, port)
    others = pids(process.pid, "valkey-server", "sandbox")
    assert len(others) == 2
    (ROOT / "integration/__init__.py").touch()
    wait_until(lambda: all(map(is_gone, before)), 60, what="the old processes are gone")
    wait_until_they_run(process, port)
    assert pids(process.pid, "valkey-server", "sandbox") == others
    everything = set(children(process.pid))
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    wait_until(lambda: all(map(is_gone, everything)), 10, what="nothing is left")
    assert "stopped" in (tmp_path / "output").read_text().splitlines()[-1]


@pytest.mark.parametrize(
    "name", ["integration/new.py", "integration/store/lua/new.lua", "workers/a/new.html"]
)
def test_a_file_of_the_code_that_comes_changes_or_goes_is_seen(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    (path.parent / "new.pyc").touch()
    assert dev.modified_at(tmp_path) == {}
    path.touch()
    first = dev.modified_at(tmp_path)
    assert set(first) == {path}
    os.utime(path, ns=(1, 1))
    assert dev.modified_at(tmp_path) != first
    path.unlink()
    assert dev.modified_at(tmp_path) == {}


def test_the_variables_are_for_this_user_alone_and_are_what_a_shell_reads(tmp_path):
    environ = {"DEMO_URL_KEY": "it's $a 'secret'", "REDIS_URL": "unix:///a?db=0"}
    path = dev.write_variables(SimpleNamespace(folder=tmp_path, environ=environ))
    assert path.stat().st_mode & 0o077 == 0
    done = subprocess.run(
        ["sh", "-c", f'. "{path}"; printf "%s" "$DEMO_URL_KEY"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == environ["DEMO_URL_KEY"]
