"""Resolve `env:NAME` and `file:/path` references in the configuration.

Faults contain the name of the variable or the path, never the text that was read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from integration.config.text_files import UnreadableFileError

if TYPE_CHECKING:
    from integration.config.descriptions import Place
    from integration.config.reading import ConfigReading

_SECRET_BYTES: Final = 64 * 1024


def resolved(reading: ConfigReading, place: Place, value: Any) -> Any:
    """Return `value` with every reference in it resolved. Report faults; their values become None."""
    if isinstance(value, dict):
        return {key: resolved(reading, (*place, key), part) for key, part in value.items()}
    if isinstance(value, list):
        return [resolved(reading, (*place, index), part) for index, part in enumerate(value)]
    if isinstance(value, str) and value.startswith(("env:", "file:")):
        reading.origins[place] = value
        kind, _, target = value.partition(":")
        return (_from_environment if kind == "env" else _from_file)(reading, place, target)
    return value


def _from_environment(reading: ConfigReading, place: Place, name: str) -> str | None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        allowed = "env: and a name of letters, digits and _ that does not start with a digit"
        reading.report(place, allowed, "env: with an invalid variable name")
        return None
    text = reading.environ.get(name)
    if text is None:
        allowed = f"Set {name} in the environment of Ringback, or name another variable"
        reading.report(place, allowed, f"env:{name}, a variable that is not set")
        return None
    if not _is_utf8(text):
        reading.report(place, "a text in UTF-8", f"env:{name}, a variable whose bytes are not UTF-8")
        return None
    return text


def _is_utf8(text: str) -> bool:
    # Python decodes invalid bytes of an environment variable as lone surrogates.
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_file(reading: ConfigReading, place: Place, target: str) -> str | None:
    allowed = (
        "file: and the path of a readable text file; a relative path starts at the configuration's folder"
    )
    if not target or "\0" in target:
        reading.report(
            place, allowed, "file: without a path" if not target else "file: with a NUL byte in its path"
        )
        return None
    try:
        text = reading.text_of(reading.path.parent / target, _SECRET_BYTES)
    except UnreadableFileError as error:
        reading.report(place, allowed, f"file:{target}, which is {error}")
        return None
    return re.sub(r"\r?\n\Z", "", text)
