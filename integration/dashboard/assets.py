"""The files that pages load: each under an address that changes with its content, and so kept for good."""

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
    """Give the address of a file of the package."""
    return url_for("dashboard.static", filename=name, v=_mark(name))
