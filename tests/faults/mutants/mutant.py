"""A guard taken out: what becomes of which piece of the code, and which tests should notice."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .code import Edit

ROOT = Path(__file__).parent.parent.parent.parent


def path_of(name: str, root: Path = ROOT) -> Path:
    """Return the path of a test file, in whichever tier it stands; names are unique. Raise LookupError."""
    found = [*(root / "tests").rglob(name)]
    if len(found) != 1:
        raise LookupError(f"{name}: {len(found)} files of this name")
    return found[0].relative_to(root)


@dataclass(frozen=True, slots=True)
class Mutant:
    """Ringback without one guard. `tests` are tried first, as `file.py::test`, the file in any tier."""

    guard: str
    out: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def mutant(guard: str, out: str, edits: Edit | tuple[Edit, ...], *tests: str) -> Mutant:
    """Make a mutant. `out` says what happens without the guard, for people."""
    return Mutant(guard, out, edits if isinstance(edits, tuple) else (edits,), tests)
