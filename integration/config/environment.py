"""The environment variables of the contract, read in one place.

Nothing here starts or opens anything; the mapping is handed in.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from integration.domain.errors import ConfigError, Fault
from integration.local.embedded_store import broker_url_for, running_url

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
LAST_PORT = 65535


def config_path(environ: Mapping[str, str]) -> Path:
    """RINGBACK_CONFIG, else ringback.toml in the working directory."""
    return Path(environ.get("RINGBACK_CONFIG") or "ringback.toml")


def data_dir(environ: Mapping[str, str]) -> Path:
    """RINGBACK_DATA_DIR, the folder of the embedded store, else .ringback."""
    return Path(environ.get("RINGBACK_DATA_DIR") or ".ringback")


def seen_file(environ: Mapping[str, str]) -> Path | None:
    """RINGBACK_SEEN_FILE, else beside the embedded store's folder where that is used, else None.

    Never in that folder: an old copy that is put back must not bring its own memory along.
    """
    if named := environ.get("RINGBACK_SEEN_FILE"):
        return Path(named)
    return None if environ.get("REDIS_URL") else beside(data_dir(environ))


def beside(folder: Path) -> Path:
    """Give the place of what was seen of the store in a folder."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.seen")


def store_url(environ: Mapping[str, str]) -> str:
    """REDIS_URL, else the embedded store that runs in the data folder. Raises ConfigError when neither is."""
    url = environ.get("REDIS_URL") or running_url(data_dir(environ))
    if url is None:
        allowed = "redis://host:port/0, or an embedded store running here (start one with: ringback up)"
        raise ConfigError((Fault("environment", "REDIS_URL", "nothing", allowed),))
    return url


def broker_url(environ: Mapping[str, str]) -> str:
    """BROKER_URL as Celery wants it, else the store. Raises ConfigError when there is neither."""
    return broker_url_for(environ.get("BROKER_URL") or store_url(environ))


def port(environ: Mapping[str, str]) -> int:
    """PORT of the web, 8080 unless set. Raises ConfigError."""
    found = environ.get("PORT") or str(DEFAULT_PORT)
    if not found.isdecimal() or not 0 < int(found) <= LAST_PORT:
        raise ConfigError((Fault("environment", "PORT", f"{found[:20]!r}", "a number from 1 to 65535"),))
    return int(found)
