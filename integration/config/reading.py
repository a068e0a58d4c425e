"""The state of one reading of the configuration: its content, its faults and the files it depends on.

A key has at most one fault. Faults are sorted in the order of the files.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from integration.config.descriptions import described, is_plain, spelled_part
from integration.config.text_files import read_text, stamp
from integration.domain.errors import ConfigError, Fault
from integration.domain.field_types import NAME_WORDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from integration.config.descriptions import Place
    from integration.config.models import Config
    from integration.config.text_files import Stamp
    from integration.domain.field_types import ValidationIssue

_LAST: Final = 1 << 62
WHOLE_FILE: Final = "the file"
_OWN_NAME: Final = "the table's own name"


@dataclass(slots=True, eq=False)
class ConfigReading:
    """One reading of the configuration: its content, its faults and the files it depends on.

    `path` is the main file. `tree` has the tables of all files; `owners` has the file of each included
    table or route, and its place there; `origins` has the `env:` or `file:` reference of a value;
    `stamps` has the stamps of the files and folders that were read. Only the first fault of a key is
    recorded, because further faults usually follow from it.
    """

    path: Path
    environ: Mapping[str, str]
    tree: dict[str, Any] = field(default_factory=dict)
    origins: dict[Place, str] = field(default_factory=dict)
    owners: dict[Place, tuple[Path, Place]] = field(default_factory=dict)
    faults: dict[Place, Fault] = field(default_factory=dict)
    stamps: dict[Path, Stamp | None] = field(default_factory=dict)
    config: Config | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count)
    _above: set[Place] = field(default_factory=set)

    def outcome(self) -> Config:
        """Return the configuration. Raise ConfigError if there is a fault."""
        if self.faults or self.config is None:
            files = {str(path): number for number, path in enumerate(self.stamps)}
            order = sorted(
                self.faults, key=lambda place: (files.get(self.faults[place].file, 0), self._position(place))
            )
            raise ConfigError(tuple(self.faults[place] for place in order))
        return self.config

    def _position(self, place: Place) -> tuple[int, ...]:
        """Return a sort key for the order of the file. Places that the file does not have sort last."""
        containers = [self.value(place[:depth]) for depth in range(len(place))]
        return tuple(
            part
            if isinstance(part, int)
            else ([*container].index(part) if isinstance(container, dict) and part in container else _LAST)
            for part, container in zip(place, containers, strict=True)
        )

    def at_fault(self, place: Place) -> bool:
        """Return True if a fault is recorded for `place`, a part of it or a table around it."""
        return place in self._above or any(place[:end] in self.faults for end in range(len(place) + 1))

    def report(self, place: Place, allowed: str, found: str | None = None) -> None:
        """Record a fault, unless `at_fault` is true. `found` defaults to a description of the value."""
        place = self.written(place)
        if not self.at_fault(place):
            found = found or described(self.value(place), place, self.origins.get(place))
            self.faults[place] = Fault(str(self.file_of(place)), self.spelled(place), found, allowed)
            self._above.update(place[:end] for end in range(len(place)))

    def report_included(self, path: Path, key: str, found: str, allowed: str) -> None:
        """Record a fault of an included file. `key` is the place in that file, or WHOLE_FILE."""
        self.faults["include", str(path), key] = Fault(str(path), key, found, allowed)

    def report_name(self, table: Place) -> None:
        """Record that a table's own name is invalid. Its keys are still checked."""
        fault = Fault(str(self.file_of(table)), self.spelled(table), "an invalid name", NAME_WORDS)
        self.faults[*table, _OWN_NAME] = fault

    def report_all(self, table: Place, issues: Iterable[ValidationIssue]) -> None:
        """Record the issues of one table as faults. Their places are relative to `table`."""
        for issue in issues:
            self.report((*table, *issue.place), issue.allowed, issue.found)

    def report_whole(self, path: Path, found: str, allowed: str, key: str = WHOLE_FILE) -> None:
        """Record that a whole file is unusable. `key` is the line and column, if they are known."""
        if path == self.path:
            self.faults[()] = Fault(str(path), key, found, allowed)
        else:
            self.report_included(path, key, found, allowed)

    def text_of(self, path: Path, most_bytes: int) -> str:
        """Return the text of a file, and record its stamp from before the reading.

        Raise UnreadableFileError if the file cannot be read.
        """
        self.stamps[path] = stamp(path)
        return read_text(path, most_bytes)

    def file_of(self, place: Place) -> Path:
        """Return the file in which the value of `place` is written."""
        return self.owners.get(place[:2], (self.path, ()))[0]

    def value(self, place: Place) -> Any:
        """Return the file's value at `place`, or None."""
        value: Any = self.tree
        for part in place:
            value = _part(value, part)
        return value

    def spelled(self, place: Place) -> str:
        """Return a place as messages write it: list items numbered from 1, routes with their name."""
        own = self.owners.get(place[:2], (self.path, place[:2]))[1]
        text = "".join(map(spelled_part, (*own, *place[2:]))).removeprefix(".")
        name = self.value((*place[:2], "name")) if place[:1] == ("routes",) else None
        if isinstance(name, str) and (*place[:2], "name") not in self.origins and is_plain(name):
            return text.replace("]", f'] ("{name}")', 1)
        return text

    def written(self, place: Place) -> Place:
        """Return `place`, or the place of a single value that replaces a list or a table."""
        for end in range(1, len(place)):
            value = self.value(place[:end])
            if value is not None and not isinstance(value, dict | list):
                return place[:end]
        return place


def _part(value: Any, part: str | int) -> Any:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and isinstance(part, int) and part < len(value):
        return value[part]
    return None
