"""The addresses of the webhooks: what a sender posts to, and what it signs.

An address with a `url_key` in it is a secret: it is for sending, never for showing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from integration.config import environment
from integration.domain.delivery import signed_url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from integration.config.source_models import Source


def web_address(environ: Mapping[str, str]) -> str:
    """Give the address of the web on this machine. Raises ConfigError for a PORT that is none."""
    return f"http://127.0.0.1:{environment.port(environ)}"


def hook_path(source: Source) -> str:
    """Give the path of a source's webhook, without its key."""
    return f"/hooks/{source.name}"


def secret_path(source: Source) -> str:
    """Give the path of a source's webhook, with its key where it has one."""
    key = "" if source.url_key is None else f"/{source.url_key.get_secret_value()}"
    return hook_path(source) + key


def shown_path(source: Source) -> str:
    """Give the path of a source's webhook as it may be shown."""
    return hook_path(source) + ("" if source.url_key is None else "/{url_key}")


def public_url(source: Source) -> str | None:
    """Give the `public_url` of a source that has one."""
    found = getattr(source, "public_url", None)
    return found if isinstance(found, str) else None


def signed_address(source: Source, headers: Mapping[str, str], environ: Mapping[str, str]) -> str:
    """Give the address that the sender signed, as the receiver would work it out of the headers."""
    if public_url(source) is None and "host" not in headers and "x-forwarded-host" not in headers:
        return web_address(environ) + secret_path(source)
    return signed_url(public_url(source), headers, scheme="http", path=secret_path(source), query="")
