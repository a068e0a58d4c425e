"""The queue of the fork server: one task at a time, users alternate, and few requests may wait."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from integration.domain.errors import ClientLeftError, TooMuchWorkError
from integration.web.wsgi import CLIENT_LEFT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIEnvironment

MOST_OF_A_USER: Final = 2
# Each occupies one of the eight threads of the dashboard.
MOST_OF_ALL: Final = 4
# One place is reserved for users who may make changes.
MOST_OF_VIEWERS: Final = MOST_OF_ALL - 1
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Caller:
    """The user or API key of a request. `left` is set when the client closes its connection.

    `is_viewer` is True for a user who may not make changes.
    """

    name: str
    left: threading.Event = field(default_factory=threading.Event)
    is_viewer: bool = False

    @classmethod
    def of(cls, name: str, environ: WSGIEnvironment, *, is_viewer: bool = False) -> Caller:
        """Return the caller of a request.

        `left` is never set if a server other than the ASGI bridge runs the application.
        """
        return cls(name, environ.get(CLIENT_LEFT) or threading.Event(), is_viewer)

    def require_present(self) -> None:
        """Raise ClientLeftError if the client has left."""
        if self.left.is_set():
            raise ClientLeftError("the client closed the connection")


class QueueTicket:
    """The place of a request in the queue. `caller` is its user."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller


class UserQueue:
    """A queue of requests. A request has a place, and takes a turn for each of its tasks.

    There is one turn at a time, and users alternate. A user may have MOST_OF_A_USER places, and all users
    together MOST_OF_ALL. A viewer gets no place if MOST_OF_VIEWERS places are taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._places: set[QueueTicket] = set()
        # The places that wait for their turn, oldest first.
        self._waiting: list[QueueTicket] = []
        self._present: QueueTicket | None = None
        self._last_user = ""

    @contextmanager
    def place(self, caller: Caller) -> Iterator[QueueTicket]:
        """Hold a place in the context, and yield it. Raise TooMuchWorkError if too many are taken."""
        place = QueueTicket(caller)
        with self._changed:
            of_user = sum(1 for each in self._places if each.caller.name == caller.name)
            most = MOST_OF_VIEWERS if caller.is_viewer else MOST_OF_ALL
            if of_user >= MOST_OF_A_USER or len(self._places) >= most:
                raise TooMuchWorkError(
                    "too many previews, remaps or searches are running or waiting. "
                    "Try again in a few seconds."
                )
            self._places.add(place)
        try:
            yield place
        finally:
            with self._changed:
                self._places.remove(place)

    @contextmanager
    def turn(self, place: QueueTicket) -> Iterator[None]:
        """Wait for the turn of a place, and hold the turn in the context.

        Raise ClientLeftError if the client leaves while it waits.
        """
        with self._changed:
            self._waiting.append(place)
            try:
                while self._present is not None or self._next() is not place:
                    place.caller.require_present()
                    self._changed.wait(_LOOK_SECONDS)
            finally:
                self._waiting.remove(place)
            self._present = place
            self._last_user = place.caller.name
        try:
            yield
        finally:
            with self._changed:
                self._present = None
                self._changed.notify_all()

    def _next(self) -> QueueTicket:
        """Return the place that has waited longest, preferably of a user other than the last one."""
        others = (place for place in self._waiting if place.caller.name != self._last_user)
        return next(others, self._waiting[0])
