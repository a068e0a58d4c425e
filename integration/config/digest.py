"""A short mark of what a configuration means: the same for the same meaning.

Never depends on a secret, nor on how many there are, so that it may stand in a log.
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
    """Give 16 hex digits that stand for the meaning of the configuration, without its secrets."""
    meaning = _meaning(config.model_dump(exclude={"digest"}))
    text = json.dumps(meaning, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _meaning(value: Any) -> Any:
    """Reduce a value to what JSON has; secrets, and how many there are, to the fact that there are some."""
    match value:
        case SecretStr():
            return "secret"
        case dict():
            return {str(key): _meaning(part) for key, part in value.items()}
        case frozenset():
            return sorted(value)
        case list() | tuple():
            parts = [_meaning(part) for part in value]
            return "secret" if value and all(isinstance(part, SecretStr) for part in value) else parts
        case ZoneInfo():
            return value.key
        case date() | time():
            return value.isoformat()
    return value
