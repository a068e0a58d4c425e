"""When a process counts as stalled, by the looks of another one, and the file in which it counts."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from integration.domain.errors import ConfigError
from integration.telemetry import liveness
from integration.telemetry.liveness import (
    STALLED_LOOKS,
    START_LOOKS,
    ProcessWatch,
    TickCounter,
    open_counter,
)


def looks(watch, ticks, number):
    return [watch.look(ticks) for _ in range(number)]


def test_a_process_without_a_tick_is_stalled_after_ten_looks_and_every_look_after_that():
    assert looks(ProcessWatch(), 1, 1 + STALLED_LOOKS + 2) == [0] * STALLED_LOOKS + [1, 2, 3]


def test_a_tick_begins_the_count_anew():
    watch = ProcessWatch()
    for tick in (1, 2, 1, 255, 1):
        assert looks(watch, tick, STALLED_LOOKS) == [0] * STALLED_LOOKS
    assert watch.look(1) == 1
    assert watch.look(7) == 0


def test_a_process_has_longer_for_its_start():
    assert looks(ProcessWatch(), 0, START_LOOKS) == [0] * (START_LOOKS - 1) + [1]


def test_a_loop_counts_its_ticks_and_never_returns_to_none(monkeypatch):
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0)
    ticks = TickCounter()
    assert ticks.value == 0
    values = set()

    async def run():
        ticks.count(asyncio.get_running_loop())
        for _ in range(600):
            values.add(ticks.value)
            await asyncio.sleep(0)

    asyncio.run(run())
    assert values == set(range(1, 256))


def test_the_ticks_of_a_process_are_seen_through_its_file(tmp_path):
    code = (
        "import os\nfrom integration.telemetry.liveness import open_counter\n"
        "counter = open_counter(os.environ)\ncounter.tick()\ncounter.tick()\nprint(os.getpid())"
    )
    path = tmp_path / "ticks"
    environ = {**os.environ, "RINGBACK_LIVENESS_FILE": str(path)}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, check=True)
    with path.open("r+b") as file:
        counter = TickCounter(file.fileno())
    assert (counter.value, counter.pid) == (2, int(done.stdout))


def test_a_process_that_starts_again_counts_from_0(tmp_path):
    environ = {"RINGBACK_LIVENESS_FILE": str(tmp_path / "ticks")}
    first = open_counter(environ)
    first.tick()
    again = open_counter(environ)
    assert (first.value, again.value, again.pid) == (0, 0, os.getpid())


def test_without_a_file_a_process_counts_for_itself():
    counter = open_counter({})
    counter.tick()
    assert counter.value == 1


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"RINGBACK_LIVENESS_FILE.*absent.*No such file"):
        open_counter({"RINGBACK_LIVENESS_FILE": str(tmp_path / "absent" / "ticks")})
