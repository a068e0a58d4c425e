"""Where a request comes from: the browser's address, and the address that browsers have of us."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import request

from integration.dashboard.auth.cookies import is_ours

if TYPE_CHECKING:
    from integration.config.models import DashboardSettings


def client_address(settings: DashboardSettings) -> str:
    """Give the address of the browser: what the outermost of our own proxies saw, else who is connected.

    Anybody may write X-Forwarded-For; only as many entries of it count as we have proxies.
    """
    seen = [each.strip() for each in request.headers.get("X-Forwarded-For", "").split(",") if each.strip()]
    if settings.proxies and len(seen) >= settings.proxies:
        return seen[-settings.proxies][:64]
    return request.remote_addr or ""


def local_address(text: str | None) -> str:
    """Give an address of our own pages as it was asked for, `/` for anything else."""
    if not text or not text.startswith("/") or text.startswith(("//", "/\\")) or not text.isprintable():
        return "/"
    parts = urlsplit(text)
    if parts.scheme or parts.netloc or "\\" in text or not is_ours(parts.path):
        return "/"
    return text
