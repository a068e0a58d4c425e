"""The configuration's file of a run, and what befalls it: written anew, half written, cut off, emptied, deleted."""

from __future__ import annotations

import time
import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = "[[routes]]"
STARTS_SECONDS = 20.0
"""How long a process may be about to start that has read the file while it was damaged."""


class ConfigFile:
    """`text` is the good configuration. Routes are its last tables, so that it can be cut off before them."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text
        self._good_at: float | None = None
        self._written = 0
        self.restore()

    @property
    def was_damaged(self) -> bool:
        """Tell whether a process that ends during its start may have read a damaged file."""
        return self._good_at is None or time.monotonic() - self._good_at < STARTS_SECONDS

    def restore(self) -> None:
        """Put the good text back, as an editor does: another file takes the place."""
        other = self.path.with_suffix(".new")
        other.write_text(self._anew(), "utf-8")
        other.replace(self.path)
        self._good_at = time.monotonic()

    def damage(self, how: str, share: float = 0.0) -> None:
        """Let one fault befall the file. `share` says where it is cut off, from 0 to 1."""
        if how == "rewrite":
            self.path.write_text(self._anew(), "utf-8")
            return
        self._good_at = None
        if how == "delete":
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_text(self._rest(how, share), "utf-8")

    def _anew(self) -> str:
        self._written += 1
        return f"# written {self._written} times\n{self.text}"

    def _rest(self, how: str, share: float) -> str:
        if how == "empty":
            return ""
        if how == "cut before the routes":
            return self.text[: self.text.index(ROUTES)]
        return cut_off(self.text, share)


def cut_off(text: str, share: float) -> str:
    """Cut a TOML text off where it is no TOML any more: the rest may not pass for what somebody has written."""
    end = int(0.9 * share * len(text))
    while True:
        end += 1
        try:
            tomllib.loads(text[:end])
        except tomllib.TOMLDecodeError:
            return text[:end]
