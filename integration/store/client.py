"""The connection to the store, and the one script that changes what it holds.

A call that fails raises StoreAwayError and may or may not have happened: what may not happen twice is
guarded inside the script, never by a retry here.
"""

from __future__ import annotations

import hashlib
import secrets
from contextlib import nullcontext
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import redis
import structlog
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from integration.domain.timestamps import from_epoch_ms
from integration.store.batching import ScriptBatcher, as_ours
from integration.store.epoch import StoreEpoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

log = structlog.get_logger("ringback.store")

PREFIX = "{ringback}:"
READ_BYTES = 8192
ANSWER_SECONDS = 5.0


_PARTS = (
    *("keys", "epoch", "recalls", "queue", "drain", "parked", "admission", "operate", "search"),
    *("monitoring", "purge", "dispatch"),
)
SCRIPT = "\n".join((files("integration.store") / "lua" / f"{part}.lua").read_text("utf-8") for part in _PARTS)
SHA = hashlib.sha1(SCRIPT.encode()).hexdigest()  # noqa: S324  (the store's own naming)


def connect(
    url: str, *, timeout_seconds: float = ANSWER_SECONDS, connect_seconds: float = 1.0
) -> redis.Redis:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLoss:
    """What a store lost: it "went back", "was emptied", or "was exchanged" for another one.

    `missing` is how many changes of queues and recalls it lacks at least, where that can be told.
    """

    how: str
    missing: int | None


class Store:
    """The store's script on one store.

    `clock` gives epoch milliseconds for tests; left out, the store's own clock counts. `kind` says what
    this process is: a web, a worker or a tool. `who` names it, by its kind and a random word. `epoch`
    remembers how far the store's history had come; `on_loss` is told when the store lost some of it, once
    over all processes. `span` is entered, with the command, for the time of each call.
    """

    def __init__(
        self,
        client: redis.Redis,
        clock: Callable[[], int] | None = None,
        *,
        kind: str = "tool",
        epoch: StoreEpoch | None = None,
    ) -> None:
        self.client = client
        self.epoch = StoreEpoch() if epoch is None else epoch
        self.on_loss: Callable[[EpochLoss], None] = lambda _: None
        self.span: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext()
        self.kind = kind
        self.who = f"{kind}:{secrets.token_hex(4)}"
        self._clock = clock
        self._batcher = ScriptBatcher(
            client,
            (SCRIPT, SHA),
            self._header,
            self._read,
            answer_seconds=client.connection_pool.connection_kwargs.get("socket_timeout") or ANSWER_SECONDS,
        )

    def key(self, name: str) -> str:
        """Give the full name of a key; lua/keys.lua lists them."""
        return PREFIX + name

    def call(self, command: str, *args: str | int | bytes) -> Any:
        """Run one command of the script; return its reply.

        Raise StoreAwayError when it cannot be done now: it may or may not have happened.
        """
        with self.span(command):
            return self._batcher.call(command, args)

    def _header(self, command: str) -> tuple[str | int, ...]:
        """Return what every run of the script is given, as lua/keys.lua lists it."""
        now = "" if self._clock is None else str(self._clock())
        seen = self.epoch.seen()
        return PREFIX, command, now, seen.epoch, seen.revision, seen.server, seen.ago_ms, self.who

    def _read(self, reply: Sequence[Any]) -> list[Any]:
        """Take note of what the script says of its history; return the replies to its calls."""
        epoch, revision, server, news, answers = reply
        before = self.epoch.seen()
        changed = self.epoch.note(epoch, int(revision), server)
        if news and changed:
            self._report(news, before.revision)
        elif changed and before.epoch:
            log.warning("the store has another history than before, as was found already")
        return list(answers)

    def _report(self, news: str, seen: int) -> None:
        how, _, found = news.partition("|")
        loss = EpochLoss(how=how, missing=seen - int(found) if how == "went back" else None)
        reason = "all queues wait for a quiet time; what was acknowledged since may be missing"
        log.error("the store lost some of its history", how=how, missing=loss.missing, reason=reason)
        self.on_loss(loss)

    def now_ms(self) -> int:
        """Tell the time by the clock that the script goes by, in epoch milliseconds."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = self.guarded(self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    def now(self) -> datetime:
        """Return the time by the store's clock (aware, UTC). Raise StoreAwayError."""
        return from_epoch_ms(self.now_ms())

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

    def pipelined(self, commands: Callable[[Any], None]) -> list[Any]:
        """Return the replies to the commands that `commands` puts into a pipeline, in one round trip.

        Raise StoreAwayError.
        """

        def run() -> list[Any]:
            with self.client.pipeline(transaction=False) as pipe:
                commands(pipe)
                return list(pipe.execute())

        return list(self.guarded(run))

    def hashes(self, names: Iterable[str]) -> list[dict[str, str]]:
        """Return the hashes at keys of these names, in one round trip; one that is not there is empty.

        Raise StoreAwayError.
        """

        def commands(pipe: Any) -> None:
            for name in names:
                pipe.hgetall(self.key(name))

        return self.pipelined(commands)

    def guarded(self, act: Callable[[], Any]) -> Any:
        """Do something with the client; what passes with time becomes StoreAwayError."""
        try:
            return act()
        except (RedisError, OSError) as error:
            ours = as_ours(error)
            if ours is error:
                raise
            raise ours from error
