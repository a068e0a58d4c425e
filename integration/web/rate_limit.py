"""Rate limits that are counted in the store and apply to all web processes together.

The window is a sliding minute. Rejected requests are not counted.
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

# The hash tag puts the keys into the store's slot; the library appends its own braces.
_PREFIX = "{ringback}:rate"


class RateLimit:
    """A counter of requests by name. It uses the connection pool of `client`."""

    def __init__(self, client: redis.Redis) -> None:
        storage = RedisStorage("redis://", connection_pool=client.connection_pool, key_prefix=_PREFIX)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

    def over(self, name: str, per_minute: int) -> int | None:
        """Count a request of `name`, such as `api:NAME` or `source:NAME`, unless it exceeds the limit.

        Return None if the request is allowed, otherwise the seconds (at least 1) after which to try
        again. Raise StoreAwayError.
        """
        item = RateLimitItemPerMinute(per_minute)
        try:
            if self._limiter.hit(item, name):
                return None
            reset_at = self._limiter.get_window_stats(item, name).reset_time
        except (RedisError, OSError) as error:
            raise StoreAwayError(type(error).__name__) from error
        return max(1, math.ceil(reset_at - time.time()))
