"""A client of the store whose threads each run scripts over a connection of their own.

A turn asks the store after every call. The way to a pooled connection and back takes as long as the question.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import redis
import sentry_sdk
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.connection import Connection

IDLE_SECONDS = 1.0
"""After this a connection is looked at before it is used: the store may have been started anew."""


class KeptConnections(redis.Redis):
    """Runs scripts over kept connections, and everything else over those of its pool."""

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(connection_pool=client.connection_pool)
        self._mine = threading.local()

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:
        """Run a script, once. Raises RedisError; the connection is opened anew after one of the network's."""
        # That is where Sentry listens.
        if sentry_sdk.get_client().is_active():
            return super().evalsha(sha, numkeys, *keys_and_args)
        connection = self._connection()
        connection.send_command("EVALSHA", sha, numkeys, *keys_and_args)  # type: ignore[no-untyped-call]
        reply = connection.read_response()
        self._mine.used_at = time.monotonic()
        return reply

    def _connection(self) -> Connection:
        mine = self._mine
        if not hasattr(mine, "connection"):
            mine.connection = self.connection_pool.get_connection()
        elif time.monotonic() - mine.used_at > IDLE_SECONDS:
            _look_at(mine.connection)
        mine.used_at = time.monotonic()
        connection: Connection = mine.connection
        return connection


def _look_at(connection: Connection) -> None:
    """Close it if the store has, or said something unasked; it is then opened anew."""
    try:
        usable = not connection.can_read(0)
    except (RedisError, OSError):
        usable = False
    if not usable:
        connection.disconnect()  # type: ignore[no-untyped-call]
