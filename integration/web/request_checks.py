"""Refuses requests that two servers could read in two ways.

A proxy in front of the web decides by the address and by where a request ends; whoever makes it see
another address, or another end, than the web does gets past its rules. Pure: looks at the head alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

# A target that is no path (`CONNECT host`, `GET host`, `*`) would be answered by a redirect to `/`. And
# every address here is of letters, digits and - . _ ~ in parts that are not empty: whoever escapes one of
# them, or writes `//` or `/../`, means to be read as something else by somebody else.
_SECOND_SPELLING: Final = re.compile(
    rb"^(?!/)|//|\\|/\.{1,2}(?:/|$)"
    rb"|%(?:2[eEfF]|5[cC]|00|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])"
)


def fault_of_head(scope: Mapping[str, Any]) -> str | None:
    """Return what can be read in two ways in the headers of an ASGI request; None when nothing can.

    Of the lengths granian lets only one through, and none beside a Transfer-Encoding.
    """
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return "found more than one header Host"
    # Where there is none, the server puts an empty one.
    if scope["http_version"] == "1.1" and not any(hosts):
        return "there is no header Host"
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        return "found another transfer-encoding than chunked, or more than one"
    return None


def has_second_spelling(path: bytes) -> bool:
    """Tell whether a path, undecoded, is another spelling of an address that has a plain one."""
    return _SECOND_SPELLING.search(path) is not None
