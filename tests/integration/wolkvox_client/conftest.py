"""Servers that answer with raw bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
from support.wolkvox_peer import Peer


@pytest.fixture
def peer() -> Iterator[Callable[..., Peer]]:
    started: list[Peer] = []

    def start(script) -> Peer:
        started.append(Peer(script))
        return started[-1]

    yield start
    for each in started:
        each.stop()
