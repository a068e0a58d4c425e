"""Rate limits for sign-in attempts: by name, by network, by both and in total, counted in the store.

The limits do not depend on whether a name exists. Names and networks are stored as digests. The total
is checked before the name, which limits the number of keys of names in the store.
"""

from __future__ import annotations

import ipaddress
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

A_MINUTE_BY_ADDRESS: Final = 20
A_MINUTE_BY_NAME_AND_ADDRESS: Final = 5
A_MINUTE_BY_NAME: Final = 30
A_MINUTE: Final = 300
NOTED_A_MINUTE: Final = 30
_IPV6_HOME: Final = 64


class RateStore(Protocol):
    """Protocol of a counter that all processes share, such as `integration.web.rate_limit.RateLimit`."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one event of `name`. Return None if it is within the limit, else the seconds to wait.

        Raise StoreAwayError.
        """


class Throttle:
    """Limits for sign-in attempts. Each attempt is counted against every limit until one is exceeded."""

    def __init__(self, rates: RateStore) -> None:
        self._rates = rates

    def wait(self, name: str, address: str) -> int | None:
        """Count an attempt. Return None if it is within all limits, else the seconds to wait.

        Raise StoreAwayError.
        """
        for what, per_minute in _limits(name.strip().lower(), _network(address)):
            wait = self._rates.over(f"sign-in:{what}", per_minute)
            if wait is not None:
                return wait
        return None

    def may_note(self) -> bool:
        """Count an audit entry about a failed attempt. Return True if it may be written.

        At most NOTED_A_MINUTE entries are written in a minute. Raise StoreAwayError.
        """
        return self._rates.over("sign-in:noted", NOTED_A_MINUTE) is None


def _limits(name: str, network: str) -> Iterator[tuple[str, int]]:
    yield f"address:{_digest(network)}", A_MINUTE_BY_ADDRESS
    yield f"both:{_digest(name, network)}", A_MINUTE_BY_NAME_AND_ADDRESS
    yield "all", A_MINUTE
    yield f"name:{_digest(name)}", A_MINUTE_BY_NAME


def _network(address: str) -> str:
    """Return the /64 network of an IPv6 address. Return any other text unchanged."""
    with suppress(ValueError):
        ip = ipaddress.ip_address(address.partition("%")[0])
        if ip.version == 6:  # noqa: PLR2004
            return str(ipaddress.ip_network((ip, _IPV6_HOME), strict=False))
    return address


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
