"""One crash: an installation is prepared, a victim ends at one step, a fresh process takes over, and all is looked at."""

from __future__ import annotations

import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import processes
from .checks import faults, is_done
from .installation import eventually
from .steps import CRASHED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from .installation import Answer, CrashInstallation, CrashServers, Request
    from .scenarios import Scenario

PROCESS_SECONDS = 60.0
DONE_SECONDS = 60.0
MOST_LATE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CrashResult:
    """What came of a crash at one step, or of a run without one; `faults` is empty when all is well.

    A crowded machine may keep a victim from a step (wolkvox was not heard in time), or keep wolkvox working for
    longer than it may: then it is not `reached`, and is to be tried again.
    """

    scenario: str
    crash_at: str | None
    steps: tuple[str, ...]
    reached: bool
    faults: tuple[str, ...]

    def __str__(self) -> str:
        lines = "\n    ".join(self.faults)
        return f"{self.scenario}, ended at “{self.crash_at}”:\n    {lines}"


def run(
    servers: CrashServers, fork_server: ForkServerContext, scenario: Scenario, crash_at: str | None
) -> CrashResult:
    began = time.monotonic()
    with servers.installation() as installation:
        steps, reached, faults = (), False, ()
        try:
            steps, reached, faults = _run(installation, fork_server, scenario, crash_at)
        except Exception:  # noqa: BLE001  (whatever it is, it is this run's fault and no other's)
            faults = (traceback.format_exc(), installation.log())
    late = servers.lag.worst_since(began)
    if faults and late > MOST_LATE_SECONDS:
        reached, faults = False, (f"this machine was starved, for {late:.1f} s at a time", *faults)
    return CrashResult(scenario=scenario.name, crash_at=crash_at, steps=steps, reached=reached, faults=faults)


def _run(
    installation: CrashInstallation, fork_server: ForkServerContext, scenario: Scenario, crash_at: str | None
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Return the steps that were passed, whether the victim ended where it should, and all that is wrong."""
    scenario.prepare(installation)
    installation.slow_down_wolkvox()
    request = scenario.request(installation) if scenario.request else None
    with _process(fork_server, processes.successor, installation.environ) as successor:
        answer, end = _live(fork_server, scenario, installation, request, crash_at)
        found = list(_amiss(crash_at, answer, end))
        if found:
            found.append(installation.log())
        found += _take_over(scenario, installation, successor, request, answer)
    reached = end == CRASHED or crash_at is None
    return tuple(end) if isinstance(end, list) else (), reached, tuple(found)


def _live(
    fork_server: ForkServerContext,
    scenario: Scenario,
    installation: CrashInstallation,
    request: Request | None,
    crash_at: str | None,
) -> tuple[Answer | None, object]:
    """Let a victim act. Gives what its sender was answered, and its steps, or CRASHED, or what went wrong."""
    answer = None
    with _process(
        fork_server, processes.victim, scenario.act, installation.environ, installation.peers, crash_at
    ) as told:
        try:
            if request is not None:
                told.recv()
                answer = installation.send(request)
            return answer, told.recv() if told.poll(PROCESS_SECONDS) else "not done in time"
        except EOFError:
            return answer, "ended by itself"


def _amiss(crash_at: str | None, answer: Answer | None, end: object) -> Iterator[str]:
    """Tell what is wrong with how the victim ended."""
    if crash_at is not None and end != CRASHED:
        yield f"never came to this step: {end}"
    if crash_at is None and not isinstance(end, list):
        yield f"did not come to its end: {end}"
    if crash_at is None and answer is not None and not answer.taken:
        yield f"answered {answer.status} {answer.body}"


def _take_over(
    scenario: Scenario,
    installation: CrashInstallation,
    told: Connection,
    request: Request | None,
    first: Answer | None,
) -> list[str]:
    if scenario.then is not None:
        request = scenario.then(installation)
    told.send("work" if request is None else "web")
    told.recv()
    found = []
    if request is not None:
        again = installation.send(request)
        if not again.taken and again.status not in scenario.done_before:
            found.append(f"sent again, and answered {again.status} {again.body}")
    told.send("work")
    if not eventually(lambda: is_done(installation), DONE_SECONDS):
        found.append(
            f"not done after {DONE_SECONDS:g} s: {[str(r.state) for r in installation.recalls()]}\n{installation.log()}"
        )
    found += faults(scenario, installation, first)
    told.send("end")
    return found


@contextmanager
def _process(fork_server: ForkServerContext, target: object, *args: object) -> Iterator[Connection]:
    ours, theirs = fork_server.Pipe()
    process = fork_server.Process(target=target, args=(*args, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join(5)
        ours.close()
