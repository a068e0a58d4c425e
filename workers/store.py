"""The connection to the store, and the one script that changes what it holds.

A call that fails raises StoreAwayError and may or may not have happened: what may not happen twice is
guarded inside the script, never by a retry here.
"""

from __future__ import annotations

import secrets
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from integration.errors import StoreAwayError

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "{ringback}:"

_PARTS = ("keys", "recalls", "lane", "admit", "operate", "processes", "tally", "commands")
SCRIPT = "\n".join((files("workers") / "lua" / f"{part}.lua").read_text("utf-8") for part in _PARTS)

# What a store says that cannot be written to just now. Anything else is our own mistake.
_PASSING = (
    "MISCONF",
    "LOADING",
    "NOREPLICAS",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "TRYAGAIN",
    "BUSY",
)


def connect(url: str, *, timeout_seconds: float = 5.0, connect_seconds: float = 1.0) -> redis.Redis:
    """Open a pool of connections. redis-py repeats commands by default; here it never does."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=timeout_seconds,
        socket_connect_timeout=connect_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class Store:
    """The ledger's script on one store.

    `clock` gives epoch milliseconds for tests; left out, the store's own clock counts. `kind` says what
    this process is: a web, a worker or a tool. `who` names it, by its kind and a random word.
    """

    def __init__(
        self, client: redis.Redis, clock: Callable[[], int] | None = None, *, kind: str = "tool"
    ) -> None:
        self.client = client
        self.kind = kind
        self.who = f"{kind}:{secrets.token_hex(4)}"
        self._clock = clock
        self._sha: str | None = None

    def key(self, name: str) -> str:
        """Give the full name of a key; lua/keys.lua lists them."""
        return PREFIX + name

    def call(self, command: str, *args: str | int | bytes) -> Any:
        """Run one command of the script. Raises StoreAwayError when it cannot be done now."""
        now = "" if self._clock is None else str(self._clock())
        return self.guarded(lambda: self._run(command, now, *args))

    def now_ms(self) -> int:
        """Tell the time by the clock that the script goes by, in epoch milliseconds."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = self.guarded(self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    def guarded(self, act: Callable[[], Any]) -> Any:
        """Do something with the client; what passes with time becomes StoreAwayError."""
        try:
            return act()
        except (OutOfMemoryError, ReadOnlyError) as error:
            raise StoreAwayError(type(error).__name__) from error
        except ResponseError as error:
            if str(error).startswith(_PASSING):
                raise StoreAwayError(str(error).split(maxsplit=1)[0]) from error
            raise
        except (RedisError, OSError) as error:
            raise StoreAwayError(type(error).__name__) from error

    def _run(self, *args: str | int | bytes) -> Any:
        try:
            if self._sha is None:
                self._sha = str(self.client.script_load(SCRIPT))
            return self.client.evalsha(self._sha, 1, PREFIX, *args)
        except NoScriptError:
            self._sha = str(self.client.script_load(SCRIPT))
            return self.client.evalsha(self._sha, 1, PREFIX, *args)
