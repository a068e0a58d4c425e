"""What the web server may run in a test: the bridge before an application that can be made to hang."""

from __future__ import annotations

import os
import time
from collections import deque
from itertools import count

from integration.telemetry import logging
from support.asgi_bridge import bridge

BUSY_SECONDS = 12.0  # longer than a process may be stalled


def answer(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/holds-the-lock":
        deque(count(), maxlen=0)
    if path == "/runs":
        end = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < end:
            pass
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]


def create_app():
    logging.configure("INFO", json=True)
    wsgi = bridge(answer)

    async def app(scope, receive, send):
        if scope.get("path") == "/blocks-the-loop":
            secret = "a-value-3001112233"  # noqa: F841  (in a frame, and not to be logged)
            time.sleep(10**6)  # noqa: ASYNC251  (that is the fault)
        await wsgi(scope, receive, send)

    return app
