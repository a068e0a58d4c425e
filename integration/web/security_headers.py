"""The headers that every response carries.

A response that needs another value sets it first, as the dashboard's pages do. HSTS is left to the proxy that
terminates TLS.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Response
    from werkzeug.datastructures import Headers

# The responses are data. A browser that opens one must show it as text, load nothing for it, not frame it,
# keep no copy, and not disclose its address, which may contain a url_key.
ANSWER_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        # Otherwise the server adds its own name.
        "Server": "ringback",
    }
)


def missing(there: Iterable[str]) -> list[tuple[str, str]]:
    """Return the headers whose names are not in `there`."""
    names = {name.lower() for name in there}
    return [(name, value) for name, value in ANSWER_HEADERS.items() if name.lower() not in names]


def complete(headers: Headers) -> None:
    """Add the headers that are not set."""
    for name, value in missing(name for name, _ in headers):
        headers.add(name, value)


def after_request(response: Response) -> Response:
    """Add the missing headers to a response, for Flask's `after_request`."""
    complete(response.headers)
    return response
