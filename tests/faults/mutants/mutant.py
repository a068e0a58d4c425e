"""A guard taken out: which text becomes which other text, and which tests should notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent.parent


def path_of(name: str) -> Path:
    """Return the path of a test file, in whichever tier it stands; names are unique. Raise LookupError."""
    found = [*(ROOT / "tests").rglob(name)]
    if len(found) != 1:
        raise LookupError(f"{name}: {len(found)} files of this name")
    return found[0].relative_to(ROOT)


class StaleError(Exception):
    """A mutant's text is not in its file exactly once: the guard was moved, doubled or rewritten."""


@dataclass(frozen=True, slots=True)
class Edit:
    """In `file`, under the repository, `before` becomes `after`.

    The parts of the script are one text: "workers/lua/*.lua" is whichever of them holds `before`.
    """

    file: str
    before: str
    after: str

    def apply(self, root: Path) -> None:
        """Change the file. Raises StaleError."""
        found = {path: path.read_text("utf-8") for path in root.glob(self.file)}
        times = sum(text.count(self.before) for text in found.values())
        if times != 1:
            raise StaleError(f"{self.file}: found {times} times, not once: {self.before!r}")
        path, text = next((path, text) for path, text in found.items() if self.before in text)
        path.write_text(text.replace(self.before, self.after), "utf-8")


@dataclass(frozen=True, slots=True)
class Mutant:
    """Ringback without one guard. `tests` are tried first, as `file.py::test`, the file in any tier."""

    guard: str
    out: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def mutant(guard: str, out: str, *tests: str, file: str, before: str, after: str = "") -> Mutant:
    """Make a mutant of one edit. `out` says what is taken out, for people."""
    return Mutant(guard, out, (Edit(file, before, after),), tests)
