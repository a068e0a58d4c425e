"""Ports for processes that need two in a row."""

from __future__ import annotations

import os
import random
import socket


def two_free_ports() -> int:
    """Return the first of two free ports in a row, below those that the system gives out by itself."""
    dice = random.Random(os.getpid() ^ random.getrandbits(32))
    while True:
        port = dice.randrange(12_000, 30_000, 2)
        if _is_free(port) and _is_free(port + 1):
            return port


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True
