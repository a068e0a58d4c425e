"""Security and cache headers of every dashboard response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from flask import request

if TYPE_CHECKING:
    from flask import Response

# No inline script, no inline style, no eval. Pico draws its icons on form fields as `data:` images.
CONTENT_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_YEAR_SECONDS: Final = 31_536_000


def set_security_headers(response: Response) -> Response:
    """Set the security and cache headers of a page or static file. Return the response."""
    headers = response.headers
    headers["Content-Security-Policy"] = CONTENT_POLICY
    headers["X-Frame-Options"] = "DENY"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    # Over https, Flask-WTF compares the referrer with the host as part of the CSRF check.
    headers["Referrer-Policy"] = "same-origin"
    if request.endpoint == "dashboard.static" and "v" in request.args:
        headers["Cache-Control"] = f"public, max-age={_YEAR_SECONDS}, immutable"
    elif request.endpoint != "dashboard.static":
        headers["Cache-Control"] = "no-store"
    return response
