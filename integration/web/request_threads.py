"""A bounded pool of threads that runs the requests of a WSGI application for an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from http import HTTPStatus
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from integration.web import wsgi

if TYPE_CHECKING:
    from asyncio import Future

    from _typeshed.wsgi import WSGIApplication

    from integration.web.wsgi import WholeResponse

# With the time limits of the store, a sender gets a response within two seconds.
PATIENCE_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 4.0


class NoFreeThreadError(Exception):
    """No thread took the request in time, or too many requests were open."""


class RequestThreads:
    """The threads of one application.

    At most `threads` requests run at a time, and `most_waiting` others wait. A request waits for about
    LONGEST_WAIT_SECONDS, or for about `patience_seconds` if no request succeeds meanwhile (then the store
    probably hangs). With `ends_with_client`, the ASGI bridge sets CLIENT_LEFT in the environ: a request
    whose client has left is not started, and a running one can check the event.
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        threads: int,
        most_waiting: int,
        patience_seconds: float = PATIENCE_SECONDS,
        ends_with_client: bool = False,
    ) -> None:
        self.ends_with_client = ends_with_client
        self._app = app
        self._threads = 0
        self._most_threads = threads
        self._requests: SimpleQueue[tuple[Future[WholeResponse], dict[str, Any]]] = SimpleQueue()
        self._answers: deque[tuple[Future[WholeResponse], WholeResponse | BaseException]] = deque()
        self._handing_over = False
        self._most_open = threads + most_waiting
        self._open = 0
        self._patience_seconds = patience_seconds
        self._succeeded_at = -LONGEST_WAIT_SECONDS
        # The requests that no thread has taken, with their times (by the loop's clock), oldest first. The
        # thread that removes one answers it; `pop` is atomic.
        self._waiting: dict[Future[WholeResponse], float] = {}
        self._looked_after = False

    async def answer(self, environ: dict[str, Any]) -> WholeResponse:
        """Return the response of the application.

        Raise NoFreeThreadError, or the exception that the application raised.
        """
        if self._open >= self._most_open:
            raise NoFreeThreadError
        loop = asyncio.get_running_loop()
        answered = loop.create_future()
        self._open += 1
        self._waiting[answered] = loop.time()
        try:
            self._requests.put((answered, environ))
            if self._threads < min(self._open, self._most_threads):
                self._threads += 1
                threading.Thread(target=self._work, name=f"answer-{self._threads}", daemon=True).start()
            if not self._looked_after:
                self._looked_after = True
                loop.call_later(self._patience_seconds / 3, self._reject_overdue)
            answer: WholeResponse = await answered
        finally:
            self._open -= 1
            self._waiting.pop(answered, None)  # the client may have disconnected
        if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            self._succeeded_at = loop.time()
        return answer

    def _work(self) -> None:
        """Run requests, one after the other. Each thread runs this method."""
        while True:
            answered, environ = self._requests.get()
            if self._waiting.pop(answered, None) is None:
                continue
            answer: WholeResponse | BaseException
            left = environ.get(wsgi.CLIENT_LEFT)
            if left is not None and left.is_set():
                answer = NoFreeThreadError()  # nobody receives it
            else:
                try:
                    answer = wsgi.run(self._app, environ)
                except BaseException as error:  # noqa: BLE001  (raised again where the answer is awaited)
                    answer = error
            self._answers.append((answered, answer))
            # One wake-up of the loop delivers all answers that are ready by then.
            if not self._handing_over:
                self._handing_over = True
                answered.get_loop().call_soon_threadsafe(self._hand_over)

    def _hand_over(self) -> None:
        """Pass finished responses and exceptions to the coroutines that await them."""
        self._handing_over = False  # first, so that an answer added from now on schedules its own call
        while self._answers:
            answered, answer = self._answers.popleft()
            if answered.done():
                continue  # the client has disconnected
            if isinstance(answer, BaseException):
                answered.set_exception(answer)
            else:
                answered.set_result(answer)

    def _reject_overdue(self) -> None:
        """Reject the requests that no thread took in time.

        Schedule the next call while a request is open.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        for answered, queued_at in self._waiting.copy().items():
            stuck = now - max(queued_at, self._succeeded_at) > self._patience_seconds
            overdue = stuck or now - queued_at > LONGEST_WAIT_SECONDS
            if overdue and self._waiting.pop(answered, None) is not None:
                answered.set_exception(NoFreeThreadError())
        self._looked_after = self._open > 0
        if self._looked_after:
            loop.call_later(self._patience_seconds / 3, self._reject_overdue)
