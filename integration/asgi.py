"""The web as the server runs it: every body is read whole before the application sees the request.

Promises that a slow sender costs a connection and never a thread, that a body which was cut short
reaches nobody, and that reading is bounded in time, in size and over all requests together. Never looks
into a body, and puts nothing of the process's environment into a request.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import structlog

from integration import answer_headers
from integration import app as web
from integration.one_reading import fault_of_head, has_second_spelling
from integration.problems import MAX_BODY_BYTES, NOTHING_HERE, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping
    from concurrent.futures import Future

    from _typeshed.wsgi import StartResponse, WSGIApplication
    from flask import Response

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[dict[str, Any]], Awaitable[None]]

_log = structlog.get_logger("ringback.web")

# CRMs give up after 1 to 60 seconds; one that is still sending by then has been given up on.
BODY_SECONDS = 10.0
# More of them only crowd the processor: a thread is busy with one short round trip to the store.
THREADS = 32
MOST_WAITING = 4096
# With the time that the store may take, a sender has its answer within two seconds.
PATIENCE_SECONDS = 0.5
# What may be made, and not yet freed by itself, before the collector looks.
YOUNG_OBJECTS = 20_000
LONGEST_WAIT_SECONDS = 4.0
MOST_HELD_BYTES = 64 * 1024 * 1024
RETRY_AFTER_SECONDS = 5


def create_app() -> Gate:
    """Make what the server calls; ends the process where `integration.app` does."""
    _allow_many_connections()
    app = web.create_app()
    _settle()
    return Gate(app)


def _allow_many_connections() -> None:
    # Every connection is an open file, and many systems start a process with 1024.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _settle() -> None:
    """Have the collector leave alone what stays for good, and look at the rest less often.

    A request leaves next to nothing for it, and its looking takes a fifth of a request's time.
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
class _Answered:
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Limit:
    """Ends what the running task waits for when so many seconds have passed, or before that.

    What `asyncio.timeout` does, without what is not needed here: it is set for every request.
    """

    __slots__ = ("_ended", "_handle", "_task")

    _handle: asyncio.Handle

    def __init__(self, seconds: float) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  (every coroutine runs in one)
        self._task = task
        self._ended = False
        self._handle = asyncio.get_running_loop().call_later(seconds, self._end)

    def end(self) -> None:
        """End the wait as soon as the loop comes to it, unless the limit is lifted before."""
        self._handle.cancel()
        self._handle = asyncio.get_running_loop().call_soon(self._end)

    def _end(self) -> None:
        self._ended = True
        self._task.cancel()

    def over(self) -> bool:
        """Tell the one whose wait was cancelled whether it was this limit alone that did it."""
        return self._ended and self._task.uncancel() == 0

    def lift(self) -> None:
        """Let the task wait for other things without a limit."""
        self._handle.cancel()


