"""Responses of the sandbox and their encoding as HTTP/1.1."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True, slots=True)
class SandboxAnswer:
    """A response to be written. `takes_effect` is called when the simulated work is done."""

    status: int
    body: bytes
    code: str | None = None
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)
    takes_effect: Callable[[], None] | None = None


def json_answer(status: int, value: Any) -> SandboxAnswer:
    """Return a JSON response for the sandbox's own endpoints."""
    return SandboxAnswer(status, orjson.dumps(value))


def wire(answer: SandboxAnswer) -> bytes:
    """Return a response encoded as HTTP/1.1."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = "Unnamed"
    lines = [f"HTTP/1.1 {answer.status} {phrase}", f"Content-Length: {len(answer.body)}"]
    # A text of a rule must not inject another header.
    lines += [f"{name}: {' '.join(value.split())}" for name, value in answer.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + answer.body
