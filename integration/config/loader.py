"""Load the configuration: read the files, resolve references, build the models and check them.

The result is either a valid configuration or the list of all its faults. An included file may have
accounts, sources, routes, API keys, users and vars. Only the main file may have `include` and tables that
exist once, such as `[store]`.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Final

from integration.config.changes import digest
from integration.config.cross_table_checks import check_across_tables, secret_texts
from integration.config.descriptions import described, spelled_part
from integration.config.reading import WHOLE_FILE, ConfigReading
from integration.config.references import resolved
from integration.config.table_checks import check_each_table
from integration.config.tables import config_of
from integration.config.text_files import UnreadableFileError, readable_by_others, stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from integration.config.models import Config

_CONFIG_BYTES: Final = 16 * 1024 * 1024
_WILDCARD: Final = re.compile(r"[*?\[]")
_NAMED: Final = ("accounts", "api_keys", "sources", "users", "vars")
_INCLUDE_WORDS: Final = (
    'a list of files, such as ["accounts/*.toml"]: relative paths, with * and ? in the last part only'
)
_TABLES_WORDS: Final = (
    "Move it to the main file. An included file may have accounts, api_keys, routes, sources, users and vars"
)


def read(
    path: Path, environ: Mapping[str, str], check: Callable[[ConfigReading, Config], None]
) -> ConfigReading:
    """Return a reading of the file at `path` and the files that it includes.

    Faults are recorded in the reading and not raised. `env:NAME` is looked up in `environ`. Relative
    paths start at the folder of `path`. `check` reports further faults to the reading.
    """
    reading = ConfigReading(path, environ)
    try:
        document = _document(reading, path)
        if document is not None:
            reading.tree = document
            complete = _include_files(reading)
            reading.tree = resolved(reading, (), reading.tree)
            reading.config = _checked(reading, check, complete=complete)
    except RecursionError:
        allowed = "fewer levels of lists and tables"
        reading.report_whole(path, "nested too deeply", allowed)
    return reading


def _document(reading: ConfigReading, path: Path) -> dict[str, Any] | None:
    try:
        return tomllib.loads(reading.text_of(path, _CONFIG_BYTES))
    except UnreadableFileError as error:
        allowed = "a readable TOML file in UTF-8"
        if path == reading.path:
            allowed += ", such as a copy of ringback.example.toml, or set RINGBACK_CONFIG"
        reading.report_whole(path, str(error), allowed)
    except ValueError as error:
        # tomllib appends the place to its message: "Invalid value (at line 3, column 9)". The message
        # quotes at most a key or a single character, never a value.
        message, _, where = str(error).partition(" (at ")
        key = where.removesuffix(")") or WHOLE_FILE
        reading.report_whole(
            path, f"invalid TOML ({message})", "the syntax of TOML 1.0 (https://toml.io)", key
        )
    return None


def _include_files(reading: ConfigReading) -> bool:
    """Add the tables of the included files to the reading. Return False if a file is unusable."""
    complete = True
    for path in _included(reading):
        document = _document(reading, path)
        if document is None:
            complete = False
            continue
        for key, value in document.items():
            _add(reading, path, key, value)
    return complete


def _included(reading: ConfigReading) -> Iterator[Path]:
    """Yield each included file once, in the order of the patterns, sorted by name within a pattern."""
    patterns = resolved(reading, ("include",), reading.tree.get("include", []))
    if not isinstance(patterns, list):
        reading.report(("include",), _INCLUDE_WORDS)
        return
    found: dict[Path, None] = {}
    for index, pattern in enumerate(patterns):
        paths = _matching(reading, pattern) if isinstance(pattern, str) else None
        if paths is None:
            reading.report(("include", index), _INCLUDE_WORDS)
        elif not paths:
            # A folder that is not mounted would look like a configuration without its accounts.
            reading.report(
                ("include", index),
                "a pattern that matches at least one file",
                "a pattern that matches no file",
            )
        else:
            found.update(dict.fromkeys(paths))
    yield from found


def _matching(reading: ConfigReading, pattern: str) -> list[Path] | None:
    """Return the files that match a pattern, or None if it is invalid. Record the folder's stamp."""
    parts = PurePath(pattern).parts
    sound = parts and "\0" not in pattern and not PurePath(pattern).is_absolute()
    if not sound or any(map(_WILDCARD.search, parts[:-1])):
        return None
    folder = reading.path.parent.joinpath(*parts[:-1])
    reading.stamps[folder] = stamp(folder)
    if not _WILDCARD.search(parts[-1]):
        return [folder / parts[-1]]
    # Editors write temporary files whose names begin with a dot.
    return sorted(path for path in folder.glob(parts[-1]) if not path.name.startswith("."))


def _add(reading: ConfigReading, path: Path, key: str, value: Any) -> None:
    tree = reading.tree
    if key == "routes" and isinstance(value, list):
        routes = tree.setdefault("routes", [])
        for number, route in enumerate(value if isinstance(routes, list) else ()):
            reading.owners["routes", len(routes)] = (path, ("routes", number))
            routes.append(route)
    elif key in _NAMED and isinstance(value, dict):
        tables = tree.setdefault(key, {})
        for name, table in value.items() if isinstance(tables, dict) else ():
            if name in tables:
                spelled = f"{key}{spelled_part(name)}"
                first = reading.file_of((key, name))
                reading.report_included(
                    path, spelled, f"defined in {first} as well", "a different name for each table"
                )
            else:
                tables[name] = table
                reading.owners[key, name] = (path, (key, name))
    elif key == "routes" or key in _NAMED:
        form = "a list of tables, each headed [[routes]]" if key == "routes" else f"tables, [{key}.NAME]"
        reading.report_included(path, key, described(value), form)
    else:
        reading.report_included(path, key, "not allowed in an included file", _TABLES_WORDS)


def _checked(
    reading: ConfigReading, check: Callable[[ConfigReading, Config], None], *, complete: bool
) -> Config:
    config = config_of(reading)
    check_each_table(reading, config)
    if complete:
        check_across_tables(reading, config)
    check(reading, config)
    places = [reading.written(place) for _, place, _ in secret_texts(config)]
    inline = {reading.file_of(place) for place in places if place not in reading.origins}
    exposed = tuple(str(path) for path in sorted(inline) if readable_by_others(path))
    return config.model_copy(update={"digest": digest(config), "exposed_files": exposed})
