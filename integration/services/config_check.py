"""Loads the configuration with every check, the compilation of its templates included."""

from __future__ import annotations

import re
from time import monotonic
from typing import TYPE_CHECKING

from integration.config.descriptions import described, masked
from integration.config.loader import read
from integration.config.watcher import ConfigWatch
from integration.mapping import routes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.descriptions import Place
    from integration.config.models import Config
    from integration.config.reading import Reading


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Return the configuration at `path`, with `env:NAME` taken from `environ`.

    A relative `file:` path counts from the folder that `path` lies in. Raise ConfigError with every error
    of the file, or with the one that kept it from being read at all.
    """
    return read(path, environ, check_templates).outcome()


def watch_config(
    path: Path,
    environ: Mapping[str, str],
    *,
    every_seconds: float = 2.0,
    clock: Callable[[], float] = monotonic,
) -> ConfigWatch:
    """Return a watch on the configuration at `path`; arguments as for `ConfigWatch`. Raise ConfigError."""
    return ConfigWatch(path, environ, check_templates, every_seconds=every_seconds, clock=clock)


def check_templates(reading: Reading, config: Config) -> None:
    """Report every template of the configuration that does not compile."""
    for fault in routes.faults(config, str(reading.path)):
        place = _template_place(fault.key)
        text, origin = reading.value(place), reading.origins.get(place)
        if isinstance(text, str):
            # Jinja's words quote pieces of the template, and anything may have been pasted into one.
            found = described(text, place, origin) if origin else masked(fault.found, text)
            reading.report(place, fault.allowed, found)


def _template_place(key: str) -> Place:
    """Read `routes[2] ("its name").when` and `sources.forms.events`, as the mapping names its keys."""
    table, _, field_name = key.rpartition(".")
    number = re.match(r"routes\[(\d+)\]", table)
    return ("routes", int(number[1]) - 1, field_name) if number else (*table.split(".", 1), field_name)
