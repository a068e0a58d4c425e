"""When a process counts as stalled, by the looks of its parent."""

from __future__ import annotations

import asyncio

from integration.web import process_watch
from integration.web.process_watch import STALLED_LOOKS, START_LOOKS, ProcessWatch, TurnCounter


class Turns:
    value = 0


def looks(watch, number):
    return [watch.look() for _ in range(number)]


def test_a_process_without_a_turn_is_stalled_after_ten_looks_and_every_look_after_that():
    turns = Turns()
    watch = ProcessWatch(turns)
    turns.value = 1
    assert looks(watch, 1 + STALLED_LOOKS + 2) == [0] * STALLED_LOOKS + [1, 2, 3]


def test_a_turn_begins_the_count_anew():
    turns = Turns()
    watch = ProcessWatch(turns)
    for turn in (1, 2, 1, 255, 1):
        turns.value = turn
        assert looks(watch, STALLED_LOOKS) == [0] * STALLED_LOOKS
    assert watch.look() == 1
    turns.value = 7
    assert watch.look() == 0


def test_a_process_has_longer_for_its_start():
    watch = ProcessWatch(Turns())
    assert looks(watch, START_LOOKS) == [0] * (START_LOOKS - 1) + [1]


def test_a_loop_counts_its_turns_and_never_returns_to_none(monkeypatch):
    monkeypatch.setattr(process_watch, "LOOK_SECONDS", 0)
    turns = TurnCounter()
    assert turns.value == 0
    values = set()

    async def run():
        turns.count(asyncio.get_running_loop())
        for _ in range(600):
            values.add(turns.value)
            await asyncio.sleep(0)

    asyncio.run(run())
    assert values == set(range(1, 256))
