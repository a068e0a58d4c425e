"""Waiting in tests: generous, since machines are busy, and over as soon as it has come to pass."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import redis

from integration.domain.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE_SECONDS = 25.0
"""An upper bound for what has an end by itself, even on a crowded machine. Without its end it lasts for ever."""

Found = TypeVar("Found")


def wait_until(
    condition: Callable[[], Found], seconds: float = 30.0, *, what: str | Callable[[], str] = "the condition"
) -> Found:
    """Return what `condition` returns as soon as that is true. A store that is away means: not yet.

    Raise AssertionError after `seconds`; `what` names the condition, or is called for the words.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            if found := condition():
                return found
        except (redis.RedisError, StoreAwayError):
            pass
        if time.monotonic() >= end:
            raise AssertionError(f"{what if isinstance(what, str) else what()}: not after {seconds:g} s")
        time.sleep(0.01)


def is_gone(pid: int) -> bool:
    """Ended, or only a zombie that its new parent has yet to reap."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in {"Z", "X"}
    except FileNotFoundError:
        return True
