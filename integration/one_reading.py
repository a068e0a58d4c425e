"""Refuses requests that two servers could read in two ways.

A proxy in front of the web decides by the address and by where a request ends; whoever makes it see
another address, or another end, than the web does gets past its rules. Pure: looks at the head alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# RFC 9112, 3.2 and 6.3. Of other headers two are one with a comma, and then no proof is made of it.
_ONCE: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
# A target that is no path (`CONNECT host`, `GET host`, `*`) would be answered by a redirect to `/`. And
# every address here is of letters, digits and - . _ ~ in parts that are not empty: whoever escapes one of
# them, or writes `//` or `/../`, means to be read as something else by somebody else.
_SECOND_SPELLING: Final = re.compile(
    rb"^(?!/)|//|\\|/\.{1,2}(?:/|$)"
    rb"|%(?:2[eEfF]|5[cC]|00|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])"
)


def fault_of_head(scope: Mapping[str, Any]) -> str | None:
    """Say what can be read in two ways in the headers of an ASGI request; None when nothing can."""
    found: dict[bytes, bytes] = {}
    twice: set[str] = set()
    for name, value in scope["headers"]:
        if name in _ONCE:
            if name in found:
                twice.add(name.decode())
            found[name] = found.get(name) or value
    # Where there is none, the server puts an empty one.
    if not found.get(b"host") and scope["http_version"] == "1.1":
        return "there is no header Host"
    if twice:
        return f"found more than once: {', '.join(sorted(twice))}"
    coding = found.get(b"transfer-encoding")
    if coding is None:
        return None
    if b"content-length" in found:
        return "found both content-length and transfer-encoding"
    return None if coding.strip().lower() == b"chunked" else "found another transfer-encoding than chunked"


def has_second_spelling(path: bytes) -> bool:
    """Tell whether a path, undecoded, is another spelling of an address that has a plain one."""
    return _SECOND_SPELLING.search(path) is not None
