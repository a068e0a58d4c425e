from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.domain.errors import RingbackError
from integration.local import supervisor as processes
from integration.local.child_process import SpawnError, describe_exit, spawn
from integration.local.supervisor import (
    Backoff,
    Ended,
    NotReadyError,
    Program,
    Supervisor,
    free_port,
    wait_until,
)
from support.waiting import is_gone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

QUICK = Backoff(first_seconds=0.01, longest_seconds=0.05)


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", code]


SLEEP = python("import time; time.sleep(600)")
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('stalled', flush=True); time.sleep(600)"
# A child with a child of its own: prints the grandchild's id.
PARENT = (
    "import subprocess, sys, time; "
    "print(subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(600)']).pid, flush=True); "
    "time.sleep(600)"
)


def eventually(true: Callable[[], bool], what: str = "it") -> None:
    wait_until(true, 60, what=what, every_seconds=0.01)


@pytest.fixture
def children() -> Iterator[list[processes.Child]]:
    started: list[processes.Child] = []
    yield started
    for child in started:
        child.kill()


class Lines(list[str]):
    def __call__(self, line: str) -> None:
        self.append(line)


# --- children ---------------------------------------------------------------------------------


def test_a_program_that_does_not_exist_is_refused_by_name():
    with pytest.raises(SpawnError, match="no-such-program"):
        spawn(["no-such-program"])


def test_a_program_is_looked_for_on_the_path_of_its_own_environment(tmp_path):
    (tmp_path / "tool").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "tool").chmod(0o755)
    assert spawn(["tool"], env={"PATH": str(tmp_path)}).wait(60) == 3


def test_a_working_folder_that_does_not_exist_is_a_spawn_error(tmp_path):
    with pytest.raises(SpawnError, match="cannot be started"):
        spawn(SLEEP, cwd=tmp_path / "absent")


def test_a_child_reads_nothing_and_has_only_the_environment_it_was_given():
    code = "import os, sys; sys.exit(sys.stdin.read() != '' or os.environ.get('ONLY') != '1' or 'HOME' in os.environ)"
    assert spawn(python(code), env={"ONLY": "1"}).wait(60) == 0


def test_a_child_is_in_a_session_of_its_own(children):
    children.append(spawn(SLEEP))
    assert os.getsid(children[0].pid) == children[0].pid != os.getsid(0)


def test_a_child_that_ends_when_asked_is_not_killed(children):
    children.append(spawn(SLEEP))
    assert children[0].stop(20) == -signal.SIGTERM


def test_a_child_that_does_not_end_when_asked_is_killed(children):
    children.append(spawn(python(DEAF), output=subprocess.PIPE))
    assert children[0].output.readline() == b"stalled\n"
    assert children[0].stop(0.05) == -signal.SIGKILL


def test_hurry_cuts_the_wait_short(children):
    children.append(spawn(python(DEAF), output=subprocess.PIPE))
    children[0].output.readline()
    assert children[0].stop(600, hurry=lambda: True) == -signal.SIGKILL


def test_what_a_child_started_does_not_outlive_it(children):
    child = spawn(python(PARENT), output=subprocess.PIPE)
    children.append(child)
    grandchild = int(child.output.readline())
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait(60) == -signal.SIGKILL
    eventually(lambda: is_gone(grandchild))


def test_a_child_lives_on_when_the_thread_that_started_it_ends(children):
    def start() -> None:
        children.append(spawn(python(DEAF), output=subprocess.PIPE))
        # Only from here on would the end of this thread be its parent's death.
        assert children[0].output.readline() == b"stalled\n"

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert children[0].wait(0.3) is None


SUPERVISES = """
import signal, sys
from integration.local.supervisor import Program, Supervisor
another = Program("other", [sys.executable, "-S", "-c", "import time; print(1, flush=True); time.sleep(600)"])
signal.signal(signal.SIGUSR1, lambda *_: supervisor.start(another))
with Supervisor() as supervisor:
    for code in sys.argv[1:]:
        supervisor.start(Program("child", [sys.executable, "-S", "-c", code], stop_seconds=600))
    for _ in supervisor._watched:
        print("pid", _.service.pid, flush=True)
    supervisor.run()
print("stopped", flush=True)
"""


@contextlib.contextmanager
def another_supervisor(*codes: str) -> Iterator[tuple[subprocess.Popen[str], list[int], list[int]]]:
    """A supervisor in a process of its own: the process, its children, and what the children printed."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISES, *codes],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    pids: list[int] = []
    printed: list[int] = []
    try:
        while len(pids) < len(codes) or len(printed) < len(codes):
            first, _, rest = process.stdout.readline().strip().partition(" ")
            assert first, "the supervisor ended"
            (pids if first == "pid" else printed).append(int(rest.removeprefix("  | ").lstrip("| ")))
        yield process, pids, printed
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_nothing_outlives_a_supervisor_that_is_killed():
    with another_supervisor(PARENT, PARENT) as (process, children, grandchildren):
        process.kill()
        for pid in children + grandchildren:
            eventually(lambda pid=pid: is_gone(pid), f"the end of {pid}")


def guardian_of(pid: int, others: list[int]) -> int:
    """The one child that the process did not ask for."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    found = {int(child) for task in tasks for child in (task / "children").read_text().split()}
    (guardian,) = (child for child in found - set(others) if not is_gone(child))
    return guardian


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent died")
def test_a_child_ends_with_its_supervisor_even_without_the_guardian():
    with another_supervisor(DEAF.replace("'stalled'", "1")) as (process, children, _):
        os.kill(guardian_of(process.pid, children), signal.SIGKILL)
        process.kill()
        eventually(lambda: is_gone(children[0]))


