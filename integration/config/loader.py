"""From a path to a configuration: the file is read, its texts are put in, its tables built and checked.

Promises an outcome for whatever lies at the path: a configuration without fault, or every fault of it.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any, Final

from integration.config.cross_table_checks import check_across_tables
from integration.config.digest import digest
from integration.config.reading import ConfigReading
from integration.config.references import resolved
from integration.config.table_checks import check_each_table
from integration.config.tables import config_of
from integration.config.text_files import UnreadableFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.models import Config

_CONFIG_BYTES: Final = 16 * 1024 * 1024


def read(
    path: Path, environ: Mapping[str, str], check: Callable[[ConfigReading, Config], None]
) -> ConfigReading:
    """Read the file once, as far as its errors allow, with `env:NAME` taken from `environ`.

    A relative `file:` path counts from the folder that `path` lies in. `check` reports further errors of a
    configuration to the reading.
    """
    reading = ConfigReading(path, environ)
    try:
        document = _document(reading)
        if document is not None:
            reading.tree = document
            reading.tree = resolved(reading, (), document)
            reading.config = _checked(reading, check)
    except RecursionError:
        reading.report_whole("far too many levels", "lists and tables nested a few levels deep")
    return reading


def _document(reading: ConfigReading) -> dict[str, Any] | None:
    try:
        return tomllib.loads(reading.text_of(reading.path, _CONFIG_BYTES))
    except UnreadableFileError as error:
        reading.report_whole(
            str(error),
            "a readable TOML file in UTF-8 (start from ringback.example.toml); RINGBACK_CONFIG names it",
        )
    except ValueError as error:
        # tomllib puts the place behind its words: "Invalid value (at line 3, column 9)". The words
        # quote a key or a single character at most, never a value.
        words, _, where = str(error).partition(" (at ")
        key = where.removesuffix(")") or "the whole file"
        reading.report_whole(f"text that is not TOML ({words})", "TOML 1.0", key)
    return None


def _checked(reading: ConfigReading, check: Callable[[ConfigReading, Config], None]) -> Config:
    config = config_of(reading)
    check_each_table(reading, config)
    check_across_tables(reading, config)
    check(reading, config)
    return config.model_copy(update={"digest": digest(config)})
