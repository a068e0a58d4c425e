"""Rate limits, counted in the store, so that they hold over any number of web processes.

A sliding window of one minute; what was refused is not counted. Nothing but names is kept.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from redis.exceptions import RedisError

from integration.domain.errors import StoreAwayError

if TYPE_CHECKING:
    import redis

# The hash tag keeps the keys with the store's; the library adds its own braces after it.
_PREFIX = "{ringback}:rate"


class RateLimit:
    """Counts what passes, for each name on its own.

    `client` is the store's; its pool, time-outs and retries are used as they are.
    """

    def __init__(self, client: redis.Redis) -> None:
        storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=_PREFIX)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one request of `name` (`api:KEY`, `source:NAME`).

        None when it may pass, else the whole seconds, 1 or more, after which the next may. Raises
        StoreAwayError.
        """
        item = RateLimitItemPerMinute(per_minute)
        try:
            if self._limiter.hit(item, name):
                return None
            reset_at = self._limiter.get_window_stats(item, name).reset_time
        except (RedisError, OSError) as error:
            raise StoreAwayError(type(error).__name__) from error
        return max(1, math.ceil(reset_at - time.time()))