def test_a_guardian_that_is_gone_is_replaced_and_told_everything():
    with another_supervisor(PARENT) as (process, children, grandchildren):
        guardian = guardian_of(process.pid, children)
        os.kill(guardian, signal.SIGKILL)
        eventually(lambda: is_gone(guardian))
        process.send_signal(signal.SIGUSR1)
        while not process.stdout.readline().startswith("other "):
            pass
        process.kill()
        eventually(lambda: is_gone(grandchildren[0]))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_in_good_order(number):
    with another_supervisor(PARENT) as (process, children, grandchildren):
        process.send_signal(number)
        assert process.wait(60) == 0
        assert process.stdout.read() == "stopped\n"
        assert is_gone(children[0])
        eventually(lambda: is_gone(grandchildren[0]))


def test_a_second_signal_kills_what_does_not_end():
    stalled = DEAF.replace("'stalled'", "1")
    with another_supervisor(stalled) as (process, children, _):
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        # The first asks, and would wait ten minutes; only the second ends the wait.
        while process.poll() is None:
            time.sleep(0.02)
            process.send_signal(signal.SIGTERM)
        assert is_gone(children[0])


# --- programs ---------------------------------------------------------------------------------


def test_every_line_comes_out_with_the_programs_name_before_it():
    lines = Lines()
    program = Program("web", python("print('one'); import sys; print('two', file=sys.stderr)"), relay=lines)
    program.start()
    eventually(lambda: len(lines) == 2)
    assert sorted(lines) == ["web       | one", "web       | two"]
    program.stop()


def test_output_that_is_not_text_or_has_no_end_of_line_is_relayed():
    lines = Lines()
    code = "import sys; sys.stdout.buffer.write(bytes([255, 10]) + b'x' * 70000)"
    program = Program("web", python(code), relay=lines)
    program.start()
    eventually(lambda: len(lines) == 3)
    assert lines[0] == "web       | \ufffd"
    assert sum(len(line.removeprefix("web       | ")) for line in lines[1:]) == 70000
    program.stop()


def test_a_relay_that_fails_does_not_block_the_program():
    def broken(line: str) -> None:
        raise BrokenPipeError

    program = Program("web", python("print('x\\n' * 100_000)"), relay=broken)
    program.start()
    eventually(lambda: program.poll() == 0)


def test_a_programs_environment_is_in_no_repr():
    program = Program("web", SLEEP, env={"TOKEN": "open-sesame"})
    assert "open-sesame" not in repr(program)


def test_a_program_that_never_started_stops_and_polls():
    program = Program("web", SLEEP)
    program.stop()
    assert program.poll() is None
    assert program.pid is None


# --- the supervisor ---------------------------------------------------------------------------


class Recorder:
    """A service without a process, which notes what is asked of it."""

    def __init__(self, name: str, notes: list[str], *, fails: int = 0) -> None:
        self.name = name
        self.notes = notes
        self.fails = fails
        self.status: int | None = None
        self.counted: int | None = None

    def start(self) -> None:
        self.notes.append(f"start {self.name}")
        if self.fails:
            self.fails -= 1
            raise SpawnError("not yet")
        self.status = None

    def poll(self) -> int | None:
        return self.status

    def ticks(self) -> int | None:
        return self.counted

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> None:
        if self.status is None and not hurry():
            self.notes.append(f"stop {self.name}")
            self.status = 0


def test_services_are_stopped_in_the_reverse_of_their_order():
    notes: list[str] = []
    with Supervisor() as supervisor:
        for name in ("store", "web", "worker"):
            supervisor.start(Recorder(name, notes))
    assert notes == ["start store", "start web", "start worker", "stop worker", "stop web", "stop store"]


def test_a_service_that_does_not_start_says_so_and_the_others_are_stopped():
    notes: list[str] = []
    with Supervisor() as supervisor:
        supervisor.start(Recorder("store", notes))
        with pytest.raises(SpawnError, match="not yet"):
            supervisor.start(Recorder("web", notes, fails=1))
    assert notes[-1] == "stop store"


def test_without_restart_a_service_that_ends_is_reported_once_and_stays_down():
    ended: list[Ended] = []
    with Supervisor(on_ended=ended.append) as supervisor:
        program = Program("web", python("raise SystemExit(3)"), relay=None)
        supervisor.start(program)
        eventually(lambda: bool(ended))
        time.sleep(3 * processes.WATCH_SECONDS)
        assert not supervisor.alive(program)
    assert ended == [Ended("web", "ended with status 3", None)]
    assert str(ended[0]) == "web ended with status 3; not started again"


