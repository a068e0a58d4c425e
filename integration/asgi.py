"""The ASGI application that granian calls: reads each body whole, then has a thread answer the request.

A slow sender holds a connection and never a thread. A body that was cut short does not reach the
application. Reading is bounded in time, in size and over all requests together. Nothing of the process's
environment gets into a request.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from integration import app as web
from integration.web import wsgi
from integration.web.loop_watchdog import LoopWatchdog
from integration.web.problems import MAX_BODY_BYTES, NOTHING_HERE, problem
from integration.web.request_checks import fault_of_head, has_second_spelling
from integration.web.request_threads import BusyError, RequestThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from flask import Response

    from integration.app import Web
    from integration.web.wsgi import WholeResponse

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

# CRMs give up after 1 to 60 seconds.
BODY_SECONDS = 10.0
# A thread is busy with one short round trip to the store; more threads only crowd the processor. Work for
# people has threads of its own, so that slow pages keep no webhook waiting.
RECEIVER_THREADS, RECEIVER_WAITING = 32, 4096
API_THREADS, API_WAITING = 16, 1024
DASHBOARD_THREADS, DASHBOARD_WAITING = 8, 256
MOST_HELD_BYTES = 64 * 1024 * 1024
RETRY_AFTER_SECONDS = 5
# Objects that may be made, and not freed by reference counts, before the collector runs.
YOUNG_OBJECTS = 20_000


def create_app() -> WsgiBridge:
    """Return what the server calls. Exit with 1 where `integration.app.create_app` does."""
    _allow_many_connections()
    app = web.create_app()
    _settle()
    return WsgiBridge(threads_by_application(app))


def threads_by_application(app: Web) -> Callable[[str], RequestThreads]:
    """Return what chooses the threads for a path: each application has its own, with limits of its own."""
    limits = (
        (app.receiver, RECEIVER_THREADS, RECEIVER_WAITING),
        (app.api, API_THREADS, API_WAITING),
        (app.dashboard, DASHBOARD_THREADS, DASHBOARD_WAITING),
    )
    threads = {
        served.name: RequestThreads(served, threads=most, most_waiting=waiting)
        for served, most, waiting in limits
        if served is not None
    }
    return lambda path: threads[app.application_for(path).name]


def _allow_many_connections() -> None:
    # Every connection is an open file, and many systems start a process with 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settle() -> None:
    """Exempt what exists by now from garbage collection, and collect less often.

    A request leaves next to no cycles; at the default threshold collecting takes a fifth of its time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


class _Refused(Exception):  # noqa: N818  (an outcome, not an error of ours)
    """The request is answered before the application sees it."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class WsgiBridge:
    """An ASGI application around WSGI applications; `threads_for` chooses the threads by the path.

    A body may take `body_seconds`. All bodies together may hold `most_held_bytes`; beyond that the oldest
    that is incomplete is refused. Responses are sent whole.
    """

    def __init__(
        self,
        threads_for: Callable[[str], RequestThreads],
        *,
        body_seconds: float = BODY_SECONDS,
        most_held_bytes: int = MOST_HELD_BYTES,
        watchdog: LoopWatchdog | None = None,
    ) -> None:
        self._threads_for = threads_for
        self._body_seconds = body_seconds
        self._most_held = most_held_bytes
        self._held = 0
        # The limits of incomplete bodies, oldest first.
        self._incomplete: dict[asyncio.Timeout, None] = {}
        self._watchdog = watchdog or LoopWatchdog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return
        body = bytearray()
        try:
            _require_one_reading(scope)
            if _announced(scope) <= MAX_BODY_BYTES:  # else the application refuses it by its length alone
                await self._read(receive, body)
            answer = await self._answer(scope, bytes(body))
        except _Refused as refused:
            answer = wsgi.of_flask(refused.answer)
        finally:
            self._held -= len(body)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start and stop with the server."""
        await receive()
        self._watchdog.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._watchdog.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _read(self, receive: Receive, body: bytearray) -> None:
        """Read until the body is complete, or one byte too long for the application. Raise _Refused."""
        limit = asyncio.timeout(self._body_seconds)
        self._incomplete[limit] = None
        try:
            async with limit:
                while await self._more(receive, body):
                    self._make_room()
        except TimeoutError:
            if limit not in self._incomplete:
                raise _busy("too many bodies are on their way") from None
            detail = f"the body was not complete within {self._body_seconds:g} s"
            raise _Refused(problem(408, detail=detail, headers={"Connection": "close"})) from None
        finally:
            self._incomplete.pop(limit, None)

    async def _more(self, receive: Receive, body: bytearray) -> bool:
        """Read one more piece; return whether to read on. Raise _Refused when the sender hung up."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(problem(400, detail="the body ended before it was complete"))
        piece = message.get("body", b"")[: MAX_BODY_BYTES + 1 - len(body)]
        body += piece
        self._held += len(piece)
        return bool(message.get("more_body")) and len(body) <= MAX_BODY_BYTES

    def _make_room(self) -> None:
        """Refuse the oldest incomplete body when all bodies together hold too much."""
        if self._held > self._most_held and self._incomplete:
            oldest = next(iter(self._incomplete))
            if not oldest.expired():
                del self._incomplete[oldest]
                oldest.reschedule(0)

    async def _answer(self, scope: Scope, body: bytes) -> WholeResponse:
        environ = wsgi.wsgi_environ(scope, body)
        try:
            return await self._threads_for(environ["PATH_INFO"]).answer(environ)
        except BusyError:
            raise _busy("too many requests are waiting") from None


def _require_one_reading(scope: Scope) -> None:
    fault = fault_of_head(scope)
    if fault is not None:
        # Where this request ends is in doubt, so nothing more is read from the connection.
        raise _Refused(problem(400, detail=fault, headers={"Connection": "close"}))
    if has_second_spelling(wsgi.raw_path(scope)):
        raise _Refused(problem(404, detail=NOTHING_HERE))


def _busy(detail: str) -> _Refused:
    return _Refused(problem(503, detail=detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}))


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
