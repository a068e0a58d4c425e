"""The connection to the store, and the one script that changes what it holds.

A call that fails raises StoreAwayError and may or may not have happened: what may not happen twice is
guarded inside the script, never by a retry here.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry as NoRetry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError
from redis.retry import Retry

from integration.errors import StoreAwayError
from workers.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from redis.asyncio.connection import AbstractConnection

log = structlog.get_logger("ringback.store")

PREFIX = "{ringback}:"
READ_BYTES = 8192


@dataclass(frozen=True, slots=True)
class _Seldom:
    """Parts that put their functions into `tables` only when a run asks for one that is not there."""

    tables: tuple[str, ...]
    parts: tuple[str, ...]


# The store makes a script's functions anew each time it runs, so what runs for every delivery and every push
# makes no more of them than that takes.
_INTAKE = (
    *("history", "recalls", "find", "admit", "together"),
    _Seldom(("Wake",), ("stored", "holding", "lane", "bell", "wake")),
    _Seldom(
        ("Admit", "History", "Recall", "Newest", "Parked", "Lookups"),
        ("stored", "lost", "changes", "modernise", "again", "cancel", "parked", "lookups"),
    ),
    "answer",
)
_TURN = (
    *("history", "stored", "holding", "recalls", "changes", "pushing"),
    _Seldom(("History", "Recall"), ("lost", "find", "modernise")),
    *("lane", "turn"),
    _Seldom(("Lane", "Outcome"), ("trouble",)),
    "answer",
)
_SEARCH = (
    *("history", "stored", "holding", "recalls", "changes", "find"),
    _Seldom(("History",), ("lost",)),
    *("search", "answer"),
)
_WHOLE = (
    *("history", "stored", "holding", "lost", "recalls", "find", "changes", "modernise", "pushing"),
    *("lane", "bell", "turn", "trouble", "sweep", "lend"),
    *("admit", "wake", "again", "cancel", "parked", "lookups", "resolve"),
    *("operate", "upgrade", "stand", "processes", "tally", "alerts", "people", "jobs", "purge", "forget"),
    *("commands", "answer"),
)


def _text(part: str) -> str:
    return (files("workers") / "lua" / f"{part}.lua").read_text("utf-8")


def _part(part: str | _Seldom) -> str:
    if isinstance(part, str):
        return _text(part)
    return f"seldom({{{', '.join(part.tables)}}}, function()\n{_text_of(part.parts)}\nend)"


def _text_of(parts: Iterable[str | _Seldom]) -> str:
    return "\n".join(_part(part) for part in parts)


def _script(parts: Iterable[str | _Seldom]) -> str:
    # Within a function, what all use of "keys" is at hand; beside it, each function made has to look for it.
    return f"{_text('keys')}\nreturn (function()\n{_text_of(parts)}\nend)()"


WHOLE = "whole"
SCRIPTS = {
    "admit": _script(_INTAKE),
    "admit_all": _script(_INTAKE),
    "acquire": _script(_TURN),
    "finish": _script(_TURN),
    "search": _script(_SEARCH),
    "count": _script(_SEARCH),
    WHOLE: _script(_WHOLE),
}
"""The script of a command; `WHOLE` for every one that is not named."""

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


@cache
def script_of(command: str) -> str:
    """Give the script that has a command."""
    return SCRIPTS[command if command in SCRIPTS else WHOLE]


@cache
def sha_of(command: str) -> str:
    """Give the name by which a store knows that script, once it was handed in."""
    return hashlib.sha1(script_of(command).encode()).hexdigest()  # noqa: S324  (the store's own naming)


def connect(url: str, *, timeout_seconds: float = 5.0, connect_seconds: float = 1.0) -> redis.Redis:
    """Open a pool of connections. redis-py repeats commands by default; here it never does."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=timeout_seconds,
        # A buffer of this size belongs to each connection, and so to each thread; replies are smaller.
        socket_read_size=READ_BYTES,
        socket_connect_timeout=connect_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


