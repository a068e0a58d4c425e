"""Check the head of a request for its size and for signs of request smuggling. Pure.

A proxy applies its rules to the address and the end of a request. A sender evades the rules if the proxy
and the web server read a different address or a different end. Ambiguous requests are therefore rejected.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from integration.domain.limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

# A target that is no path (`CONNECT host`, `GET host`, `*`) would be redirected to `/`. All addresses here
# consist of letters, digits and - . _ ~ in non-empty segments. A proxy may read an escaped one of these
# characters, `//` or `/../` differently.
_SECOND_SPELLING: Final = re.compile(
    rb"^(?!/)|//|\\|/\.{1,2}(?:/|$)"
    rb"|%(?:2[eEfF]|5[cC]|00|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])"
)


def fault_of_head(scope: Mapping[str, Any]) -> str | None:
    """Return why the head of an ASGI request is ambiguous, or None if it is not.

    The server (hyper) changes some requests before this check. It cuts `#` and the rest off the target,
    takes the path out of a full URL, joins equal Content-Length headers, and accepts LF as a line end. If
    there is a Transfer-Encoding, it drops Content-Length, and closes the connection after the response.
    It rejects different Content-Length headers.
    """
    # Methods are case-sensitive (RFC 9110, 9.1), but Flask routes `post` like POST.
    if scope["method"] != scope["method"].upper():
        return "the method is not in upper case"
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return "the request has more than one Host header"
    # The server adds an empty Host header if there was none.
    if scope["http_version"] == "1.1" and not any(hosts):
        return "the Host header is missing or empty"
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        return "the Transfer-Encoding is not chunked, or there is more than one"
    return None


def excess_of_head(scope: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the HTTP status and the error if the head of an ASGI request exceeds a limit, otherwise None."""
    query: bytes = scope["query_string"]
    if len(scope["raw_path"] or b"") + len(query) > MAX_TARGET_BYTES:
        return 414, f"the address is longer than {MAX_TARGET_BYTES} bytes"
    if query.count(b"&") >= MAX_FIELDS:
        return 414, f"the address has more than {MAX_FIELDS} parameters"
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        return 431, f"the headers are larger than {MAX_HEAD_BYTES} bytes"
    return None


def has_second_spelling(path: bytes) -> bool:
    """Return True if a proxy and the web server may read a percent-encoded path differently."""
    return _SECOND_SPELLING.search(path) is not None
