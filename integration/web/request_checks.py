"""Checks the head of a request: whether two servers could read it in different ways, and its size.

A proxy decides by the address and by the end of a request. A sender that makes it see another address or
another end than the web evades its rules. Only the request's head is checked; there is no I/O here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from integration.domain.limits import MAX_FIELDS, MAX_HEAD_BYTES, MAX_TARGET_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping

# A target that is no path (`CONNECT host`, `GET host`, `*`) would be redirected to `/`. All addresses here
# consist of letters, digits and - . _ ~ in non-empty segments. Escaping one of these, or sending `//` or
# `/../`, only serves to be read differently by another server.
_SECOND_SPELLING: Final = re.compile(
    rb"^(?!/)|//|\\|/\.{1,2}(?:/|$)"
    rb"|%(?:2[eEfF]|5[cC]|00|3[0-9]|[46][1-9a-fA-F]|[57][0-9aA])"
)


def fault_of_head(scope: Mapping[str, Any]) -> str | None:
    """Return the ambiguity in the head of an ASGI request, None if there is none.

    What the server (hyper) changes before is not visible here: it cuts `#` and what follows off the target,
    takes the path out of a full URL, joins equal Content-Length headers, drops one beside Transfer-Encoding
    and closes the connection after its response, and takes LF alone for a line end. It rejects different
    Content-Length headers.
    """
    # Methods are case-sensitive (RFC 9110, 9.1), but Flask routes `post` like POST.
    if scope["method"] != scope["method"].upper():
        return "the method is not in capital letters"
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if len(hosts) > 1:
        return "found more than one header Host"
    # The server adds an empty Host header if there was none.
    if scope["http_version"] == "1.1" and not any(hosts):
        return "there is no header Host"
    codings = [value.strip().lower() for name, value in scope["headers"] if name == b"transfer-encoding"]
    if codings not in ([], [b"chunked"]):
        return "found another transfer-encoding than chunked, or more than one"
    return None


def excess_of_head(scope: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the HTTP status and the limit that the head of an ASGI request exceeds, or None."""
    query: bytes = scope["query_string"]
    if len(scope["raw_path"] or b"") + len(query) > MAX_TARGET_BYTES:
        return 414, f"the address is longer than {MAX_TARGET_BYTES} bytes"
    if query.count(b"&") >= MAX_FIELDS:
        return 414, f"the address has more than {MAX_FIELDS} parameters"
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEAD_BYTES:
        return 431, f"the headers are larger than {MAX_HEAD_BYTES} bytes"
    return None


def has_second_spelling(path: bytes) -> bool:
    """Return whether an undecoded path is another spelling of a plain address."""
    return _SECOND_SPELLING.search(path) is not None
