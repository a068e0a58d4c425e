"""The connection to the store, and the calls of the script that changes its data.

A call that fails with StoreAwayError may or may not have been executed. It is not repeated here. A caller
may repeat an admission, a step of a drain or a flush of counters: the script detects these repetitions.
"""

from __future__ import annotations

import secrets
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from integration.domain.timestamps import from_epoch_ms
from integration.store.scripting.batching import ScriptBatcher, translate_error
from integration.store.scripting.epoch import StoreEpoch
from integration.store.scripting.protocol import PREFIX, ScriptProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from contextlib import AbstractContextManager
    from datetime import datetime

    from integration.store.scripting.protocol import EpochLoss

READ_BYTES = 8192
ANSWER_SECONDS = 5.0


def connect(
    url: str, *, timeout_seconds: float = ANSWER_SECONDS, connect_seconds: float = 1.0
) -> redis.Redis:
    """Return a client with a connection pool that decodes replies to text and retries nothing."""
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


class Store:
    """The script and the read commands on one store.

    `clock` returns epoch milliseconds and is for tests; None uses the store's clock. `kind` is the kind
    of this process: "web", "worker" or "tool". `process_id` is the kind with a random suffix. `epoch`
    holds the latest epoch and revision seen; None begins with an unknown epoch. `span` returns a context
    manager for each `call`; its argument is the command's name.
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
        self.span: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext()
        self.kind = kind
        self.process_id = f"{kind}:{secrets.token_hex(4)}"
        self._protocol = ScriptProtocol(self.process_id, self.epoch, clock)
        self._batcher = ScriptBatcher(
            client,
            self._protocol,
            answer_seconds=client.connection_pool.connection_kwargs.get("socket_timeout") or ANSWER_SECONDS,
        )

    def report_losses(self, report: Callable[[EpochLoss], None]) -> None:
        """Register a callback for losses of data in the store. Only one process reports each loss."""
        self._protocol.on_loss = report

    def key(self, name: str) -> str:
        """Return the full name of a key. lua/keys.lua lists all keys."""
        return PREFIX + name

    def call(self, command: str, *args: str | int | bytes) -> Any:
        """Run one command of the script and return its reply.

        Raise StoreAwayError if the store is unavailable; the command may or may not have been executed.
        Raise ResponseError if the script or the server rejects the command.
        """
        with self.span(command):
            return self._batcher.call(command, args)

    def now_ms(self) -> int:
        """Return the time in epoch milliseconds, by the store's clock or the test's. Raise StoreAwayError."""
        if self._protocol.clock is not None:
            return self._protocol.clock()
        seconds, micros = self.guarded(self.client.time)
        return int(seconds) * 1000 + int(micros) // 1000

    def now(self) -> datetime:
        """Return the time by the store's clock (aware, UTC). Raise StoreAwayError."""
        return from_epoch_ms(self.now_ms())

    def secret(self, name: str) -> bytes:
        """Return the random key (32 bytes) with this name, created on first use. Raise StoreAwayError."""
        key = self.key("store")

        def read() -> Any:
            # A full store refuses HSETNX even when the field exists.
            value = self.client.hget(key, name)
            if value is None:
                self.client.hsetnx(key, name, secrets.token_hex(32))
                value = self.client.hget(key, name)
            return value

        return bytes.fromhex(self.guarded(read))

    def pipelined(self, commands: Callable[[Any], None]) -> list[Any]:
        """Run commands in one round trip and return their replies. `commands` adds them to the pipeline.

        Raise StoreAwayError.
        """

        def run() -> list[Any]:
            with self.client.pipeline(transaction=False) as pipe:
                commands(pipe)
                return list(pipe.execute())

        return list(self.guarded(run))

    def hashes(self, names: Iterable[str]) -> list[dict[str, str]]:
        """Return the hashes at these keys, in one round trip. The dict of a missing key is empty.

        Raise StoreAwayError.
        """

        def commands(pipe: Any) -> None:
            for name in names:
                pipe.hgetall(self.key(name))

        return self.pipelined(commands)

    def guarded(self, act: Callable[[], Any]) -> Any:
        """Return the result of `act`. Raise StoreAwayError for a temporary error of the store."""
        try:
            return act()
        except (RedisError, OSError) as error:
            translated = translate_error(error)
            if translated is error:
                raise
            raise translated from error
