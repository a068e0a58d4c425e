"""Work in the server: killed when it takes too long, needs too much memory, or its client leaves."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from integration.domain.errors import (
    ClientLeftError,
    ForkServerFailedError,
    TooMuchWorkError,
    WorkFailedError,
    WorkOverranError,
)
from integration.web.isolation import fork_server_process
from integration.web.isolation.fork_server import Limits
from integration.web.isolation.fork_server_process import ForkServerProcess, Preparation
from integration.web.isolation.user_queue import (
    MOST_OF_A_USER,
    MOST_OF_ALL,
    MOST_OF_VIEWERS,
    Caller,
    UserQueue,
)
from support.fork_server_program import COMMAND
from support.waiting import AT_ONCE_SECONDS, is_gone, wait_until

MEMORY = 64 * 1024 * 1024
PATIENT = Limits(seconds=120, memory_bytes=MEMORY)
SHORT = Limits(seconds=0.2, memory_bytes=MEMORY)


@pytest.fixture
def server():
    server = ForkServerProcess(COMMAND)
    yield server
    server.stop()


def run(server, work, value=None, *, limits=PATIENT, caller=None, prepared="prepared"):
    with server.place(caller or Caller("ana")) as place:
        return place.run(work, value, limits, Preparation(prepared, lambda: prepared))


def process_in(folder):
    return int(wait_until(lambda: next(folder.iterdir(), None), what="the work has begun").name)


def test_work_is_done_with_what_was_prepared(server):
    odd = {"text": "ñ\ud800\x00", "number": 2**70, "list": [None, True, 1.5]}
    assert run(server, "echo", odd) == ["prepared", odd]
    assert run(server, "echo", 1, prepared="other") == ["other", 1]


def test_each_work_has_a_process_of_its_own_in_one_fork_server(server):
    first, second = run(server, "pid"), run(server, "pid")
    assert first[1] == second[1]
    assert first[0] != second[0]
    assert is_gone(second[0])


@pytest.mark.parametrize("work", ["spin", "in_one_call", "sleep"])
def test_work_that_takes_too_long_is_killed_whatever_it_does(server, work, tmp_path):
    before = run(server, "pid")[1]
    with pytest.raises(WorkOverranError, match=r"longer than 0\.2 s"):
        run(server, work, str(tmp_path), limits=SHORT)
    assert all(is_gone(int(path.name)) for path in tmp_path.iterdir())
    assert run(server, "pid")[1] == before, "the fork server goes on"


def test_work_that_needs_too_much_memory_fails(server):
    assert run(server, "grow", MEMORY // 4) == MEMORY // 4
    with pytest.raises(WorkFailedError, match="MemoryError"):
        run(server, "grow", MEMORY * 2)


def test_work_writes_no_file(server, tmp_path):
    with pytest.raises(WorkFailedError):
        run(server, "write", str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == ""


def test_work_that_fails_names_the_error_without_its_message(server):
    with pytest.raises(WorkFailedError) as caught:
        run(server, "fail", "a customer's number")
    assert str(caught.value) == "RuntimeError"


def test_work_whose_process_dies_fails_and_the_next_one_is_done(server):
    with pytest.raises(WorkFailedError, match="the process ended"):
        run(server, "end")
    assert run(server, "echo", 1) == ["prepared", 1]


def test_a_fork_server_that_dies_is_replaced(server):
    with pytest.raises(ForkServerFailedError):
        run(server, "stop_fork_server")
    assert run(server, "echo", 1) == ["prepared", 1]


def test_a_fork_server_that_does_not_answer_is_replaced(server, monkeypatch):
    monkeypatch.setattr(fork_server_process, "GRACE_SECONDS", 0.2)
    pid = run(server, "pid")[1]
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(run, server, "sleep", limits=SHORT)
        try:
            with pytest.raises(ForkServerFailedError, match="TimeoutError"):
                working.result(AT_ONCE_SECONDS)
        finally:
            # Without a time limit the thread would wait for the stopped process.
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert run(server, "pid")[1] != pid


def test_a_fork_server_has_no_secret_in_its_environment(monkeypatch, server):
    monkeypatch.setenv("WOLKVOX_TOKEN", "a-secret-token")
    assert "a-secret-token" not in run(server, "environment").values()


def test_a_fork_server_and_its_work_end_with_the_process_that_started_it(server, tmp_path):
    own_pid = run(server, "pid")[1]
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(run, server, "spin", str(tmp_path))
        pid = process_in(tmp_path)
        # As the kernel does when the web process is killed.
        server._running.process.stdin.close()
        with pytest.raises(ForkServerFailedError):
            working.result(AT_ONCE_SECONDS)
    wait_until(lambda: is_gone(pid) and is_gone(own_pid), what="fork server and work have ended")


def test_when_the_client_leaves_its_work_is_killed(server, tmp_path):
    caller = Caller("ana")
    with ThreadPoolExecutor(1) as threads:
        working = threads.submit(run, server, "spin", str(tmp_path), caller=caller)
        pid = process_in(tmp_path)
        caller.left.set()
        with pytest.raises(ClientLeftError):
            working.result(AT_ONCE_SECONDS)
    assert is_gone(pid)
    assert run(server, "echo", 1) == ["prepared", 1]


def test_the_work_of_a_client_that_has_left_is_not_begun(server, tmp_path):
    caller = Caller("ana")
    caller.left.set()
    with pytest.raises(ClientLeftError):
        run(server, "spin", str(tmp_path), caller=caller)
    assert list(tmp_path.iterdir()) == []


def test_starting_a_fork_server_leaves_the_descriptors_of_one_that_has_ended_to_its_work(server):
    pid = run(server, "pid")[1]
    before = server._running
    os.kill(pid, 9)
    before.process.wait(AT_ONCE_SECONDS)
    server.start()
    assert server._running is before
    assert run(server, "pid")[1] != pid


def test_the_helper_may_have_descriptors_from_1024():
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit[0], 1100), limit[1]))
    opened = list(os.pipe())
    try:
        opened += [fcntl.fcntl(each, fcntl.F_DUPFD, 1030) for each in opened]
        wait = fork_server_process._Wait(opened[3], opened[2], AT_ONCE_SECONDS, Caller("ana"))
        wait.until_writable()
        os.write(opened[3], b"x")
        wait.until_readable()
    finally:
        for each in opened:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


# --- user queue -----------------------------------------------------------------------------------


class Waiting:
    """A thread that waits for its turn, and holds it until it is released."""

    def __init__(self, queue, name, order):
        self.caller = Caller(name)
        self.released = threading.Event()
        self.ended = []
        self._thread = threading.Thread(target=self._work, args=(queue, order), daemon=True)
        self._thread.start()
        wait_until(lambda: self._is_in(queue), what="it waits")

    def _work(self, queue, order):
        try:
            with queue.place(self.caller) as place, queue.turn(place):
                order.append(self.caller.name)
                self.released.wait(AT_ONCE_SECONDS)
        except ClientLeftError as error:
            self.ended.append(error)

    def _is_in(self, queue):
        places = [*queue._waiting, *filter(None, [queue._present])]
        return any(place.caller is self.caller for place in places)

    def release(self):
        self.released.set()
        self._thread.join(AT_ONCE_SECONDS)


def test_a_user_has_one_turn_at_a_time_and_few_that_wait():
    queue, order = UserQueue(), []
    held = [Waiting(queue, "ana", order) for _ in range(MOST_OF_A_USER)]
    with pytest.raises(TooMuchWorkError), queue.place(Caller("ana")):
        pass
    assert order == ["ana"]
    for each in held:
        each.release()
    with queue.place(Caller("ana")):
        pass


def test_users_take_turns():
    queue, order = UserQueue(), []
    held = [Waiting(queue, name, order) for name in ("ana", "ana", "eva")]
    for each in (held[0], held[2], held[1]):
        wait_until(lambda each=each: len(order) > held.index(each) or each.caller.name in order[-1:])
        each.release()
    assert order == ["ana", "eva", "ana"]


def test_all_users_together_have_few_turns_that_wait():
    queue, order = UserQueue(), []
    held = [Waiting(queue, f"user{number}", order) for number in range(MOST_OF_ALL)]
    with pytest.raises(TooMuchWorkError), queue.place(Caller("another")):
        pass
    for each in held:
        each.release()


def test_viewers_leave_a_place_for_operators():
    queue, order = UserQueue(), []
    held = [Waiting(queue, f"viewer{number}", order) for number in range(MOST_OF_VIEWERS)]
    with pytest.raises(TooMuchWorkError), queue.place(Caller("eva", is_viewer=True)):
        pass
    held.append(Waiting(queue, "an operator", order))
    for each in held:
        each.release()
    assert "an operator" in order


def test_a_client_that_leaves_while_it_waits_gives_up_its_place():
    queue, order = UserQueue(), []
    with ExitStack() as stack:
        stack.enter_context(queue.turn(stack.enter_context(queue.place(Caller("ana")))))
        waiting = Waiting(queue, "eva", order)
        waiting.caller.left.set()
        waiting.release()
        assert len(waiting.ended) == 1
    assert order == []
    assert queue._places == set()
    assert queue._waiting == []
