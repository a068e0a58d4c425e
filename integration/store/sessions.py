"""Dashboard sessions. The store holds digests of the session tokens, and no token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from integration.domain.json_codec import read_json
from integration.domain.timestamps import from_epoch_ms

if TYPE_CHECKING:
    from integration.store.client import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class DashboardSession:
    """A session of the dashboard.

    `name` is the user, `began_at` the start (aware, UTC). `role` is the role from an identity provider,
    or "" for a user of the configuration. `mark` is a digest of the settings on which the sign-in was
    based: those of the user, or of the identity provider. `left` is the time until the session expires
    without activity.
    """

    name: str
    role: str
    mark: str
    began_at: datetime
    left: timedelta


class SessionStore:
    """Creates, reads, prolongs and ends the sessions of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def open(self, *, name: str, role: str, mark: str, idle: timedelta) -> str:
        """Create a session that expires after `idle` without activity. Return its token.

        The session is stored even if the store is full. Raise StoreAwayError.
        """
        token = secrets.token_urlsafe(32)
        doc = orjson.dumps({"name": name, "role": role, "mark": mark, "began": self._store.now_ms()})
        self._store.call("sign_in", _digest(token), doc, _ms(idle))
        return token

    def read(self, token: str) -> DashboardSession | None:
        """Return the session of a token, or None if it has ended. Raise StoreAwayError."""
        key = self._key(token)

        def commands(pipe: Any) -> None:
            pipe.get(key)
            pipe.pttl(key)

        text, left_ms = self._store.pipelined(commands)
        if text is None:
            return None
        fields = read_json(text)
        return DashboardSession(
            name=fields["name"],
            role=fields["role"],
            mark=fields["mark"],
            began_at=from_epoch_ms(fields["began"]),
            left=timedelta(milliseconds=max(0, left_ms)),
        )

    def keep(self, token: str, idle: timedelta) -> None:
        """Let an existing session expire after `idle` from now without activity. Raise StoreAwayError."""
        self._store.guarded(lambda: self._store.client.pexpire(self._key(token), _ms(idle)))

    def end(self, token: str) -> None:
        """Delete the session of a token. Raise StoreAwayError."""
        self._store.guarded(lambda: self._store.client.delete(self._key(token)))

    def cookie_key(self) -> bytes:
        """Return the key for signing the dashboard's cookies. Raise StoreAwayError."""
        return self._store.secret("cookie_key")

    def _key(self, token: str) -> str:
        return self._store.key(f"session:{_digest(token)}")


def _digest(token: str) -> str:
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _ms(length: timedelta) -> int:
    return max(1, round(length.total_seconds() * 1000))
