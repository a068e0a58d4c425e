"""Parser for the JSON texts that the store returns."""

from __future__ import annotations

from typing import Any

import orjson


def read_json(text: str) -> Any:
    """Return the value of a JSON text from the store. Bytes that are not UTF-8 become surrogates."""
    return orjson.loads(text.encode("utf-8", "surrogateescape"))
