"""URLs of static files. Each has a digest of the file's content, so a browser may cache the file."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import url_for

FOLDER = Path(__file__).parent / "static"


@cache
def _mark(name: str) -> str:
    return sha256((FOLDER / name).read_bytes()).hexdigest()[:10]


def asset(name: str) -> str:
    """Return the URL of a static file, with its digest as the parameter `v`."""
    return url_for("dashboard.static", filename=name, v=_mark(name))
