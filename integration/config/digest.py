"""A digest of the configuration. Configurations with the same meaning have the same digest.

The digest does not depend on the values or the number of secrets, so that it can be logged.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date, time
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import SecretStr

if TYPE_CHECKING:
    from integration.config.models import Config


def digest(config: Config) -> str:
    """Return the digest of the configuration without its secrets, 16 hex digits."""
    canonical = _canonical(config.model_dump(exclude={"digest"}))
    text = json.dumps(canonical, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _canonical(value: Any) -> Any:
    """Return a value as JSON types. A secret, or a list of secrets of any length, becomes "secret"."""
    match value:
        case SecretStr():
            return "secret"
        case dict():
            return {str(key): _canonical(part) for key, part in value.items()}
        case frozenset():
            return sorted(value)
        case list() | tuple():
            parts = [_canonical(part) for part in value]
            return "secret" if value and all(isinstance(part, SecretStr) for part in value) else parts
        case ZoneInfo():
            return value.key
        case date() | time():
            return value.isoformat()
    return value