def test_a_service_that_is_killed_is_started_again():
    ended: list[Ended] = []
    with Supervisor(restart=QUICK, on_ended=ended.append) as supervisor:
        program = Program("worker", SLEEP, relay=None)
        supervisor.start(program)
        first = program.pid
        os.kill(first, signal.SIGKILL)
        eventually(lambda: program.pid != first)
        assert program.poll() is None
    assert ended == [Ended("worker", "was killed by SIGKILL", 0.0)]
    assert str(ended[0]) == "worker was killed by SIGKILL; starting it again"
    assert is_gone(program.pid)


def test_a_restart_that_fails_is_tried_again_with_a_longer_wait():
    notes: list[str] = []
    ended: list[Ended] = []
    service = Recorder("store", notes)
    with Supervisor(restart=QUICK, on_ended=ended.append) as supervisor:
        supervisor.start(service)
        service.fails = 2
        service.status = 1
        eventually(lambda: notes.count("start store") == 4)
        assert service.poll() is None
    assert [e.again_in_seconds for e in ended] == [0.0, 0.01, 0.02]
    assert ended[1].how == "did not start: not yet"


def test_a_service_whose_ticks_stand_still_is_stopped_and_started_again(monkeypatch):
    monkeypatch.setattr(processes, "LOOK_SECONDS", 0)
    notes: list[str] = []
    ended: list[Ended] = []
    service, unwatched = Recorder("worker", notes), Recorder("sandbox", notes)
    with Supervisor(restart=QUICK, on_ended=ended.append) as supervisor:
        service.counted = 1
        supervisor.start(service)
        supervisor.start(unwatched)
        eventually(lambda: notes.count("start worker") == 2)
        service.counted = None
    assert ended[0] == Ended("worker", "did not respond for 10 s and was killed", 0.0)
    assert notes.count("start sandbox") == 1


def test_a_steady_run_begins_the_backoff_anew():
    ended: list[Ended] = []
    backoff = Backoff(first_seconds=0.01, longest_seconds=9, steady_seconds=0)
    service = Recorder("store", [])
    with Supervisor(restart=backoff, on_ended=ended.append) as supervisor:
        supervisor.start(service)
        for count in (1, 2, 3):
            service.status = 1
            eventually(lambda count=count: len(ended) == count and service.poll() is None)
    assert [e.again_in_seconds for e in ended] == [0.0, 0.0, 0.0]


def test_a_stopped_supervisor_starts_nothing():
    supervisor = Supervisor()
    supervisor.stop()
    with pytest.raises(SpawnError, match="supervisor is stopping"):
        supervisor.start(Recorder("web", []))


def test_a_service_that_is_stopped_on_purpose_is_not_reported():
    ended: list[Ended] = []
    with Supervisor(restart=QUICK, on_ended=ended.append) as supervisor:
        supervisor.start(Program("web", SLEEP, relay=None))
    assert ended == []


def test_run_ends_when_another_thread_stops_it():
    notes: list[str] = []
    with Supervisor() as supervisor:
        supervisor.start(Recorder("web", notes))
        threading.Thread(target=supervisor.stop).start()
        supervisor.run()
    assert notes == ["start web", "stop web"]


def test_the_callers_signal_handlers_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Supervisor():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (-9, "was killed by SIGKILL"),
        (-200, "was killed by signal 200"),
    ],
)
def test_an_exit_is_described_in_words(status, words):
    assert describe_exit(status) == words


# --- readiness and ports ----------------------------------------------------------------------


class HealthzHandler(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/healthz?deep=1" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), HealthzHandler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        yield f"http://127.0.0.1:{server.server_port}/healthz?deep=1"
        server.shutdown()


def test_a_url_is_ready_when_it_answers_2xx(web):
    wait_until(web, 20)


def test_a_url_that_answers_503_is_not_ready(web, monkeypatch):
    monkeypatch.setattr(HealthzHandler, "status", 503)
    with pytest.raises(NotReadyError, match="not ready after 0 s"):
        wait_until(web, 0)


def test_a_url_where_nobody_listens_is_not_ready():
    with pytest.raises(NotReadyError, match="web: not ready"):
        wait_until(f"http://127.0.0.1:{free_port()}/healthz", 0, what="web")


def test_the_wait_ends_when_what_is_waited_for_has_ended():
    with pytest.raises(NotReadyError, match="ended before"):
        wait_until(lambda: False, 600, alive=lambda: False)
    assert issubclass(NotReadyError, RingbackError)


def test_a_free_port_can_be_used_and_is_given_once():
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", ports[0]))


def test_a_port_that_was_given_before_is_not_given_again(monkeypatch):
    asked: list[object] = []

    class GivenBefore(set[int]):
        def __contains__(self, port: object) -> bool:
            asked.append(port)
            return len(asked) == 1

    monkeypatch.setattr(processes, "_handed_out", GivenBefore())
    assert free_port() == asked[1]
    assert processes._handed_out == {asked[1]}
