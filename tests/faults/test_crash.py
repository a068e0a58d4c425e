"""A process that ends at any step of its work loses nothing that was acknowledged, and no call overlaps another.

Every scenario runs once to its end, and then once for each step that it passed, many side by side.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from faults.crash.installation import DATABASES, CrashServers
from faults.crash.processes import fork_server
from faults.crash.runner import run
from faults.crash.scenarios import SCENARIOS
from integration.local.sandbox import Sandbox
from support.valkey import DURABLE, ValkeyServer

AT_ONCE, FEW_AT_ONCE, ROUNDS = 24, 3, 3


@pytest.fixture(scope="module")
def results(request, tmp_path_factory):
    """Every result of the chosen scenarios, by the scenario's name: first the run to the end, then the crashes."""
    asked = (getattr(item, "callspec", None) for item in request.session.items)
    chosen = list(dict.fromkeys(c.params["scenario"] for c in asked if c and "scenario" in c.params))
    with crash_runner(tmp_path_factory) as run_all:
        whole = decided(run_all, [(name, None) for name in chosen])
        crashed = decided(run_all, [(result.scenario, step) for result in whole for step in result.steps])
    return {name: [result for result in (*whole, *crashed) if result.scenario == name] for name in chosen}


def decided(run_all, wanted):
    """Run these crashes, and again, a few at a time, those that a crowded machine left undecided."""
    results = run_all(wanted, AT_ONCE)
    for _ in range(ROUNDS):
        again = [result for result in results if not result.reached or lacks(result)]
        done = [result for result in results if result not in again]
        results = done + run_all([(result.scenario, result.crash_at) for result in again], FEW_AT_ONCE)
    return results


def lacks(result):
    """The steps that a run without a crash should have passed, and did not."""
    return set(SCENARIOS[result.scenario].steps) - set(result.steps) if result.crash_at is None else set()


@contextmanager
def crash_runner(tmp_path_factory):
    """Yield a function that runs crashes, so many at once."""
    flags = (*DURABLE, "--databases", str(DATABASES))
    store, broker = (ValkeyServer(tmp_path_factory.mktemp(name), flags) for name in ("store", "broker"))
    with ExitStack() as stack:
        for server in (store, broker):
            server.start()
            stack.callback(server.stop)
        sandbox, children = stack.enter_context(Sandbox()), fork_server()
        servers = CrashServers(tmp_path_factory.mktemp("installations"), store, broker, sandbox)

        def run_all(wanted, at_once):
            with ThreadPoolExecutor(at_once) as pool:
                return list(
                    pool.map(lambda each: run(servers, children, SCENARIOS[each[0]], each[1]), wanted)
                )

        yield run_all


@pytest.mark.timeout(600)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_process_that_ends_at_any_step_loses_nothing_and_overlaps_nothing(results, scenario):
    whole, *crashed = results[scenario]
    assert not whole.faults, str(whole)
    assert not lacks(whole), f"not passed any more: {sorted(lacks(whole))}; passed: {whole.steps}"
    assert {result.crash_at for result in crashed} == set(whole.steps)
    broken = [str(result) for result in crashed if result.faults]
    assert not broken, "\n".join(broken)
