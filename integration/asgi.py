"""The ASGI application for granian: reads the body of a request, then runs the request in a thread.

A slow sender occupies a connection but no thread. A truncated body does not reach the application. Limits
apply to the time for reading, to the size of each body, and to the size of all bodies together. The WSGI
environ of a request does not contain the environment variables of the process.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from integration import app as web
from integration.domain.limits import BODY_SECONDS, MAX_BODY_BYTES, MAX_HELD_BYTES
from integration.web import wsgi
from integration.web.problems import NOTHING_HERE, problem
from integration.web.request_checks import excess_of_head, fault_of_head, has_second_spelling
from integration.web.request_threads import NoFreeThreadError, RequestThreads

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from flask import Response

    from integration.app import Web
    from integration.web.wsgi import WholeResponse

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

# A thread is occupied by one short round trip to the store, so more threads would only compete for the
# processor. The API and the dashboard have threads of their own, so that slow pages delay no webhook.
RECEIVER_THREADS, RECEIVER_WAITING = 32, 4096
API_THREADS, API_WAITING = 16, 1024
DASHBOARD_THREADS, DASHBOARD_WAITING = 8, 256
RETRY_AFTER_SECONDS = 5
# Net allocations before the garbage collector runs.
YOUNG_OBJECTS = 20_000


def create_app() -> WsgiBridge:
    """Return the ASGI application. Exit with status 1 if `integration.app.create_app` does."""
    _allow_many_connections()
    app = web.create_app()
    _tune_garbage_collection()
    return WsgiBridge(threads_by_application(app), app.count_overload)


def threads_by_application(app: Web) -> Callable[[str], RequestThreads]:
    """Return a function that maps a path to the threads of its application."""
    limits = (
        (app.receiver, RECEIVER_THREADS, RECEIVER_WAITING),
        (app.api, API_THREADS, API_WAITING),
        (app.dashboard, DASHBOARD_THREADS, DASHBOARD_WAITING),
    )
    threads = {
        served.name: RequestThreads(
            served, threads=most, most_waiting=waiting, ends_with_client=served is not app.receiver
        )
        for served, most, waiting in limits
        if served is not None
    }
    return lambda path: threads[app.application_for(path).name]


def _allow_many_connections() -> None:
    # Every connection is an open file, and the default limit is often 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _tune_garbage_collection() -> None:
    """Exclude existing objects from garbage collection, and collect less often.

    A request creates almost no reference cycles. With the default threshold, garbage collection takes a
    fifth of the time of a request.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS)


def _unavailable(_method: str, _path: str) -> int:
    return 503


class _RequestRejected(Exception):  # noqa: N818  (an outcome, not an error)
    """A request is answered without calling the application."""

    def __init__(self, answer: Response) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


class _OverloadError(Exception):
    """A request is rejected because too many requests are waiting or too many bodies are being received."""


class WsgiBridge:
    """An ASGI application that runs WSGI applications in threads.

    `threads_for` returns the threads for a path. A body must arrive within `body_seconds`. All bodies
    together may hold `most_held_bytes`; above that limit the oldest incomplete body is rejected. Responses
    are sent in one piece. `count_overload` returns the HTTP status for a method and path when a request is
    rejected because of overload. Some senders send again only after a certain status.
    """

    def __init__(
        self,
        threads_for: Callable[[str], RequestThreads],
        count_overload: Callable[[str, str], int] = _unavailable,
        *,
        body_seconds: float = BODY_SECONDS,
        most_held_bytes: int = MAX_HELD_BYTES,
    ) -> None:
        self._threads_for = threads_for
        self._count_overload = count_overload
        self._body_seconds = body_seconds
        self._most_held = most_held_bytes
        self._held = 0
        # The limits of incomplete bodies, oldest first.
        self._incomplete: dict[asyncio.Timeout, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request, or the server's lifespan."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        if scope["type"] != "http":
            return
        body = bytearray()
        try:
            _require_one_reading(scope)
            if _announced(scope) <= MAX_BODY_BYTES:  # otherwise the application rejects it by its length
                await self._read(receive, body)
            answer = await self._answer(scope, bytes(body), receive)
        except _RequestRejected as refused:
            answer = wsgi.of_flask(refused.answer)
        except _OverloadError as overload:
            status = self._count_overload(scope["method"], wsgi.raw_path(scope).decode("latin-1"))
            retry_after = {"Retry-After": str(RETRY_AFTER_SECONDS)}
            answer = wsgi.of_flask(problem(status, detail=str(overload), headers=retry_after))
        finally:
            self._held -= len(body)
        await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
        await send({"type": "http.response.body", "body": answer.body})

    @staticmethod
    async def _live(receive: Receive, send: Send) -> None:
        """Answer the lifespan events of the server: startup and shutdown."""
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _read(self, receive: Receive, body: bytearray) -> None:
        """Read the body up to one byte over the limit. Raise _RequestRejected or _OverloadError."""
        limit = asyncio.timeout(self._body_seconds)
        self._incomplete[limit] = None
        try:
            async with limit:
                while await self._more(receive, body):
                    self._make_room()
        except TimeoutError:
            if limit not in self._incomplete:
                raise _OverloadError("too many request bodies are being received; try again later") from None
            detail = f"the body was not complete within {self._body_seconds:g} s"
            raise _RequestRejected(problem(408, detail=detail, headers={"Connection": "close"})) from None
        finally:
            self._incomplete.pop(limit, None)

    async def _more(self, receive: Receive, body: bytearray) -> bool:
        """Read the next part of the body. Return True if more must be read.

        Raise _RequestRejected if the client disconnects.
        """
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _RequestRejected(problem(400, detail="the body ended before it was complete"))
        piece = message.get("body", b"")[: MAX_BODY_BYTES + 1 - len(body)]
        body += piece
        self._held += len(piece)
        return bool(message.get("more_body")) and len(body) <= MAX_BODY_BYTES

    def _make_room(self) -> None:
        """Reject the oldest incomplete body if all bodies together exceed the limit."""
        if self._held > self._most_held and self._incomplete:
            oldest = next(iter(self._incomplete))
            if not oldest.expired():
                del self._incomplete[oldest]
                oldest.reschedule(0)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive) -> WholeResponse:
        environ = wsgi.wsgi_environ(scope, body)
        threads = self._threads_for(environ["PATH_INFO"])
        watch: asyncio.Future[None] | None = None
        # After a body over the limit more data may arrive, which does not mean that the client has left.
        if threads.ends_with_client and len(body) <= MAX_BODY_BYTES:
            left = environ[wsgi.CLIENT_LEFT] = threading.Event()
            watch = asyncio.ensure_future(_watch_client(receive, left))
        try:
            return await threads.answer(environ)
        except NoFreeThreadError:
            raise _OverloadError("too many requests are waiting; try again later") from None
        finally:
            if watch is not None:
                watch.cancel()


async def _watch_client(receive: Receive, left: threading.Event) -> None:
    """Set `left` when the client closes its connection. Call this after the body was read."""
    if (await receive())["type"] == "http.disconnect":
        left.set()


def _require_one_reading(scope: Scope) -> None:
    fault = fault_of_head(scope)
    if fault is not None:
        # It is unclear where this request ends, so nothing more is read from the connection.
        raise _RequestRejected(problem(400, detail=fault, headers={"Connection": "close"}))
    excess = excess_of_head(scope)
    if excess is not None:
        raise _RequestRejected(problem(excess[0], detail=excess[1], headers={"Connection": "close"}))
    if has_second_spelling(wsgi.raw_path(scope)):
        raise _RequestRejected(problem(404, detail=NOTHING_HERE))


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0
