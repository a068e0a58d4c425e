"""The fork server: forks a process for each task, and kills the process at the time limit.

The fork server has a single thread, so a fork is safe. It has already loaded all code, so a fork is fast.
It reads tasks from standard input, writes results to standard output, and ends when its parent ends.
"""

from __future__ import annotations

import gc
import math
import os
import resource
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from integration.web.isolation.frames import frame_of, is_whole, read_frame, write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Work = Callable[[Any, Any], Any]

DONE, FAILED, OVERRAN, CANCELLED = "done", "failed", "overran", "cancelled"
"""The outcomes of a task. DONE comes with its result, FAILED with the name of the exception."""
CANCEL: Final = None
"""The message that cancels the running task."""

# Webhooks have priority.
NICENESS: Final = 10
_PIECE_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a task: wall-clock seconds, and bytes of memory beyond those of the fork server."""

    seconds: float
    memory_bytes: int


def serve(work: Mapping[str, Work], prepare: Callable[[Any], Any]) -> None:
    """Run the tasks that arrive on standard input, until standard input is closed.

    `prepare` is called with the data of a message of the parent, and runs without limits. `work` maps the
    name of a task to a function of two arguments: the last result of `prepare`, and the value of the
    task. The values and the results of tasks are JSON values.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C of the terminal; the parent decides
    os.nice(NICENESS)
    requests, answers = os.dup(0), os.dup(1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    prepared: Any = None
    with suppress(EOFError, OSError):
        while True:
            message = read_frame(requests)
            if message is CANCEL:
                continue  # the work that it is meant for has ended
            if "prepare" in message:
                gc.unfreeze()  # so that the collector frees what was prepared before
                prepared = prepare(message["prepare"])
                # Frozen objects are not touched by the collector, so their pages stay shared.
                gc.collect()
                gc.freeze()
                continue
            limits = Limits(message["seconds"], message["memory_bytes"])
            run = work[message["work"]]
            write_whole(answers, _isolated(requests, limits, lambda: run(prepared, message["value"])))  # noqa: B023


def _isolated(requests: int, limits: Limits, run: Callable[[], Any]) -> bytes:
    """Call `run` in a forked process. Return the frame of the outcome.

    Raise EOFError if the parent ended.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            _limit(limits)
            write_whole(writer, _result(run))
        finally:
            os._exit(0)
    os.close(writer)
    try:
        return _collected(reader, requests, time.monotonic() + limits.seconds)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reader)


def _limit(limits: Limits) -> None:
    # If the fork server is killed, nothing else ends this process.
    seconds = math.ceil(limits.seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # macOS has no /proc and ignores the limit.
    with suppress(OSError, ValueError):
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
        most = pages * resource.getpagesize() + limits.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _result(run: Callable[[], Any]) -> bytes:
    try:
        return frame_of([DONE, run()])
    except BaseException as error:  # noqa: BLE001  (its message may quote data)
        return frame_of([FAILED, type(error).__name__])


def _collected(reader: int, requests: int, until: float) -> bytes:
    """Return the frame that the forked process writes before `until` (monotonic seconds).

    Return the frame of another outcome if the process is late, is cancelled, or ends without a whole
    frame. Raise EOFError if the parent has ended.
    """
    frame = bytearray()
    while True:
        ready, _, _ = select.select([reader, requests], [], [], max(0.0, until - time.monotonic()))
        if requests in ready:
            read_frame(requests)  # only CANCEL comes while work is going on
            return frame_of([CANCELLED, None])
        if reader not in ready:
            return frame_of([OVERRAN, None])
        piece = os.read(reader, _PIECE_BYTES)
        if not piece:
            return bytes(frame) if is_whole(bytes(frame)) else frame_of([FAILED, "the process ended"])
        frame += piece
