"""A webhook request as its receiver knows it, whatever server or framework it came through. Frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """A request to one of the sources' addresses, its body read whole.

    `headers` has names as `delivery.header_name` gives them; a header sent twice has its values joined by a
    comma. `path` is decoded, `query` is not. `address` is the peer's. `url_key` is the last part of the
    path where there was one.
    """

    method: str
    scheme: str
    path: str = field(repr=False)
    query: str = field(repr=False)
    headers: Mapping[str, str]
    address: str
    url_key: str | None = field(default=None, repr=False)
    body: bytes = field(repr=False)


def signed_url(
    public_url: str | None, headers: Mapping[str, str], *, scheme: str, path: str, query: str
) -> str:
    """Give the URL that the sender signed: `public_url`, else what the request and its proxies say.

    What a proxy claims is good enough here: a wrong URL only makes the signature fail.
    """
    if public_url is not None:
        return f"{public_url}?{query}" if query and "?" not in public_url else public_url
    scheme = headers.get("x-forwarded-proto", scheme).split(",")[0].strip()
    host = headers.get("x-forwarded-host", headers.get("host", "")).split(",")[0].strip()
    return f"{scheme}://{host}{path}" + (f"?{query}" if query else "")
