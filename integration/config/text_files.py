"""Read regular UTF-8 files up to a size limit, and detect changes by a stamp."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

Stamp = tuple[int, int, int]


class UnreadableFileError(Exception):
    """A file cannot be read as text. The message completes the sentence "The file is …"."""


def stamp(path: Path) -> Stamp | None:
    """Return the file's modification time (ns), size (bytes) and inode, or None if unavailable."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def readable_by_others(path: Path) -> bool:
    """Return True if the file exists and users other than the owner and its group may read it."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except (OSError, ValueError):
        return False


def read_text(path: Path, most_bytes: int) -> str:
    """Return the text of a UTF-8 file.

    A byte order mark is removed. Raise UnreadableFileError if the file is missing, not a regular file,
    not readable, longer than `most_bytes` or not UTF-8.
    """
    try:
        # Reading a pipe or a device could block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableFileError("not a regular file")
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError as error:
        raise UnreadableFileError("missing") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise UnreadableFileError(f"not readable ({reason or 'bad path'})") from error
    if len(content) > most_bytes:
        raise UnreadableFileError(f"longer than {most_bytes} bytes")
    try:
        # Some editors on Windows write a byte order mark at the start.
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"not in UTF-8 (at byte {error.start})") from error
