"""A configuration that changes while it is watched."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from integration.config.loader import read
from integration.domain.errors import ConfigError
from integration.services.configuration import watch_config
from support.config_texts import (
    GOOD,
    written,
)

# --- a configuration that changes --------------------------------------------------------------


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A watch over a file in a folder, and a clock that each look advances by two seconds."""

    def __init__(self, folder: Path, text: str, environ: dict[str, str] | None = None) -> None:
        self.folder, self.clock = folder, Clock()
        self.path = written(folder, text)
        self.watch = watch_config(self.path, environ or {}, every_seconds=2.0, clock=self.clock)

    def write(self, text: str, name: str = "ringback.toml") -> None:
        (self.folder / name).write_text(text, encoding="utf-8")

    def look(self) -> bool:
        """Look once. Return True if a new configuration is in use."""
        self.clock.now += 2.0
        candidate = self.watch.look()
        return candidate is not None and self.watch.take(candidate)

    def settle(self) -> bool:
        """Look until a changed file is read: two looks that agree, and one more where it names new files."""
        return any([self.look(), self.look(), self.look()])


def test_a_faulty_configuration_does_not_start(tmp_path):
    with pytest.raises(ConfigError):
        watch_config(written(tmp_path, "x = 1\n"), {})


def test_a_changed_file_is_taken_up(tmp_path):
    watched = Watched(tmp_path, GOOD)
    before = watched.watch.current
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    assert watched.settle() is True
    assert watched.watch.current.vars == {"ventas": "22"}
    assert before.vars == {"ventas": "1"}
    assert watched.watch.generation == 2


def test_an_unchanged_file_is_neither_taken_up_nor_read(tmp_path, monkeypatch):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    assert watched.settle() is False
    monkeypatch.setattr("integration.config.watcher.read", None)
    assert [watched.look() for _ in range(3)] == [False] * 3
    assert watched.watch.current is config
    assert watched.watch.generation == 1


