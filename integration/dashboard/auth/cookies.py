"""The signed session cookie of the dashboard. It carries flash messages and the CSRF token.

Its key is random and kept in the store: all web processes share it, and it needs no setting. Requests for
the receiver and the API open no session.
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
    """Flask's cookie sessions, with the key read from the store. There is no session while the store is away.

    `read_key` returns the key and raises StoreAwayError. It is read again every 10 seconds, because a store
    that was emptied or restored has another key.
    """

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._lock = threading.Lock()
        self._read_at = -_KEY_SECONDS

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Open the session of a dashboard request; None for other paths and while the store is away."""
        if not is_ours(request.path):
            return None
        try:
            self._take_key(app)
        except StoreAwayError:
            return None
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return True if the request came by https, so that the cookie is marked `Secure`."""
        return super().get_cookie_secure(app) or by_https()

    def _take_key(self, app: Flask) -> None:
        with self._lock:
            if monotonic() - self._read_at >= _KEY_SECONDS:
                app.secret_key = self._read_key()
                self._read_at = monotonic()


def by_https() -> bool:
    """Return True if the browser connected by https, according to `X-Forwarded-Proto` or the connection.

    A client that forges the header only receives a cookie that its browser does not send back.
    """
    forwarded = current.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    return current.is_secure or forwarded == "https"
