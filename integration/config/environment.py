"""The environment variables of the contract, read in one place.

Nothing here starts or opens anything; the mapping is handed in.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from integration.domain.errors import ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
LAST_PORT = 65535
APPLICATIONS = frozenset({"hooks", "api", "dashboard"})


def config_path(environ: Mapping[str, str]) -> Path:
    """RINGBACK_CONFIG, else ringback.toml in the working directory."""
    return Path(environ.get("RINGBACK_CONFIG") or "ringback.toml")


def data_dir(environ: Mapping[str, str]) -> Path:
    """RINGBACK_DATA_DIR, the folder of the embedded store, else .ringback."""
    return Path(environ.get("RINGBACK_DATA_DIR") or ".ringback")


def epoch_file(environ: Mapping[str, str]) -> Path | None:
    """RINGBACK_EPOCH_FILE, else beside the embedded store's folder where that is used, else None.

    Never in that folder: an old copy that is put back must not bring its own memory along.
    """
    if named := environ.get("RINGBACK_EPOCH_FILE"):
        return Path(named)
    return None if environ.get("REDIS_URL") else beside(data_dir(environ))


def beside(folder: Path) -> Path:
    """Give the place of what was seen of the store in a folder."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.epoch")


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


def served_applications(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the applications that RINGBACK_SERVE names, all of them unless set. Raise ConfigError."""
    text = environ.get("RINGBACK_SERVE") or ",".join(APPLICATIONS)
    named = frozenset(word.strip() for word in text.split(",") if word.strip())
    if not named or not named <= APPLICATIONS:
        allowed = "hooks, api and dashboard, or some of them, with commas between"
        raise ConfigError((Fault("environment", "RINGBACK_SERVE", f"{text[:60]!r}", allowed),))
    return named


def port(environ: Mapping[str, str]) -> int:
    """PORT of the web, 8080 unless set. Raises ConfigError."""
    found = environ.get("PORT") or str(DEFAULT_PORT)
    if not found.isdecimal() or not 0 < int(found) <= LAST_PORT:
        raise ConfigError((Fault("environment", "PORT", f"{found[:20]!r}", "a number from 1 to 65535"),))
    return int(found)


SOCKET_FILE = "store.sock"
# sockaddr_un.sun_path with its closing NUL: 108 bytes on Linux (unix(7)), 104 on macOS and the BSDs.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103


def socket_path(data_dir: Path) -> Path:
    """Give the path of the folder's socket, short enough for the kernel.

    In the folder itself; for a folder whose path is too long in a folder of /tmp that is named by
    user and path, so that every process finds the same one.
    """
    folder = data_dir.resolve()
    path = folder / SOCKET_FILE
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"ringback-{os.getuid()}-{digest}" / SOCKET_FILE  # noqa: S108  (its owner and mode are checked before use)


def url_of(data_dir: Path) -> str:
    """Give the address of the folder's store as redis-py understands it, running or not."""
    return f"unix://{quote(str(socket_path(data_dir)))}?db=0"


def running_url(data_dir: Path) -> str | None:
    """Give the address of the store that runs on a folder now, or None."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(socket_path(data_dir)))
        except OSError:
            return None
    return url_of(data_dir)


def broker_url_for(redis_url: str) -> str:
    """Give the address as Celery understands it: kombu spells unix sockets `redis+socket://`.

    `redis://` and `rediss://` are the same for both. Options other than `db`, `username` and
    `password` are left out: kombu would hand them to the connection as texts.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = unquote(parts.username or "") or options.get("username", "")
    password = unquote(parts.password or "") or options.get("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={options.get('db', '0')}"
