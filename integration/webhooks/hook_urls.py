"""The URLs of the webhooks: those that senders post to, and those that they sign.

A URL with a `url_key` is a secret. Show the result of `masked_path` instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.config import environment
from integration.domain.delivery import signed_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.source_models import Source


def web_address(environ: Mapping[str, str]) -> str:
    """Return the URL of the web server on this machine. Raise ConfigError for an invalid PORT."""
    return f"http://127.0.0.1:{environment.port(environ)}"


def hook_path(source: Source) -> str:
    """Return the path of a source's webhook without its key."""
    return f"/hooks/{source.name}"


def secret_path(source: Source) -> str:
    """Return the path of a source's webhook, including its key if it has one."""
    key = "" if source.url_key is None else f"/{source.url_key.get_secret_value()}"
    return hook_path(source) + key


def masked_path(source: Source) -> str:
    """Return the path of a source's webhook with a placeholder for its key."""
    return hook_path(source) + ("" if source.url_key is None else "/{url_key}")


def public_url(source: Source) -> str | None:
    """Return the `public_url` of a source, or None."""
    url = getattr(source, "public_url", None)
    return url if isinstance(url, str) else None


def options_url(url: str) -> str:
    """Return the URL of the options of HubSpot's drop-downs, for the URL of a source's webhook."""
    address, mark, query = url.partition("?")
    return f"{address.rstrip('/')}/options{mark}{query}"


def signed_address(source: Source, headers: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Return the URL that the receiver expects the sender to have signed.

    It is the `public_url`, else the URL for the host in `headers` (names in lower case), else the URL on
    this machine.
    """
    if public_url(source) is None and "host" not in headers and "x-forwarded-host" not in headers:
        return web_address(environ) + secret_path(source)
    return signed_url(public_url(source), headers, scheme="http", path=secret_path(source), query="")
