"""JSON as the store keeps it, read back. Pure, so that both ends of the store can share it."""

from __future__ import annotations

from typing import Any

import orjson


def read_json(text: str) -> Any:
    """Read JSON that the store gave as text: bytes of strangers that are no UTF-8 come through unharmed."""
    return orjson.loads(text.encode("utf-8", "surrogateescape"))
