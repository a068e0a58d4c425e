"""One trial: a world is prepared, a victim ends at one step, a fresh process takes over, and all is looked at."""

from __future__ import annotations

import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import cast
from .aftermath import faults, is_calm
from .steps import CRASHED
from .world import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from multiprocessing.context import ForkServerContext

    from .scenarios import Scenario
    from .world import Answer, CrashStage, Request, World

PROCESS_SECONDS = 60.0
CALM_SECONDS = 60.0
MOST_LATE_SECONDS = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
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


def run(stage: CrashStage, nursery: ForkServerContext, scenario: Scenario, crash_at: str | None) -> Trial:
    began = time.monotonic()
    with stage.world() as world:
        steps, reached, faults = (), False, ()
        try:
            steps, reached, faults = _run(world, nursery, scenario, crash_at)
        except Exception:  # noqa: BLE001  (whatever it is, it is this trial's fault and no other's)
            faults = (traceback.format_exc(), world.log())
    late = stage.lag.worst_since(began)
    if faults and late > MOST_LATE_SECONDS:
        reached, faults = False, (f"this machine was starved, for {late:.1f} s at a time", *faults)
    return Trial(scenario=scenario.name, crash_at=crash_at, steps=steps, reached=reached, faults=faults)


def _run(
    world: World, nursery: ForkServerContext, scenario: Scenario, crash_at: str | None
) -> tuple[tuple[str, ...], bool, tuple[str, ...]]:
    """Give the steps that were passed, whether the victim ended where it should, and all that is wrong."""
    scenario.prepare(world)
    world.slow_down_wolkvox()
    request = scenario.request(world) if scenario.request else None
    with _process(nursery, cast.successor, world.environ) as successor:
        answer, end = _live(nursery, scenario, world, request, crash_at)
        found = list(_amiss(crash_at, answer, end))
        if found:
            found.append(world.log())
        found += _take_over(scenario, world, successor, request, answer)
    reached = end == CRASHED or crash_at is None
    return tuple(end) if isinstance(end, list) else (), reached, tuple(found)


def _live(
    nursery: ForkServerContext,
    scenario: Scenario,
    world: World,
    request: Request | None,
    crash_at: str | None,
) -> tuple[Answer | None, object]:
    """Let a victim act. Gives what its sender was answered, and its steps, or CRASHED, or what went wrong."""
    answer = None
    with _process(nursery, cast.victim, scenario.act, world.environ, world.peers, crash_at) as told:
        try:
            if request is not None:
                told.recv()
                answer = world.send(request)
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
    scenario: Scenario, world: World, told: Connection, request: Request | None, first: Answer | None
) -> list[str]:
    if scenario.then is not None:
        request = scenario.then(world)
    told.send("work" if request is None else "web")
    told.recv()
    found = []
    if request is not None:
        again = world.send(request)
        if not again.taken and again.status not in scenario.done_before:
            found.append(f"sent again, and answered {again.status} {again.body}")
    told.send("work")
    if not eventually(lambda: is_calm(world), CALM_SECONDS):
        found.append(
            f"not done after {CALM_SECONDS:g} s: {[str(r.state) for r in world.recalls()]}\n{world.log()}"
        )
    found += faults(scenario, world, first)
    told.send("end")
    return found


@contextmanager
def _process(nursery: ForkServerContext, target: object, *args: object) -> Iterator[Connection]:
    ours, theirs = nursery.Pipe()
    process = nursery.Process(target=target, args=(*args, theirs), daemon=True)
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