def test_the_files_are_looked_at_no_more_often_than_configured(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    watched.look()
    watched.clock.now += 1.9
    assert watched.watch.look() is None
    watched.clock.now += 0.1
    assert watched.watch.look() is not None


def test_a_faulty_file_is_refused_whole_and_the_old_configuration_stays(tmp_path):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"') + "whenn = 1\n")
    assert watched.settle() is False
    assert watched.watch.current is config
    assert [fault.key for fault in watched.watch.fault.faults] == ['routes[1] ("r").whenn']
    assert watched.watch.generation == 1


def test_a_mended_file_is_taken_up_and_the_fault_forgotten(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write("x")
    watched.settle()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    assert watched.settle() is True
    assert watched.watch.fault is None
    assert watched.watch.generation == 2


def test_a_file_put_back_as_it_was_is_no_new_generation(tmp_path):
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    watched.write("x")
    watched.settle()
    watched.write(GOOD)
    assert watched.settle() is False
    assert (watched.watch.current, watched.watch.fault, watched.watch.generation) == (config, None, 1)


def test_a_file_that_vanishes_is_a_fault_until_it_is_back(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.path.unlink()
    assert watched.settle() is False
    assert watched.watch.fault.faults[0].found == "missing"
    assert watched.watch.current.vars == {"ventas": "1"}
    watched.write(GOOD)
    watched.settle()
    assert watched.watch.fault is None


def test_a_file_that_is_replaced_is_taken_up(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.settle()
    stat = watched.path.stat()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'), "new")
    os.utime(tmp_path / "new", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (tmp_path / "new").replace(watched.path)
    assert watched.settle() is True
    assert watched.watch.current.vars == {"ventas": "2"}


def test_a_file_that_grew_is_taken_up_though_its_date_was_put_back(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.settle()
    stat = watched.path.stat()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "22"'))
    os.utime(watched.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert watched.settle() is True


def test_a_changed_file_is_read_once_and_then_left_alone(tmp_path, monkeypatch):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    assert [watched.look(), watched.look()] == [False, True]
    monkeypatch.setattr("integration.config.watcher.read", None)
    assert watched.settle() is False


def test_a_file_is_read_when_two_looks_find_it_the_same(tmp_path):
    watched = Watched(tmp_path, GOOD)
    whole = GOOD.replace('ventas = "1"', 'ventas = "2"')
    for end in (10, 40, len(whole) // 2, len(whole) - 1):
        watched.write(whole[:end])
        assert watched.look() is False
        assert watched.watch.fault is None
    watched.write(whole)
    assert [watched.look(), watched.look()] == [False, True]


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path, monkeypatch):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))

    def read_and_write(*arguments):
        reading = read(*arguments)
        watched.write(GOOD.replace('ventas = "1"', 'ventas = "333"'))
        monkeypatch.undo()
        return reading

    monkeypatch.setattr("integration.config.watcher.read", read_and_write)
    assert [watched.look() for _ in range(4)] == [False, False, False, True]
    assert watched.watch.current.vars == {"ventas": "333"}


def test_a_file_named_by_a_changed_file_is_looked_at_twice_as_well(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write("half-a-tok", "token")
    watched.write(GOOD.replace("token-a", "file:token"))
    assert [watched.look(), watched.look()] == [False, False]
    watched.write("half-a-token-and-the-rest", "token")
    assert [watched.look(), watched.look()] == [False, True]
    token = watched.watch.current.accounts["a"].token.get_secret_value()
    assert token == "half-a-token-and-the-rest"


@pytest.mark.parametrize("text", ["", "# nothing\n", '[vars]\nventas = "1"\n', "[store]\n", "[alerts]\n"])
def test_a_file_without_sources_and_accounts_is_never_used(tmp_path, text):
    with pytest.raises(ConfigError, match="without sources and accounts"):
        watch_config(written(tmp_path, text), {})
    watched = Watched(tmp_path, GOOD)
    config = watched.watch.current
    watched.write(text)
    assert watched.settle() is False
    assert watched.watch.current is config
    assert watched.watch.fault.faults[0].found == "without sources and accounts"
    watched.path.unlink()
    assert watched.settle() is False
    assert watched.watch.current is config


def test_a_candidate_that_was_changed_again_is_not_used(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    watched.clock.now += 2.0
    watched.watch.look()
    watched.clock.now += 2.0
    candidate = watched.watch.look()
    watched.write(GOOD)
    watched.settle()
    assert candidate is not None
    assert watched.watch.take(candidate) is False
    assert watched.watch.current.vars == {"ventas": "1"}


def test_a_secret_that_changes_in_its_file_is_taken_up(tmp_path):
    (tmp_path / "token").write_text("old")
    watched = Watched(tmp_path, GOOD.replace("token-a", "file:token"))
    digest = watched.watch.current.digest
    watched.settle()
    watched.write("newer", "token")
    assert watched.settle() is True
    assert watched.watch.current.accounts["a"].token.get_secret_value() == "newer"
    assert watched.watch.current.digest == digest


def test_a_secret_file_that_appears_mends_the_configuration(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace("token-a", "file:token"))
    watched.settle()
    watched.settle()
    assert watched.watch.fault.faults[0].key == "accounts.a.token"
    watched.write("token-b", "token")
    assert watched.settle() is True
    assert watched.watch.fault is None


def test_a_second_change_within_one_tick_of_the_file_clock_is_not_missed(tmp_path):
    watched = Watched(tmp_path, GOOD)
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    stat = watched.path.stat()
    watched.look()
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "3"'))
    os.utime(watched.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert watched.settle() is True
    assert watched.watch.current.vars == {"ventas": "3"}


def test_a_fault_is_logged_once_until_it_changes_or_is_mended(tmp_path):
    watched = Watched(tmp_path, GOOD)
    with capture_logs() as logs:
        for text in ("x", "# again\nx", "y =", GOOD, "x"):
            watched.write(text)
            watched.settle()
            watched.settle()
    refused = [
        log["faults"]
        for log in logs
        if log["event"] == "configuration rejected, the previous one stays in use"
    ]
    assert ["Expected" in faults[0] for faults in refused] == [True, False, True]


def test_many_threads_see_whole_configurations_only(tmp_path):
    watched = Watched(tmp_path, GOOD)
    seen: list[tuple[int, bool]] = []

    def look() -> None:
        for _ in range(50):
            taken = watched.look()
            seen.append((watched.watch.generation, taken))

    threads = [threading.Thread(target=look) for _ in range(4)]
    watched.write(GOOD.replace('ventas = "1"', 'ventas = "2"'))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [taken for _, taken in seen].count(True) == 1
    assert watched.watch.generation == 2
