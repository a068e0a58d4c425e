"""An answer, and how it is written on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class SandboxAnswer:
    """An answer before it is written; `takes_effect` is run when the work is done."""

    status: int
    body: bytes
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    takes_effect: Callable[[], None] | None = None


def json_answer(status: int, value: Any) -> SandboxAnswer:
    """Make an answer of the sandbox's own, for a program."""
    return SandboxAnswer(status, orjson.dumps(value))


def wire(answer: SandboxAnswer) -> bytes:
    """Write an answer down in one piece."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unnamed"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Length: {len(answer.body)}"]
    # A rule's text must not become a header of its own.
    lines += [f"{name}: {' '.join(value.split())}" for name, value in answer.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + answer.body
