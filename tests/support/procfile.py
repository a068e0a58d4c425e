"""What the Procfile starts: the tests start the same."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def procfile_line(name: str) -> str:
    """Return the command of a process. Raise AssertionError where there is none of this name."""
    for line in (ROOT / "Procfile").read_text("utf-8").splitlines():
        kind, _, command = line.partition(":")
        if kind.strip() == name:
            return command.strip()
    raise AssertionError(f"no {name} in the Procfile")
