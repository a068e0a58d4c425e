"""The signed session cookie of the dashboard, with the session token, the CSRF token and flash messages.

The key of the cookie is random and kept in the store, so all web processes share it and no setting is
needed. Requests for the receiver, the API and the probes open no session.
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
    """Flask's cookie sessions, with the key read from the store.

    `read_key` returns the key and raises StoreAwayError. A key is used for 10 seconds and then read
    again, because a store that was emptied or restored has another key. If the read fails, no session is
    opened.
    """

    def __init__(self, read_key: Callable[[], bytes]) -> None:
        self._read_key = read_key
        self._lock = threading.Lock()
        self._read_at = -_KEY_SECONDS

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """Return the session of a dashboard request; None for other paths or without a key."""
        if not is_ours(request.path):
            return None
        try:
            self._take_key(app)
        except StoreAwayError:
            return None
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        """Return True if the cookie is `Secure`: for a request by https, or by the setting of Flask."""
        return super().get_cookie_secure(app) or by_https()

    def _take_key(self, app: Flask) -> None:
        with self._lock:
            if monotonic() - self._read_at >= _KEY_SECONDS:
                app.secret_key = self._read_key()
                self._read_at = monotonic()


def by_https() -> bool:
    """Return True if the browser connected by https, according to `X-Forwarded-Proto` or the connection.

    A client that forges the header only gets a `Secure` cookie, which a browser does not send over http.
    """
    forwarded = current.headers.get("X-Forwarded-Proto", "").split(",")[0].strip()
    return current.is_secure or forwarded == "https"
