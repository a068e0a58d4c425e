"""The connection to the store, and the one script that changes its data.

A failed call raises StoreAwayError and may or may not have been executed. The script guards against running
an operation twice; nothing is retried here.
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
    """Return a client with a connection pool. redis-py's retries are switched off."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        encoding_errors="surrogateescape",
        socket_timeout=timeout_seconds,
        # Each connection, and so each thread, has a buffer of this size. Replies are smaller.
        socket_read_size=READ_BYTES,
        socket_connect_timeout=connect_seconds,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochLoss:
    """A detected loss of data: the store "went back", "was emptied", or "was exchanged" for another one.

    `missing` is the least number of lost changes of queues and recalls, None when it is unknown.
    """

    how: str
    missing: int | None


class Store:
    """Runs the script on one store.

    `clock` returns epoch milliseconds, for tests; None uses the store's own clock. `kind` is the kind of this
    process: "web", "worker" or "tool". `who` identifies the process: its kind and a random suffix. `epoch`
    records the latest epoch and revision seen. `on_loss` is called when the store has lost data, in one
    process only. `span` returns a context manager that is entered for each call, with the command's name.
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
        """Return the full name of a key. lua/keys.lua lists the keys."""
        return PREFIX + name

    def call(self, command: str, *args: str | int | bytes) -> Any:
        """Run one command of the script and return its reply.

        Raise StoreAwayError when the store is unavailable; the command may or may not have been executed.
        """
        with self.span(command):
            return self._batcher.call(command, args)

    def _header(self, command: str) -> tuple[str | int, ...]:
        """Return the arguments of every run of the script, as listed in lua/keys.lua."""
        now = "" if self._clock is None else str(self._clock())
        seen = self.epoch.seen()
        return PREFIX, command, now, seen.epoch, seen.revision, seen.server, seen.ago_ms, self.who

    def _read(self, reply: Sequence[Any]) -> list[Any]:
        """Record the epoch that the script replied. Return the replies to its calls."""
        epoch, revision, server, news, answers = reply
        before = self.epoch.seen()
        changed = self.epoch.note(epoch, int(revision), server)
        if news and changed:
            self._report(news, before.revision)
        elif changed and before.epoch:
            log.warning("the store has a new epoch: a loss of data was found before")
        return list(answers)

    def _report(self, news: str, seen: int) -> None:
        how, _, found = news.partition("|")
        loss = EpochLoss(how=how, missing=seen - int(found) if how == "went back" else None)
        reason = "the store was restored, emptied or exchanged; acknowledged recalls may be missing"
        log.error("the store lost data; all queues wait", how=how, missing=loss.missing, reason=reason)
        self.on_loss(loss)

    def now_ms(self) -> int:
        """Return the time by the script's clock, in epoch milliseconds. Raise StoreAwayError."""
        if self._clock is not None:
            return self._clock()
        seconds, micros = self.guarded(self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    def now(self) -> datetime:
        """Return the time by the store's clock (aware, UTC). Raise StoreAwayError."""
        return from_epoch_ms(self.now_ms())

    def secret(self, name: str) -> bytes:
        """Return the random key stored under this name, created on first use. Raise StoreAwayError."""
        meta = self.key("meta")

        def read() -> Any:
            # A full store refuses HSETNX even when the field exists.
            kept = self.client.hget(meta, name)
            if kept is None:
                self.client.hsetnx(meta, name, secrets.token_hex(32))
                kept = self.client.hget(meta, name)
            return kept

        return bytes.fromhex(self.guarded(read))

    def pipelined(self, commands: Callable[[Any], None]) -> list[Any]:
        """Run the commands that `commands` adds to a pipeline, in one round trip. Return their replies.

        Raise StoreAwayError.
        """

        def run() -> list[Any]:
            with self.client.pipeline(transaction=False) as pipe:
                commands(pipe)
                return list(pipe.execute())

        return list(self.guarded(run))

    def hashes(self, names: Iterable[str]) -> list[dict[str, str]]:
        """Return the hashes at these keys, in one round trip. A missing key returns an empty dict.

        Raise StoreAwayError.
        """

        def commands(pipe: Any) -> None:
            for name in names:
                pipe.hgetall(self.key(name))

        return self.pipelined(commands)

    def guarded(self, act: Callable[[], Any]) -> Any:
        """Return the result of `act`. Raise StoreAwayError for a temporary fault of the store."""
        try:
            return act()
        except (RedisError, OSError) as error:
            ours = as_ours(error)
            if ours is error:
                raise
            raise ours from error
