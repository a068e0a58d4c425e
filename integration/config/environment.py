"""Read the environment variables of Ringback from a mapping `environ`."""

from __future__ import annotations

import hashlib
import os
import re
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, unquote, urlsplit

from integration.domain.errors import ENVIRONMENT, ConfigError, Fault

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PORT = 8080
LAST_PORT = 65535
LIVENESS_FILE = "RINGBACK_LIVENESS_FILE"
APPLICATIONS = frozenset({"hooks", "api", "dashboard"})


def config_path(environ: Mapping[str, str]) -> Path:
    """Return the path in RINGBACK_CONFIG, else ringback.toml in the working directory."""
    return Path(environ.get("RINGBACK_CONFIG") or "ringback.toml")


def data_dir(environ: Mapping[str, str]) -> Path:
    """Return the embedded store's folder: the path in RINGBACK_DATA_DIR, else .ringback."""
    return Path(environ.get("RINGBACK_DATA_DIR") or ".ringback")


def epoch_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path in RINGBACK_EPOCH_FILE, else a path next to the embedded store's folder.

    If only REDIS_URL is set, return None. The default path is outside the folder, because the file
    detects that the folder was restored from a backup.
    """
    if path := environ.get("RINGBACK_EPOCH_FILE"):
        return Path(path)
    return None if environ.get("REDIS_URL") else epoch_file_beside(data_dir(environ))


def epoch_file_beside(folder: Path) -> Path:
    """Return the path of the epoch file for the embedded store in `folder`."""
    folder = folder.resolve()
    return folder.with_name(f"{folder.name}.epoch")


def liveness_file(environ: Mapping[str, str]) -> Path | None:
    """Return the path in RINGBACK_LIVENESS_FILE, in which a process counts its ticks, or None."""
    return Path(path) if (path := environ.get("RINGBACK_LIVENESS_FILE")) else None


def store_url(environ: Mapping[str, str]) -> str:
    """Return REDIS_URL, else the URL of the running embedded store.

    Raise ConfigError if no embedded store is running.
    """
    folder = data_dir(environ)
    url = environ.get("REDIS_URL") or running_url(folder)
    if url is None:
        found = f"not set, and the embedded store of {folder} is not running"
        allowed = "redis://host:port/0, or start the embedded store with: ringback up"
        raise ConfigError((Fault(ENVIRONMENT, "REDIS_URL", found, allowed),))
    return url


def broker_url(environ: Mapping[str, str]) -> str:
    """Return BROKER_URL or the store's URL, in Celery's form. Raise ConfigError if neither is known."""
    return broker_url_for(environ.get("BROKER_URL") or store_url(environ))


def served_applications(environ: Mapping[str, str]) -> frozenset[str]:
    """Return the applications in RINGBACK_SERVE, or all applications if it is unset.

    Raise ConfigError for an unknown application and for a text without a name.
    """
    text = environ.get("RINGBACK_SERVE") or ",".join(APPLICATIONS)
    names = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not names or not names <= APPLICATIONS:
        allowed = "one or more of hooks, api and dashboard, separated by commas"
        raise ConfigError((Fault(ENVIRONMENT, "RINGBACK_SERVE", f"{text[:60]!r}", allowed),))
    return names


def hooks_url(environ: Mapping[str, str]) -> str | None:
    """Return the receiver's base URL in RINGBACK_HOOKS_URL, or None if it is unset.

    Raise ConfigError for any other text than http:// or https:// with a host and an optional port.
    """
    text = environ.get("RINGBACK_HOOKS_URL") or None
    if text is not None and not re.fullmatch(r"https?://[^\s/?#@]+/?", text):
        allowed = "an http:// or https:// URL without a path, such as https://hooks.example.com"
        raise ConfigError((Fault(ENVIRONMENT, "RINGBACK_HOOKS_URL", "an invalid URL", allowed),))
    return text


def port(environ: Mapping[str, str]) -> int:
    """Return the web's TCP port in PORT, or 8080 if unset. Raise ConfigError for an invalid port."""
    text = environ.get("PORT") or str(DEFAULT_PORT)
    if not text.isdecimal() or not 0 < int(text) <= LAST_PORT:
        raise ConfigError((Fault(ENVIRONMENT, "PORT", f"{text[:20]!r}", "a number from 1 to 65535"),))
    return int(text)


SOCKET_FILE = "store.sock"
# sockaddr_un.sun_path with its closing NUL: 108 bytes on Linux (unix(7)), 104 on macOS and the BSDs.
LONGEST_SOCKET_PATH = 107 if sys.platform == "linux" else 103


def socket_path(data_dir: Path) -> Path:
    """Return the path of the embedded store's socket, short enough for the kernel.

    The socket is in the folder itself. If that path is too long, the socket is in a folder of /tmp, whose
    name is derived from the user and the path.
    """
    folder = data_dir.resolve()
    path = folder / SOCKET_FILE
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"ringback-{os.getuid()}-{digest}" / SOCKET_FILE  # noqa: S108  (its owner and mode are checked before use)


def url_of(data_dir: Path) -> str:
    """Return the URL of the embedded store in `data_dir` for redis-py, whether it is running or not."""
    return f"unix://{quote(str(socket_path(data_dir)))}?db=0"


def running_url(data_dir: Path) -> str | None:
    """Return the URL of the embedded store in `data_dir` if it accepts connections, else None."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(socket_path(data_dir)))
        except OSError:
            return None
    return url_of(data_dir)


def broker_url_for(redis_url: str) -> str:
    """Return the broker URL for Celery. Only `unix://` URLs change: kombu's scheme is `redis+socket://`.

    Options of a Unix socket URL other than `db`, `username` and `password` are removed, because kombu
    would pass them to the connection as texts.
    """
    parts = urlsplit(redis_url)
    if parts.scheme != "unix":
        return redis_url
    options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    user = unquote(parts.username or "") or options.get("username", "")
    password = unquote(parts.password or "") or options.get("password", "")
    login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return f"redis+socket://{login}{parts.path}?virtual_host={options.get('db', '0')}"
