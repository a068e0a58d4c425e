"""What is kept of a delivery that was not taken: enough to see why, nothing of its body, no secret. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_MATTERS = (
    "signature", "hmac", "digest", "token", "key", "secret", "authorization", "webhook-", "svix-", "hubspot",
    "timestamp", "content-", "transfer-encoding", "user-agent", "forwarded", "host", "soapaction",
)  # fmt: skip
_MOST_HEADERS = 20
_LONGEST = 64
_NOT_TYPE = re.compile(r"[^a-z0-9.+/_-]")
_NOT_METHOD = re.compile(r"[^A-Z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A delivery that was not taken.

    `at` is aware. `sender` is a shortened address; `headers` names those that matter, without values.
    `size` is in bytes, None where it was not known. `findings` are pairs of cause and facts (see
    `webhooks.diagnosis`), `proved` whether they explain all of it. `more` counts others of its batch
    that are not listed one by one.
    """

    at: datetime
    source: str
    status: int
    method: str
    size: int | None
    content_type: str
    headers: tuple[str, ...]
    sender: str
    check: str = ""
    why: str = ""
    findings: tuple[tuple[str, Mapping[str, str]], ...] = ()
    proved: bool = False
    more: int = 0


def rejection_of(  # noqa: PLR0913  (a request has these parts)
    *, at: datetime, source: str, status: int, method: str, size: int | None,
    headers: Mapping[str, str], address: str,
) -> Rejection:  # fmt: skip
    """Make it of a request. `headers` have names as `header_name` gives them; `address` is the peer's."""
    kind = headers.get("content-type", "").split(";", 1)[0].lower()
    return Rejection(
        at=at,
        source=source,
        status=status,
        method=_NOT_METHOD.sub("", method)[:_LONGEST],
        size=size,
        content_type=_NOT_TYPE.sub("", kind)[:_LONGEST],
        headers=names_that_matter(headers),
        sender=sender(headers, address),
    )


def names_that_matter(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Give the names of the headers that a proof, a proxy or a body's reading rests on."""
    named = (shown_name(name) for name in headers if any(word in name for word in _MATTERS))
    return tuple(sorted(named))[:_MOST_HEADERS]


def sender(headers: Mapping[str, str], address: str) -> str:
    """Give the sender's address without its end; behind a proxy the one that the proxy tells."""
    told = headers.get("x-forwarded-for", "").split(",")[0].strip()
    return shortened(told) or shortened(address)


def shortened(address: str) -> str:
    """Give an IPv4 address without its last part, of IPv6 the first three; empty where it is neither."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if ip.is_loopback:
        return str(ip)
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip).rpartition(".")[0] + ".x"
    return ":".join(ip.exploded.split(":")[:3]) + ":x"


_NOT_NAME = re.compile(r"[^a-z0-9_-]")
_LONGEST_NAME = 64


def shown_name(name: str) -> str:
    """Give a header's name, which a stranger chose, as it may be kept and shown."""
    return _NOT_NAME.sub("", name.lower())[:_LONGEST_NAME]