def connection_maker(url: str, *, connect_seconds: float = 1.0) -> Callable[[], AbstractConnection]:
    """Give what makes connections for a running loop; being opened is all that has a time limit."""
    pool = redis.asyncio.ConnectionPool.from_url(
        url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=None,
        socket_connect_timeout=connect_seconds,
        retry=NoRetry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return pool.make_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What a store lost: it "went back", "was emptied", or "was exchanged" for another one.

    `missing` is how many changes of lanes and recalls it lacks at least, where that can be told.
    """

    how: str
    missing: int | None


class Store:
    """The ledger's script on one store.

    `clock` gives epoch milliseconds for tests; left out, the store's own clock counts. `kind` says what
    this process is: a web, a worker or a tool. `who` names it, by its kind and a random word. `witness`
    remembers how far the store's history had come; `on_loss` is told when the store lost some of it, once
    over all processes.
    """

    def __init__(
        self,
        client: redis.Redis,
        clock: Callable[[], int] | None = None,
        *,
        kind: str = "tool",
        witness: Witness | None = None,
    ) -> None:
        self.client = client
        self.witness = Witness() if witness is None else witness
        self.on_loss: Callable[[Loss], None] = lambda _: None
        self.kind = kind
        self.who = f"{kind}:{secrets.token_hex(4)}"
        self._clock = clock

    def key(self, name: str) -> str:
        """Give the full name of a key; lua/keys.lua lists them."""
        return PREFIX + name

    def call(self, command: str, *args: str | int | bytes) -> Any:
        """Run one command of the script. Raises StoreAwayError when it cannot be done now."""
        return self.read(self.guarded(lambda: self._run(*self.words(command, *args))))

    def words(self, command: Any, *args: str | int | bytes) -> tuple[Any, ...]:
        """Give what the script is handed for a command: what this process knows goes before its arguments."""
        now = "" if self._clock is None else str(self._clock())
        seen = self.witness.seen()
        return command, now, seen.history, seen.tick, seen.server, seen.ago_ms, self.who, *args

    def read(self, reply: Sequence[Any]) -> Any:
        """Take note of what the script says of its history; give the command's own reply."""
        history, tick, server, news, answer = reply
        before = self.witness.seen()
        changed = self.witness.note(history, int(tick), server)
        if news and changed:
            self._report(news, before.tick)
        elif changed and before.history:
            log.warning("the store has another history than before, as was found already")
        return answer

    def _report(self, news: str, seen: int) -> None:
        how, _, found = news.partition("|")
        loss = Loss(how=how, missing=seen - int(found) if how == "went back" else None)
        reason = "all lanes wait for a quiet time; what was acknowledged since may be missing"
        log.error("the store lost some of its history", how=how, missing=loss.missing, reason=reason)
        self.on_loss(loss)

    def call_all(self, calls: Sequence[Sequence[str | int | bytes]]) -> list[Any]:
        """Run several commands in one round trip, each by itself; gives the reply of each, or its error.

        Raises StoreAwayError when none of them got a reply.
        """
        replies = self.guarded(lambda: self._run_all(calls))
        unknown = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            # The script was not there, so nothing of these has happened.
            again = self.guarded(lambda: self._load_and_run([calls[place] for place in unknown]))
            for place, reply in zip(unknown, again, strict=True):
                replies[place] = reply
        return [as_ours(reply) if isinstance(reply, Exception) else self.read(reply) for reply in replies]

    def _run_all(self, calls: Sequence[Sequence[str | int | bytes]]) -> list[Any]:
        with self.client.pipeline(transaction=False) as pipe:
            for command, *args in calls:
                pipe.evalsha(sha_of(str(command)), 1, PREFIX, *self.words(command, *args))
            return list(pipe.execute(raise_on_error=False))

    def _load_and_run(self, calls: Sequence[Sequence[str | int | bytes]]) -> list[Any]:
        for script in {script_of(str(command)) for command, *_ in calls}:
            self.client.script_load(script)
        return self._run_all(calls)

    def now_ms(self) -> int:
        """Tell the time by the clock that the script goes by, in epoch milliseconds."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = self.guarded(self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    def secret(self, name: str) -> bytes:
        """Give a random key that the store keeps under this name, made when it is first asked for."""
        meta = self.key("meta")

        def read() -> Any:
            # A full store refuses the write even where the key is there already.
            kept = self.client.hget(meta, name)
            if kept is None:
                self.client.hsetnx(meta, name, secrets.token_hex(32))
                kept = self.client.hget(meta, name)
            return kept

        return bytes.fromhex(self.guarded(read))

    def guarded(self, act: Callable[[], Any]) -> Any:
        """Do something with the client; what passes with time becomes StoreAwayError."""
        try:
            return act()
        except (RedisError, OSError) as error:
            ours = as_ours(error)
            if ours is error:
                raise
            raise ours from error

    def _run(self, command: str, *args: str | int | bytes) -> Any:
        try:
            return self.client.evalsha(sha_of(command), 1, PREFIX, command, *args)
        except NoScriptError:
            self.client.script_load(script_of(command))
            return self.client.evalsha(sha_of(command), 1, PREFIX, command, *args)


def as_ours(error: Exception) -> Exception:
    """Give StoreAwayError for what passes with time, the error itself for what is our own mistake."""
    if isinstance(error, ResponseError) and not isinstance(error, OutOfMemoryError | ReadOnlyError):
        word = str(error).split(maxsplit=1)[0] if str(error) else ""
        return StoreAwayError(word) if str(error).startswith(_PASSING) else error
    return StoreAwayError(type(error).__name__)
