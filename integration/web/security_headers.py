"""The security headers that all responses have.

A header that a response has already set, as the pages of the dashboard do, is not replaced. HSTS is left
to the proxy that terminates TLS.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Response
    from werkzeug.datastructures import Headers

# Most responses are data. A browser must show them as text, load nothing for them, not frame or cache them,
# and not disclose their address, which may contain a url_key.
ANSWER_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        # Without it, granian adds its own name.
        "Server": "ringback",
    }
)


def missing(there: Iterable[str]) -> list[tuple[str, str]]:
    """Return the security headers whose names are not in `there`, regardless of case."""
    names = {name.lower() for name in there}
    return [(name, value) for name, value in ANSWER_HEADERS.items() if name.lower() not in names]


def complete(headers: Headers) -> None:
    """Add the security headers that are not set."""
    for name, value in missing(name for name, _ in headers):
        headers.add(name, value)


def after_request(response: Response) -> Response:
    """Add the missing security headers to a response. A function for Flask's `after_request`."""
    complete(response.headers)
    return response
