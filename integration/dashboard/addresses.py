"""Addresses: of the browser that asks, and of pages that belong to the dashboard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import request

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


_NOT_OURS: Final = ("/v1", "/hooks", "/static", "/healthz", "/readyz", "/metrics", "/openapi.json")


def is_ours(path: str) -> bool:
    """Tell whether an address belongs to the dashboard and not to programs."""
    return not any(path == each or path.startswith(f"{each}/") for each in _NOT_OURS)
