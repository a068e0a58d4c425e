"""Reload the configuration when its files change.

`current` is always a valid configuration. Nothing here blocks or starts a thread.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

import structlog

from integration.config.loader import read
from integration.config.text_files import stamp
from integration.domain.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from integration.config.models import Config
    from integration.config.reading import ConfigReading

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    config: Config
    generation: int


class ConfigWatch:
    """The current configuration, reloaded when its files change. Thread-safe.

    `path`, `environ` and `check` are those of `loader.read`. `clock` is a monotonic clock in seconds. If a
    changed file has a fault, `current` stays as it was and `fault` holds the error. Raise ConfigError if the
    first configuration has a fault.
    """

    def __init__(
        self,
        path: Path,
        environ: Mapping[str, str],
        check: Callable[[ConfigReading, Config], None],
        *,
        every_seconds: float = 2.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._path, self._environ, self._check = path, environ, check
        self._every_seconds, self._clock = every_seconds, clock
        self._lock = threading.Lock()
        self._looked_at = clock()
        reading = read(path, environ, check)
        self._taken = _Loaded(reading.outcome(), 1)
        self._stamps = reading.stamps
        self._look_twice = True
        self._fault: ConfigError | None = None

    @property
    def current(self) -> Config:
        """The last valid configuration."""
        return self._taken.config

    @property
    def generation(self) -> int:
        """The number of configurations loaded so far, including the first."""
        return self._taken.generation

    @property
    def fault(self) -> ConfigError | None:
        """The error in the files as they are now, or None if `current` is their content."""
        return self._fault

    @property
    def due(self) -> bool:
        """True if `refresh` would check the files now."""
        return self._clock() - self._looked_at >= self._every_seconds

    def refresh(self) -> bool:
        """Check the files, at most every `every_seconds`. Return True if a new configuration was loaded.

        Files are read only if they changed. If another thread is checking, return False at once.
        """
        if not self.due or not self._lock.acquire(blocking=False):
            return False
        try:
            self._looked_at = self._clock()
            return self._changed() and self._take(read(self._path, self._environ, self._check))
        finally:
            self._lock.release()

    def _changed(self) -> bool:
        changed = any(stamp(path) != before for path, before in self._stamps.items())
        # Two writes within one tick of the file system's clock leave the same stamp. So a file that has
        # just changed is read once more at the next check.
        again, self._look_twice = self._look_twice, changed
        return changed or again

    def _take(self, reading: ConfigReading) -> bool:
        self._stamps = reading.stamps
        try:
            config = reading.outcome()
        except ConfigError as error:
            if self._fault is None or self._fault.faults != error.faults:
                _log.error(
                    "configuration rejected, keeping the old one",
                    faults=[str(fault) for fault in error.faults],
                )
            self._fault = error
            return False
        if self._fault is not None:
            _log.info("configuration valid again")
        self._fault = None
        if config == self.current:
            return False
        self._taken = _Loaded(config, self.generation + 1)
        _log.info("configuration loaded", generation=self.generation, digest=config.digest)
        return True
