"""One file on disk: its text, bounded, and a stamp that tells one state of it from another.

Promises to read regular files only, in UTF-8, and never more than it is told. Decides nothing about content.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Stamp = tuple[int, int, int]


class UnreadableFileError(Exception):
    """A file cannot be read as text; the message describes what was found there."""


def stamp(path: Path) -> Stamp | None:
    """Tell one state of a file from another, without reading it; None when it is not there."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def read_text(path: Path, most_bytes: int) -> str:
    """Read a whole file as text. Raises UnreadableFileError, also when it is longer than `most_bytes`."""
    try:
        # A pipe or a device could keep the reader waiting, or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableFileError("something that is not a regular file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise UnreadableFileError("no file") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableFileError(f"a file that cannot be read ({reason or 'bad path'})") from error
    if len(content) > most_bytes:
        raise UnreadableFileError(f"a file of more than {most_bytes} bytes")
    try:
        # Editors on Windows put a byte order mark in front.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"bytes that are not UTF-8, at byte {error.start}") from error
