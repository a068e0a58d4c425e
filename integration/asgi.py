"""The ASGI application that granian calls: reads each body whole, runs the WSGI application in a thread.

A slow sender holds a connection and never a thread. A body that was cut short does not reach the
application. Reading is bounded in time, in size and over all requests together. Nothing of the process's
environment gets into a request.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from integration import app as web
from integration.web import security_headers
from integration.web.loop_watchdog import LoopWatchdog
from integration.web.problems import MAX_BODY_BYTES, NOTHING_HERE, problem
from integration.web.request_checks import fault_of_head, has_second_spelling

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from _typeshed.wsgi import WSGIApplication
    from flask import Response

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

# CRMs give up after 1 to 60 seconds.
BODY_SECONDS = 10.0
# A thread is busy with one short round trip to the store; more threads only crowd the processor.
THREADS = 32
MOST_WAITING = 4096
# With the time that the store may take, a sender has its answer within two seconds.
PATIENCE_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 4.0
MOST_HELD_BYTES = 64 * 1024 * 1024
RETRY_AFTER_SECONDS = 5
# Objects that may be made, and not freed by reference counts, before the collector runs.
YOUNG_OBJECTS = 20_000


def create_app() -> WsgiBridge:
    """Return what the server calls. Exit with 1 where `integration.app.create_app` does."""
    _allow_many_connections()
    app = web.create_app()
    _settle()
    return WsgiBridge(app)


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


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class WsgiBridge:
    """An ASGI application around a WSGI one.

    A body may take `body_seconds`. `threads` requests run at a time. Of those beyond, `most_waiting` wait:
    up to 4 s, or `patience_seconds` while no answer succeeds (the store hangs). All bodies together may hold
    `most_held_bytes`; beyond that the oldest that is incomplete is refused. Answers are sent whole.
    """

    def __init__(  # noqa: PLR0913  (each limit can be set)
        self,
        app: WSGIApplication,
        *,
        body_seconds: float = BODY_SECONDS,
        threads: int = THREADS,
        most_waiting: int = MOST_WAITING,
        most_held_bytes: int = MOST_HELD_BYTES,
        patience_seconds: float = PATIENCE_SECONDS,
        watchdog: LoopWatchdog | None = None,
    ) -> None:
        self._app = app
        self._body_seconds = body_seconds
        self._threads = 0
        self._most_threads = threads
        self._asked: SimpleQueue[tuple[Future[_Answer], dict[str, Any]]] = SimpleQueue()
        self._answers: deque[tuple[Future[_Answer], _Answer | BaseException]] = deque()
        self._handing_over = False
        self._most_open = threads + most_waiting
        self._open = 0
        self._most_held = most_held_bytes
        self._held = 0
        self._patience_seconds = patience_seconds
        self._succeeded_at = -LONGEST_WAIT_SECONDS
        # The limits of incomplete bodies, oldest first.
        self._incomplete: dict[asyncio.Timeout, None] = {}
        # The requests that no thread has taken, and since when (by the loop's clock), oldest first. Whoever
        # removes one decides what becomes of it: `pop` is one step for all threads.
        self._waiting: dict[Future[_Answer], float] = {}
        self._looked_after = False
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
            answer = _of_response(refused.answer)
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

    async def _answer(self, scope: Scope, body: bytes) -> _Answer:
        """Return the application's answer. Raise _Refused when no thread takes the request in time."""
        if self._open >= self._most_open:
            raise _busy("too many requests are waiting")
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        self._open += 1
        self._waiting[answered] = loop.time()
        try:
            self._asked.put((answered, wsgi_environ(scope, body)))
            if self._threads < min(self._open, self._most_threads):
                self._threads += 1
                threading.Thread(target=self._work, name=f"answer-{self._threads}", daemon=True).start()
            if not self._looked_after:
                self._looked_after = True
                loop.call_later(self._patience_seconds / 3, self._refuse_overdue)
            answer: _Answer = await answered
        finally:
            self._open -= 1
            self._waiting.pop(answered, None)  # the client may have gone
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._succeeded_at = loop.time()
        return answer

    def _work(self) -> None:
        """Answer one request after the other, in a thread."""
        while True:
            answered, environ = self._asked.get()
            if self._waiting.pop(answered, None) is None:
                continue
            try:
                answer: _Answer | BaseException = _run(self._app, environ)
            except BaseException as error:  # noqa: BLE001  (raised again where the answer is awaited)
                answer = error
            self._answers.append((answered, answer))
            # One wake-up of the loop serves all who are done by then.
            if not self._handing_over:
                self._handing_over = True
                answered.get_loop().call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        """Give the answers that are there to those who await them."""
        self._handing_over = False  # first, so that what is added from here on makes a call of its own
        while self._answers:
            answered, answer = self._answers.popleft()
            if answered.done():
                continue  # the client has gone
            if isinstance(answer, BaseException):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)

    def _refuse_overdue(self) -> None:
        """Refuse the requests that no thread took in time. It is called again as long as any is open."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for answered, asked_at in self._waiting.copy().items():
            stuck = now - max(asked_at, self._succeeded_at) > self._patience_seconds
            overdue = stuck or now - asked_at > LONGEST_WAIT_SECONDS
            if overdue and self._waiting.pop(answered, None) is not None:
                answered.set_exception(_busy("too many requests are waiting"))
        self._looked_after = self._open > 0
        if self._looked_after:
            loop.call_later(self._patience_seconds / 3, self._refuse_overdue)


def _require_one_reading(scope: Scope) -> None:
    fault = fault_of_head(scope)
    if fault is not None:
        # Where this request ends is in doubt, so nothing more is read from the connection.
        raise _Refused(problem(400, detail=fault, headers={"Connection": "close"}))
    if has_second_spelling(_raw_path(scope)):
        raise _Refused(problem(404, detail=NOTHING_HERE))


def _busy(detail: str) -> _Refused:
    return _Refused(problem(503, detail=detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}))


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"] or scope["path"].encode()
    return path


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def wsgi_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Return the environ of a request as PEP 3333 has it, with its undecoded path as `RAW_URI`.

    The values of a header sent twice are joined by a comma (RFC 9110, 5.3). A header with `_` in its name is
    dropped: in an environ `X_Signature` and `X-Signature` are the same, and a proxy removes or sets only
    the latter.
    """
    raw_path = _raw_path(scope)
    query: bytes = scope["query_string"]
    server, port = scope.get("server") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "RAW_URI": (raw_path + (b"?" + query if query else b"")).decode("latin-1"),
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": (scope.get("client") or ("",))[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": BytesIO(body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def _run(app: WSGIApplication, environ: dict[str, Any]) -> _Answer:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,  # noqa: ARG001  (PEP 3333)
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    parts: Iterable[bytes] = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers = started[-1]
    return _Answer(int(status.split(" ", 1)[0]), _encoded(headers), body)


def _of_response(response: Response) -> _Answer:
    security_headers.complete(response.headers)
    return _Answer(response.status_code, _encoded(response.headers.items()), response.get_data())


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
