"""Records of rejected deliveries. They contain no secrets and nothing of the body. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

_RELEVANT_WORDS = (
    "signature", "hmac", "digest", "token", "key", "secret", "authorization", "webhook-", "svix-", "hubspot",
    "timestamp", "content-", "transfer-encoding", "user-agent", "forwarded", "host", "soapaction",
)  # fmt: skip
_MOST_HEADERS = 20
_LONGEST = 64
_NOT_TYPE = re.compile(r"[^a-z0-9.+/_-]")
_NOT_METHOD = re.compile(r"[^A-Z]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A rejected delivery.

    `at` is aware. `sender` is a shortened IP address, or "" if unknown. `headers` has the names of the
    relevant headers, without values. `size` is in bytes, or None if unknown. `findings` holds pairs of a
    cause and its facts (see `webhooks.diagnosis`). `proved` is True if the findings fully explain the
    rejection. `more` is the number of further rejections of the same batch that are not recorded
    individually.
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
    """Return the record of a rejected request.

    The names in `headers` are normalized by `header_name`. `address` is the peer's IP address.
    """
    kind = headers.get("content-type", "").split(";", 1)[0].lower()
    return Rejection(
        at=at,
        source=source,
        status=status,
        method=_NOT_METHOD.sub("", method)[:_LONGEST],
        size=size,
        content_type=_NOT_TYPE.sub("", kind)[:_LONGEST],
        headers=relevant_header_names(headers),
        sender=sender(headers, address),
    )


def relevant_header_names(headers: Mapping[str, str]) -> tuple[str, ...]:
    """Return at most 20 names of headers that matter for verification, proxies or parsing, sorted."""
    named = (safe_header_name(name) for name in headers if any(word in name for word in _RELEVANT_WORDS))
    return tuple(sorted(named))[:_MOST_HEADERS]


def sender(headers: Mapping[str, str], address: str) -> str:
    """Return the sender's shortened IP address: the first one in X-Forwarded-For, else the peer's."""
    forwarded = headers.get("x-forwarded-for", "").split(",")[0].strip()
    return shortened(forwarded) or shortened(address)


def shortened(address: str) -> str:
    """Return the first three parts of an IP address and "x", or "" for any other text.

    Loopback addresses are returned in full.
    """
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


def safe_header_name(name: str) -> str:
    """Return a header's name in lower case with only `a-z 0-9 _ -`, at most 64 characters."""
    return _NOT_NAME.sub("", name.lower())[:_LONGEST_NAME]
