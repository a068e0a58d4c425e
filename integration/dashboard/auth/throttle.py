"""How often somebody may try to sign in, by name, by address and in all; counted in the store.

The limits are the same for names that there are and names that there are not. A name and an address are
counted under a digest, and as all together are limited, so are the keys of the store.
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
    """Counts what passes, over all processes."""

    def over(self, name: str, per_minute: int) -> int | None:
        """Count one; give the seconds to wait when it is over the limit. Raises StoreAwayError."""


class Throttle:
    """Counts tries to sign in."""

    def __init__(self, rates: RateStore) -> None:
        self._rates = rates

    def wait(self, name: str, address: str) -> int | None:
        """Count one try; give the seconds to wait when it is one too many. Raises StoreAwayError."""
        for what, per_minute in _limits(name.strip().lower(), _network(address)):
            wait = self._rates.over(f"sign-in:{what}", per_minute)
            if wait is not None:
                return wait
        return None

    def may_note(self) -> bool:
        """Tell whether one more failed try goes into the audit log; a flood of them does not."""
        return self._rates.over("sign-in:noted", NOTED_A_MINUTE) is None


def _limits(name: str, network: str) -> Iterator[tuple[str, int]]:
    yield f"address:{_digest(network)}", A_MINUTE_BY_ADDRESS
    yield f"both:{_digest(name, network)}", A_MINUTE_BY_NAME_AND_ADDRESS
    yield "all", A_MINUTE
    yield f"name:{_digest(name)}", A_MINUTE_BY_NAME


def _network(address: str) -> str:
    """Give what one customer of a provider has: an IPv4 address, or 64 bits of an IPv6 one."""
    with suppress(ValueError):
        ip = ipaddress.ip_address(address.partition("%")[0])
        if ip.version == 6:  # noqa: PLR2004
            return str(ipaddress.ip_network((ip, _IPV6_HOME), strict=False))
    return address


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:20]
