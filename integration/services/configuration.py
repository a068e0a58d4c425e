"""The current configuration and its compiled routes."""

from __future__ import annotations

import re
from time import monotonic
from typing import TYPE_CHECKING

from integration.config.descriptions import described, masked
from integration.config.loader import read
from integration.config.watcher import ConfigWatch
from integration.mapping import routes
from integration.mapping.routes import CompiledRoutes
from integration.telemetry.redaction import remember_secrets, secrets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.descriptions import Place
    from integration.config.models import Config
    from integration.config.reading import ConfigReading


class Configuration:
    """Provides the current configuration. Reading it reloads a changed file."""

    def __init__(self, watch: ConfigWatch) -> None:
        self.watch = watch
        self._routes: CompiledRoutes | None = None
        self._masked: Config | None = None

    @property
    def current(self) -> Config:
        """Return the current configuration. Its secrets are masked in logs from now on."""
        self.watch.refresh()
        config = self.watch.current
        if config is not self._masked:
            remember_secrets(secrets_of(config))
            self._masked = config
        return config

    @property
    def routes(self) -> CompiledRoutes:
        """Return the compiled routes of the current configuration."""
        config = self.current
        if self._routes is None or self._routes.config is not config:
            self._routes = CompiledRoutes.of(config)
        return self._routes


def load_config(path: Path, environ: Mapping[str, str]) -> Config:
    """Return the configuration at `path`, with `env:NAME` values from `environ`.

    Relative `file:` paths are resolved against the folder of `path`. Raise ConfigError with all errors of the
    file, or with the one that prevented reading it.
    """
    return read(path, environ, check_templates).outcome()


def watch_config(
    path: Path,
    environ: Mapping[str, str],
    *,
    every_seconds: float = 2.0,
    clock: Callable[[], float] = monotonic,
) -> ConfigWatch:
    """Return a watch on the configuration at `path`. Arguments as for `ConfigWatch`. Raise ConfigError."""
    return ConfigWatch(path, environ, check_templates, every_seconds=every_seconds, clock=clock)


def check_templates(reading: ConfigReading, config: Config) -> None:
    """Report every template of the configuration that does not compile."""
    for fault in routes.faults(config, str(reading.path)):
        place = _template_place(fault.key)
        text, origin = reading.value(place), reading.origins.get(place)
        if isinstance(text, str):
            # Jinja's messages quote parts of the template, which may contain a secret.
            found = (
                described(text, place, origin) if origin else f"a template with {masked(fault.found, text)}"
            )
            reading.report(place, fault.allowed, found)


def _template_place(key: str) -> Place:
    """Return the place of a key such as `routes[2] ("its name").when` or `sources.forms.events`."""
    table, _, field_name = key.rpartition(".")
    number = re.match(r"routes\[(\d+)\]", table)
    return ("routes", int(number[1]) - 1, field_name) if number else (*table.split(".", 1), field_name)
