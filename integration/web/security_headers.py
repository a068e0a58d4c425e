"""The headers that every answer of the web carries, whatever made it and whatever it says.

An answer that needs another value sets it before it comes here, as the dashboard's pages do. HSTS is
not among them: it is for the proxy that speaks TLS to say.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flask import Response
    from werkzeug.datastructures import Headers

# What is answered here is data: a browser that is led to it shows it as such, loads nothing for it, frames
# it nowhere, keeps no copy and tells nobody its address, which may hold a url_key.
ANSWER_HEADERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'",
        "X-Frame-Options": "DENY",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
        # The server would put its own name there.
        "Server": "ringback",
    }
)


def missing(there: Iterable[str]) -> list[tuple[str, str]]:
    """Give those whose names are not among the ones that are there."""
    names = {name.lower() for name in there}
    return [(name, value) for name, value in ANSWER_HEADERS.items() if name.lower() not in names]


def complete(headers: Headers) -> None:
    """Add what is not set yet."""
    for name, value in missing(name for name, _ in headers):
        headers.add(name, value)


def after_request(response: Response) -> Response:
    """Complete an answer's headers; for Flask's `after_request`."""
    complete(response.headers)
    return response
