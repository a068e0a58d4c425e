"""A process that ends at any step of its work loses nothing that was acknowledged, and no call overlaps another.

Every scenario runs once to its end, and then once for each step that it passed, many side by side.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from faults.crash.cast import nursery
from faults.crash.scenarios import SCENARIOS
from faults.crash.trial import run
from faults.crash.world import DATABASES, CrashStage
from integration.local.sandbox import Sandbox
from support.valkey import DURABLE, ValkeyServer

AT_ONCE, FEW_AT_ONCE, ROUNDS = 24, 3, 3


@pytest.fixture(scope="module")
def trials(request, tmp_path_factory):
    """Every trial of the chosen scenarios, by the scenario's name: first the run to the end, then the crashes."""
    asked = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = list(dict.fromkeys(c.params["scenario"] for c in asked if c and "scenario" in c.params))
    with on_stage(tmp_path_factory) as attempt:
        whole = decided(attempt, [(name, None) for name in chosen])
        crashed = decided(attempt, [(trial.scenario, step) for trial in whole for step in trial.steps])
    return {name: [trial for trial in (*whole, *crashed) if trial.scenario == name] for name in chosen}


def decided(attempt, wanted):
    """Make these trials, and again, a few at a time, those that a crowded machine left undecided."""
    trials = attempt(wanted, AT_ONCE)
    for _ in range(ROUNDS):
        again = [trial for trial in trials if not trial.reached or lacks(trial)]
        done = [trial for trial in trials if trial not in again]
        trials = done + attempt([(trial.scenario, trial.crash_at) for trial in again], FEW_AT_ONCE)
    return trials


def lacks(trial):
    """The steps that a run without a crash should have passed, and did not."""
    return set(SCENARIOS[trial.scenario].steps) - set(trial.steps) if trial.crash_at is None else set()


@contextmanager
def on_stage(tmp_path_factory):
    """Give what makes trials, so many at once."""
    flags = (*DURABLE, "--databases", str(DATABASES))
    store, broker = (ValkeyServer(tmp_path_factory.mktemp(name), flags) for name in ("store", "broker"))
    with ExitStack() as stack:
        for server in (store, broker):
            server.start()
            stack.callback(server.stop)
        sandbox, children = stack.enter_context(Sandbox()), nursery()
        stage = CrashStage(tmp_path_factory.mktemp("worlds"), store, broker, sandbox)

        def attempt(wanted, at_once):
            with ThreadPoolExecutor(at_once) as pool:
                return list(pool.map(lambda each: run(stage, children, SCENARIOS[each[0]], each[1]), wanted))

        yield attempt


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_process_that_ends_at_any_step_loses_nothing_and_overlaps_nothing(trials, scenario):
    whole, *crashed = trials[scenario]
    assert not whole.faults, str(whole)
    assert not lacks(whole), f"not passed any more: {sorted(lacks(whole))}; passed: {whole.steps}"
    assert {trial.crash_at for trial in crashed} == set(whole.steps)
    broken = [str(trial) for trial in crashed if trial.faults]
    assert not broken, "\n".join(broken)
