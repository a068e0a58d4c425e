"""Decides whose work is next: one piece at a time, users alternate, few waiting."""

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
# Each occupies a thread of the dashboard, which has eight.
MOST_OF_ALL: Final = 4
# One is kept for those who may change something.
MOST_OF_VIEWERS: Final = MOST_OF_ALL - 1
_LOOK_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class Caller:
    """A user or API key whose request waits for work. `left` is set when the client closes its connection."""

    name: str
    left: threading.Event = field(default_factory=threading.Event)
    is_viewer: bool = False

    @classmethod
    def of(cls, name: str, environ: WSGIEnvironment, *, is_viewer: bool = False) -> Caller:
        """Return the caller of a request. Only the ASGI bridge reports that a client has left."""
        return cls(name, environ.get(CLIENT_LEFT) or threading.Event(), is_viewer)

    def require_present(self) -> None:
        """Raise ClientLeftError if the client has left."""
        if self.left.is_set():
            raise ClientLeftError("the client has left")


class UserQueue:
    """A queue of users, one at a time. At most MOST_OF_A_USER and MOST_OF_ALL, the present one included.

    A viewer gets no place if MOST_OF_VIEWERS are taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # The slots that are taken or waited for, oldest first, each with its user.
        self._open: dict[object, str] = {}
        self._present: object | None = None
        self._last_user = ""

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[None]:
        """Wait for a slot, and hold it.

        Raise TooMuchWorkError if too many wait, and ClientLeftError if the client leaves while it waits.
        """
        slot = object()
        with self._changed:
            of_user = sum(1 for each in self._open.values() if each == caller.name)
            most = MOST_OF_VIEWERS if caller.is_viewer else MOST_OF_ALL
            if of_user >= MOST_OF_A_USER or len(self._open) >= most:
                raise TooMuchWorkError("too much work of this kind is waiting")
            self._open[slot] = caller.name
        try:
            self._wait(slot, caller)
            yield
        finally:
            with self._changed:
                del self._open[slot]
                if self._present is slot:
                    self._present = None
                self._changed.notify_all()

    def _wait(self, slot: object, caller: Caller) -> None:
        with self._changed:
            while self._present is not None or self._next() is not slot:
                caller.require_present()
                self._changed.wait(_LOOK_SECONDS)
            self._present = slot
            self._last_user = caller.name

    def _next(self) -> object:
        """Return the oldest slot of another user than the last one, else the oldest slot."""
        others = (slot for slot, user in self._open.items() if user != self._last_user)
        return next(others, next(iter(self._open)))
