"""Messages between a process and its fork server.

A message is a big-endian length of four bytes, then JSON in ASCII.
"""

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
    """Return a JSON value as a message. Raise ValueError if the JSON exceeds MAX_FRAME_BYTES."""
    # orjson rejects lone surrogates; the standard library escapes them.
    body = json.dumps(value, separators=(",", ":")).encode("ascii")
    if len(body) > MAX_FRAME_BYTES:
        raise ValueError(f"the message has {len(body)} bytes; the limit is {MAX_FRAME_BYTES}")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def is_whole(frame: bytes) -> bool:
    """Return True if `frame` is one complete message."""
    return int.from_bytes(frame[:_LENGTH_BYTES], "big") == len(frame) - _LENGTH_BYTES


def write_whole(descriptor: int, message: bytes, wait: Callable[[], object] | None = None) -> None:
    """Write a message. Raise OSError if the other process has ended.

    `wait` is called before each write, for a descriptor that does not block. Exceptions of `wait` are
    passed on.
    """
    rest = memoryview(message)
    while rest:
        if wait is not None:
            wait()
        rest = rest[os.write(descriptor, rest) :]


def read_frame(descriptor: int, wait: Callable[[], object] | None = None) -> Any:
    """Return the value of the next message.

    Raise EOFError if the other process has ended, and ValueError if the message is too long or not JSON.
    `wait` is called before each read; its exceptions are passed on.
    """
    length = int.from_bytes(_read(descriptor, _LENGTH_BYTES, wait), "big")
    if length > MAX_FRAME_BYTES:
        raise ValueError(f"the message has {length} bytes; the limit is {MAX_FRAME_BYTES}")
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
