"""The headers of every answer of the dashboard: nothing is loaded, framed or kept but what is ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import request

if TYPE_CHECKING:
    from flask import Response

# No inline script, no inline style, no eval. Pico's marks on form fields are images in data: addresses.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_YEAR_SECONDS: Final = 31_536_000


def dress(response: Response) -> Response:
    """Set the headers of a page, or of a file that pages load."""
    headers = response.headers
    headers["Content-Security-Policy"] = CONTENT_POLICY
    headers["X-Frame-Options"] = "DENY"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    # Over https the protection against forged requests compares the referrer with the host.
    headers["Referrer-Policy"] = "same-origin"
    if request.endpoint == "dashboard.static" and "v" in request.args:
        headers["Cache-Control"] = f"public, max-age={_YEAR_SECONDS}, immutable"
    elif request.endpoint != "dashboard.static":
        headers["Cache-Control"] = "no-store"
    return response
