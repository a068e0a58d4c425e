"""The client's IP address of a request, and checks of paths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import request

if TYPE_CHECKING:
    from integration.config.models import DashboardSettings


def client_address(settings: DashboardSettings) -> str:
    """Return the client's IP address, or "" if it is unknown.

    With n = `settings.proxies` above 0, the n-th entry of `X-Forwarded-For` from the end is returned.
    Earlier entries are ignored, because a client can send any value. With 0, or fewer than n entries, the
    peer address of the connection is returned.
    """
    seen = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
    if settings.proxies and len(seen) >= settings.proxies:
        return seen[-settings.proxies][:64]
    return request.remote_addr or ""


def local_address(text: str | None) -> str:
    """Return `text` if it is a path of the dashboard, with or without a query, else `/`.

    This prevents open redirects.
    """
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable():
        return "/"
    parts = urlsplit(text)
    if parts.scheme or parts.netloc or "\\" in text or not is_ours(parts.path):
        return "/"
    return text


_NOT_OURS: Final = ("/v1", "/hooks", "/static", "/healthz", "/readyz", "/metrics", "/openapi.json")


def is_ours(path: str) -> bool:
    """Return True unless a path is one of static files, the API, the receiver, metrics or a probe."""
    return not any(path == each or path.startswith(f"{each}/") for each in _NOT_OURS)