class Gate:
    """An ASGI application around a WSGI one.

    `body_seconds` is how long a body may take; `threads` make answers, and of the requests beyond
    them `most_waiting` wait, for `patience_seconds` when meanwhile nothing goes well (the store hangs);
    `most_held_bytes` is what all bodies on the way may hold together: beyond it the one that has been
    coming in longest gives way. Answers are sent whole.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        body_seconds: float = BODY_SECONDS,
        threads: int = THREADS,
        most_waiting: int = MOST_WAITING,
        most_held_bytes: int = MOST_HELD_BYTES,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._app = app
        self._body_seconds = body_seconds
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="answer")
        self._most_open = threads + most_waiting
        self._open = 0
        self._most_held = most_held_bytes
        self._patience_seconds = patience_seconds
        self._went_well_at = -LONGEST_WAIT_SECONDS
        self._held = 0
        self._gathering: dict[int, _Limit] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._live(scope, receive, send)
            return
        body = bytearray()
        try:
            _require_one_reading(scope)
            await self._gather(scope, receive, body)
            answered = await self._answer(scope, bytes(body))
        except _Refused as refused:
            answered = _whole(refused.answer)
        finally:
            self._held -= len(body)
        await _send(send, answered)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Do what is to be done before the first request, so that it need not wait for that."""
        if scope["type"] == "lifespan" and (await receive())["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})

    async def _gather(self, scope: Scope, receive: Receive, body: bytearray) -> None:
        if _announced(scope) > MAX_BODY_BYTES:
            return  # the application refuses it by its length alone
        limit = self._gathering[id(body)] = _Limit(self._body_seconds)
        try:
            while await self._more(receive, body):
                self._make_room()
        except asyncio.CancelledError:
            if not limit.over():
                raise
            if id(body) not in self._gathering:
                raise _busy("too many bodies are on their way") from None
            detail = f"the body was not complete within {self._body_seconds:g} s"
            raise _Refused(problem(408, detail=detail, headers={"Connection": "close"})) from None
        finally:
            self._gathering.pop(id(body), None)
            limit.lift()

    async def _more(self, receive: Receive, body: bytearray) -> bool:
        """Take one more piece; False when that was the last, or one byte too many for the application."""
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Refused(problem(400, detail="the body ended before it was complete"))
        piece = message.get("body", b"")[: MAX_BODY_BYTES + 1 - len(body)]
        body += piece
        self._held += len(piece)
        return bool(message.get("more_body")) and len(body) <= MAX_BODY_BYTES

    def _make_room(self) -> None:
        """Let the body that has been on its way longest give way when all together hold too much."""
        if self._held > self._most_held and self._gathering:
            self._gathering.pop(next(iter(self._gathering))).end()

    async def _answer(self, scope: Scope, body: bytes) -> _Answered:
        if self._open >= self._most_open:
            raise _busy("too many requests are waiting")
        self._open += 1
        try:
            answered = await self._in_turn(self._pool.submit(_run, self._app, wsgi_environ(scope, body)))
        finally:
            self._open -= 1
        if answered.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._went_well_at = asyncio.get_running_loop().time()
        return answered

    async def _in_turn(self, task: Future[_Answered]) -> _Answered:
        """Wait for an answer; give up before its turn has come when nothing goes well in the meantime."""
        clock = asyncio.get_running_loop().time
        answer, asked_at = asyncio.wrap_future(task), clock()
        while not answer.done() and not task.running():
            await asyncio.wait((answer,), timeout=self._patience_seconds / 3)
            stuck = clock() - max(asked_at, self._went_well_at) > self._patience_seconds
            if (stuck or clock() - asked_at > LONGEST_WAIT_SECONDS) and task.cancel():
                raise _busy("too many requests are waiting")
        return await answer


def _require_one_reading(scope: Scope) -> None:
    fault = fault_of_head(scope)
    if fault is not None:
        # Where this request ends is in doubt, so nothing more is read from the connection.
        raise _Refused(problem(400, detail=fault, headers={"Connection": "close"}))
    if has_second_spelling(_raw_path(scope)):
        raise _Refused(problem(404, detail=NOTHING_HERE))


def _encoded(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]


def _busy(detail: str) -> _Refused:
    return _Refused(problem(503, detail=detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)}))


def _raw_path(scope: Scope) -> bytes:
    path: bytes = scope["raw_path"] or scope["path"].encode()
    return path


def _announced(scope: Scope) -> int:
    lengths = [value for name, value in scope["headers"] if name == b"content-length"]
    return int(lengths[0]) if lengths and lengths[0].isdigit() else 0


def wsgi_environ(scope: Scope, body: bytes) -> dict[str, Any]:
    """Give the environment of a request as PEP 3333 has it, its path undecoded as `RAW_URI` beside it.

    A header sent twice has its values joined by a comma, as RFC 9110 (5.3) reads it.
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
        key = name.decode("latin-1").upper().replace("-", "_")
        key = key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"
        text = value.decode("latin-1")
        environ[key] = f"{environ[key]},{text}" if key in environ else text
    return environ


def _run(app: WSGIApplication, environ: dict[str, Any]) -> _Answered:
    started: list[tuple[str, list[tuple[str, str]]]] = []

    def start_response(
        status: str,
        headers: list[tuple[str, str]],
        exc_info: Any = None,  # noqa: ARG001  (PEP 3333)
    ) -> Callable[[bytes], object]:
        started.append((status, headers))
        return lambda _: None

    body = _joined(app, environ, start_response)
    status, headers = started[-1]
    return _Answered(int(status.split(" ", 1)[0]), _encoded(headers), body)


def _joined(app: WSGIApplication, environ: dict[str, Any], start_response: StartResponse) -> bytes:
    parts: Iterable[bytes] = app(environ, start_response)
    try:
        return b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()


def _whole(answer: Response) -> _Answered:
    answer_headers.complete(answer.headers)
    return _Answered(answer.status_code, _encoded(answer.headers.items()), answer.get_data())


async def _send(send: Send, answered: _Answered) -> None:
    await send({"type": "http.response.start", "status": answered.status, "headers": answered.headers})
    await send({"type": "http.response.body", "body": answered.body})
