"""Messages between a process and its fork server: a length of four bytes, then JSON in ASCII."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
_LENGTH_BYTES: Final = 4
_PIECE_BYTES: Final = 64 * 1024


def frame_of(value: Any) -> bytes:
    """Return a message. Raise ValueError if it is too large."""
    # The standard library writes any text in ASCII, also half a pair of surrogates.
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {len(body)} bytes")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def is_whole(frame: bytes) -> bool:
    """Return whether this is one complete message."""
    return int.from_bytes(frame[:_LENGTH_BYTES], "big") == len(frame) - _LENGTH_BYTES


def write_whole(descriptor: int, message: bytes, wait: Callable[[], object] | None = None) -> None:
    """Write a message. Raise OSError if the reader has ended.

    `wait` is called before each write to a descriptor that does not block, and may raise.
    """
    rest = memoryview(message)
    while rest:
        if wait is not None:
            wait()
        rest = rest[os.write(descriptor, rest) :]


def read_frame(descriptor: int, wait: Callable[[], object] | None = None) -> Any:
    """Return the next message. Raise EOFError if the writer has ended, ValueError if it is no message.

    `wait` is called before each read, and may raise.
    """
    length = int.from_bytes(_read(descriptor, _LENGTH_BYTES, wait), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"a message of {length} bytes")
    return json.loads(_read(descriptor, length, wait))


def _read(descriptor: int, count: int, wait: Callable[[], object] | None) -> bytes:
    read = bytearray()
    while len(read) < count:
        if wait is not None:
            wait()
        piece = os.read(descriptor, min(count - len(read), _PIECE_BYTES))
        if not piece:
            raise EOFError
        read += piece
    return bytes(read)
