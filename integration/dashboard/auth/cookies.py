"""The signed cookie of the dashboard: the words said to a person, the proof against forged requests.

Its key is random and kept in the store, so that all web processes share it and no setting is needed.
No request for a webhook or the API opens a session.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, Final

from flask import request as current
from flask.sessions import SecureCookieSessionInterface

from integration.dashboard.addresses import is_ours
from integration.domain.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask, Request
    from flask.sessions import SecureCookieSession

_KEY_SECONDS: Final = 10.0


class StoredKeySessions(SecureCookieSessionInterface):
    """Flask's sessions, their key read from the store when it is needed; none while that is away.

    `read_key` gives the key and raises StoreAwayError. It is asked again now and then, because another
    store, one that was emptied or restored, has another key.
    """

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._lock = threading.Lock()
        self._read_at = -_KEY_SECONDS

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Open the session of a request for the dashboard."""
        if not is_ours(request.path):
            return None
        try:
            self._take_key(app)
        except StoreAwayError:
            return None
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Keep the cookie to https where the request came by it."""
        return super().get_cookie_secure(app) or by_https()

    def _take_key(self, app: Flask) -> None:
        with self._lock:
            if monotonic() - self._read_at >= _KEY_SECONDS:
                app.secret_key = self._read_key()
                self._read_at = monotonic()


def by_https() -> bool:
    """Tell whether the browser came by https, as far as the proxy in front of us says.

    A browser that lies here gets a cookie that it will not send: nobody else is harmed.
    """
    forwarded = current.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    return current.is_secure or forwarded == "https"
