"""What granian may run in a test: the gate before an application that can be made to hang."""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import count

from integration.telemetry import logging
from integration.web.loop_watchdog import LoopWatchdog
from support.asgi_bridge import bridge

SECONDS = 6.0  # granian gives up for good when a process dies within 5.5 s of its start


def answer(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/holds-the-lock":
        deque(count(), maxlen=0)
    if path == "/runs":
        end = time.monotonic() + 2 * SECONDS
        while time.monotonic() < end:
            pass
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


def create_app():
    logging.configure("INFO", json=True)
    gate = bridge(answer, watchdog=LoopWatchdog(SECONDS))

    async def app(scope, receive, send):
        if scope.get("path") == "/blocks-the-loop":
            secret = "a-value-3001112233"  # noqa: F841  (in a frame, and not to be told)
            time.sleep(10**6)  # noqa: ASYNC251  (that is the fault)
        await gate(scope, receive, send)

    return app
