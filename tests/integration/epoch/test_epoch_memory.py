"""What a process remembers of the store, in a file."""

from __future__ import annotations

import pytest

from integration.store.scripting.epoch import StoreEpoch
from integration.store.token_queue import Claim
from support.store_process import Member


def test_a_file_remembers_while_everything_is_down(tmp_path, history):
    path = tmp_path / "seen"
    before = Member(history, path=path)
    before.queues.bind({"bogota": "L1"})
    before.ask("c1")
    before.epoch.keep()
    copy = history.copy()
    before.acquire()
    before.sweep()
    before.epoch.keep()
    history.put_back(copy)
    after = Member(history, path=path)
    assert after.acquire().kind == "wait"
    assert [loss.how for loss in after.losses] == ["went back"]


def test_a_file_of_the_same_history_costs_nothing(tmp_path, history):
    path = tmp_path / "seen"
    before = Member(history, path=path)
    before.queues.bind({"bogota": "L1"})
    before.ask("c1")
    before.epoch.keep()
    after = Member(history, path=path)
    assert isinstance(after.acquire(), Claim)


@pytest.mark.parametrize("text", ["", "nonsense", "abc 12x", "a-b 12", "\x00\xff"])
def test_a_file_that_cannot_be_read_is_no_memory(tmp_path, text):
    (tmp_path / "seen").write_bytes(text.encode())
    assert StoreEpoch(tmp_path / "seen").name == ""


def test_workers_that_share_a_file_keep_the_highest(tmp_path):
    first, second = (StoreEpoch(tmp_path / "seen") for _ in range(2))
    first.note("h1", 9, "s1")
    second.note("h1", 7, "s1")
    first.keep()
    second.keep()
    assert StoreEpoch(tmp_path / "seen").seen().revision == 9
    second.note("h2", 3, "s1")
    second.keep()
    assert StoreEpoch(tmp_path / "seen").name == "h2"


def test_a_file_that_cannot_be_written_harms_nothing(tmp_path):
    epoch = StoreEpoch(tmp_path / "no folder" / "seen")
    epoch.note("h1", 9, "s1")
    epoch.keep()
    assert epoch.name == "h1"
