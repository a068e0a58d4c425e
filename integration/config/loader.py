"""Load the configuration: read the file, resolve references, build the models and check them.

The result is either a valid configuration or the list of all its faults.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from integration.config.changes import digest
from integration.config.cross_table_checks import check_across_tables, secret_texts
from integration.config.reading import WHOLE_FILE, ConfigReading
from integration.config.references import resolved
from integration.config.table_checks import check_each_table
from integration.config.tables import config_of
from integration.config.text_files import UnreadableFileError, readable_by_others

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.models import Config

_CONFIG_BYTES: Final = 16 * 1024 * 1024


def read(
    path: Path, environ: Mapping[str, str], check: Callable[[ConfigReading, Config], None]
) -> ConfigReading:
    """Return the result of reading the file at `path`. Faults are in the reading and are not raised.

    `env:NAME` is looked up in `environ`. A relative `file:` path is relative to the folder of `path`. `check`
    reports further faults of the configuration to the reading.
    """
    reading = ConfigReading(path, environ)
    try:
        document = _document(reading)
        if document is not None:
            reading.tree = document
            reading.tree = resolved(reading, (), document)
            reading.config = _checked(reading, check)
    except RecursionError:
        reading.report_whole("nested too deeply", "lists and tables that are nested a few levels deep")
    return reading


def _document(reading: ConfigReading) -> dict[str, Any] | None:
    try:
        return tomllib.loads(reading.text_of(reading.path, _CONFIG_BYTES))
    except UnreadableFileError as error:
        reading.report_whole(
            str(error),
            "a readable TOML file in UTF-8, such as a copy of ringback.example.toml, or set RINGBACK_CONFIG",
        )
    except ValueError as error:
        # tomllib appends the place to its message: "Invalid value (at line 3, column 9)". The message
        # quotes at most a key or a single character, never a value.
        message, _, where = str(error).partition(" (at ")
        key = where.removesuffix(")") or WHOLE_FILE
        reading.report_whole(f"invalid TOML ({message})", "the syntax of TOML 1.0 (https://toml.io)", key)
    return None


def _checked(reading: ConfigReading, check: Callable[[ConfigReading, Config], None]) -> Config:
    config = config_of(reading)
    check_each_table(reading, config)
    check_across_tables(reading, config)
    check(reading, config)
    places = [reading.written(place) for _, place, _ in secret_texts(config)]
    inline = {reading.file_of(place) for place in places if place not in reading.origins}
    exposed = tuple(str(path) for path in sorted(inline) if readable_by_others(path))
    return config.model_copy(update={"digest": digest(config), "exposed_files": exposed})
